"""STDLIB ONLY, both sides. The conditions of a fork, and whether a server lives.

A command is forked from a server only if the worker and the server have the same properties, such as rights and limits.
The umask, the folder and the signals are no conditions: the child sets them itself.

A kernel lock shows that a server lives. The lock is queried and not taken. A query that took the lock for a moment
would make a server that starts at this moment see another server (a race). The lock belongs to the open file
(``F_OFD_SETLK``, Linux 3.15), so a keeper that closes the file does not release the lock.
"""

from __future__ import annotations

import fcntl
import os
import resource
import struct
from collections.abc import Mapping
from pathlib import Path

# Variables that count only when an interpreter starts, for the interpreter or for the libraries that it loads then.
STARTUP_NAMES = frozenset({"HOME", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"})
_OF_THE_LOADER = ("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_", "OPENSSL_")
_OF_LIBRARIES_IN_C = ("OMP_", "OPENBLAS_", "GOTO_", "MKL_", "KMP_", "BLIS_", "ARROW_", "GRPC_")
STARTUP_PREFIXES = (
    *_OF_THE_LOADER,
    *_OF_LIBRARIES_IN_C,
    # On import networkx looks through all variables, so a variable that it did not find cannot be recorded.
    "NETWORKX_",
)

_RIGHTS = {"Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters"}
_CAPABILITIES = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
_STATUS = frozenset(_RIGHTS | _CAPABILITIES | {"Cpus_allowed", "Mems_allowed"})
_FILES = ("cgroup", "oom_score_adj", "personality", "loginuid", "timerslack_ns", "coredump_filter", "attr/current")


def startup_variables(env: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that the child of a running process cannot be given.

    :param env: the environment variables of a command.
    """
    return {name: value for name, value in env.items() if name in STARTUP_NAMES or name.startswith(STARTUP_PREFIXES)}


def situation() -> dict[str, str]:
    """The situation of this process: user, rights, limits, namespaces, control group, priority; by name, as text."""
    found = {name: _read(f"/proc/self/{name}") for name in _FILES}
    for line in _read("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name in _STATUS:
            found[name] = value.strip()
    for link in Path("/proc/self/ns").iterdir():
        found[f"{link.name} namespace"] = str(link.readlink())
    root = Path("/").stat()
    found["root"] = f"{root.st_dev} {root.st_ino}"
    found["nice value"] = str(os.getpriority(os.PRIO_PROCESS, 0))
    found["scheduler"] = str(os.sched_getscheduler(0))
    limits = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    found["resource limits"] = str({name: resource.getrlimit(getattr(resource, name)) for name in limits})
    return found


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """The first name under which the two differ; None when they are equal.

    :param one: the situation of one process.
    :param other: the situation of another process.
    """
    return next((name for name in sorted({*one, *other}) if one.get(name) != other.get(name)), None)


def identity(environment: str, script: str) -> list[list[int]]:
    """A value that changes when the files of an environment do: folder, configuration, packages, the script.

    :param environment: folder of the environment.
    :param script: the path of the program that is run.
    :returns: device, inode, time in nanoseconds and size of each file.
    :raises OSError: when one of the files is gone.
    """
    folder = Path(environment)
    paths = [folder, Path(script), *sorted(folder.glob("lib/python3*/site-packages")), *folder.glob("pyvenv.cfg")]
    states = [path.stat() for path in paths]
    return [[each.st_dev, each.st_ino, each.st_mtime_ns, each.st_size] for each in states]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # not every kernel has each of them
        return ""


# <fcntl.h> of Linux; Python has the names from 3.9 on.
_GET, _SET = 36, 37
# struct flock: type, whence, start, length (0: to the end), pid (0 in such a call), and room to its alignment.
_FLOCK = struct.Struct("hhqqi0q")


def claim(lock: int) -> bool:
    """Take the lock, until the process and all that have inherited the file have closed it.

    :param lock: a descriptor that may write.
    :returns: False where another open file holds it.
    """
    try:
        fcntl.fcntl(lock, _SET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_claimed(lock: int) -> bool:
    """Whether another open file holds the lock. Takes nothing.

    :param lock: any descriptor of the file.
    """
    answer = fcntl.fcntl(lock, _GET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
