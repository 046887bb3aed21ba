"""Whether a file system can hold environments, and how much room it has.

It is tried out in the directory before anything is built, never on the path of a task that finds its environment. An
installation on a ``noexec`` mount succeeds and is of no use: its Python is a link to elsewhere, so even that runs.
Object stores that are mounted as file systems know no links, and some of them no permissions. Installers say that a
disk is full, seldom which one, and never what to do.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.os_errors import FreeSpace


def full_disk_message(free: Mapping[str, FreeSpace]) -> str:
    """Return the message for a disk that is full.

    :param free: place in words -> what is left there.
    """
    least_first = sorted(free.items(), key=lambda item: (item[1].files is None, item[1].megabytes))
    places = ", ".join(f"{space} for {place}" for place, space in least_first)
    return (
        f"The disk is full. Free now: {places}. Make room, or name a directory on another disk "
        "(virtualenv_dir; TMPDIR and UV_CACHE_DIR in the worker's environment)."
    )


def free_space(directory: Path, environ: Mapping[str, str]) -> dict[str, FreeSpace]:
    """Return what is left where an installation writes: place in words -> space.

    :param directory: of the environment.
    :param environ: the installer's environment variables; TMPDIR and UV_CACHE_DIR count.
    """
    # Not tempfile.gettempdir, which tries to write and finds no place at all where everything is full.
    places = {"the environment": directory, "temporary files": Path(environ.get("TMPDIR") or "/tmp")}  # noqa: S108
    if environ.get("UV_CACHE_DIR"):
        places["uv's cache"] = Path(environ["UV_CACHE_DIR"])
    return {f"{what} in {path}": FreeSpace.at(path) for what, path in places.items()}


TRIAL_PREFIX = ".cosmos-venv-trial-"
_NOT_PERMITTED = {errno.EPERM, errno.EACCES, errno.EMLINK}
UNSUPPORTED = _NOT_PERMITTED | {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system answers that cannot do it, in a directory that may be written. A full one says something else."""

_PROGRAM = "#!/bin/sh\nexit 0\n"
_FOR_ALL_TO_RUN = 0o755
_LONGEST_TRIAL = 10.0  # seconds
LONGEST_SHEBANG = 124  # of the 127 bytes that every kernel reads, what pip and uv leave for the path


def refuse_unfit(directory: Path, *, parameter: str = "virtualenv_dir", trial: Path | None = None) -> None:
    """Try in an existing directory what an environment needs. Nothing stays.

    :param directory: an existing directory.
    :param parameter: what the user would change; begins the message.
    :param trial: an empty folder there, which the caller removes; None: one is made, and whoever holds the directory's
        lock next removes what a kill leaves of it.
    :raises VirtualenvError: what its file system cannot do, and what to use instead.
    :raises OSError: when it cannot be tried: the directory is not writable, the disk is full.
    """
    if trial is not None:
        _refuse_unfit(directory, trial, parameter)
        return
    trial = Path(tempfile.mkdtemp(prefix=TRIAL_PREFIX, dir=directory))
    try:
        _refuse_unfit(directory, trial, parameter)
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _refuse_unfit(directory: Path, trial: Path, parameter: str) -> None:
    for what, try_out in _TRIALS.items():
        try:
            try_out(trial)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            fault = why_unfit(what, error, is_noexec=_is_noexec(trial))
            raise VirtualenvError(unfit_message(directory, fault, parameter=parameter)) from error


def refuse_unfit_path(build: Path, *, installer: str) -> None:
    """Refuse a path in which installed commands could not be started: installers write it into the first line of each.

    :param build: directory of the environment.
    :param installer: "pip" or "uv"; they quote paths differently.
    :raises VirtualenvError: names ``virtualenv_dir`` and the character.
    """
    character = character_no_command_survives(os.fsencode(build / "bin" / "python"), installer=installer)
    if character:
        raise VirtualenvError(
            f"virtualenv_dir: {str(build)!r} has {character!r} in it, and no command that {installer} installs there "
            "could be started. Give virtualenv_dir a path without it."
        )


def character_no_command_survives(python: bytes, *, installer: str) -> str:
    """Return the character of the path at which commands fail to start; empty when they start.

    :param python: path of the environment's Python.
    :param installer: "pip" or "uv"; they quote paths differently.
    """
    if b"\n" in python:
        return "\n"
    is_read_by_a_shell = b" " in python or len(python) > LONGEST_SHEBANG
    # pip puts the path between double quotes, uv quotes it as shells want it.
    return next((mark for mark in '"$`' if installer == "pip" and is_read_by_a_shell and mark.encode() in python), "")


def why_unfit(what: str, error: OSError, *, is_noexec: bool) -> str:
    """Return what is wrong with a file system, as the second half of a sentence about it.

    :param what: what was tried, as the trials are named: "symbolic links", "permissions (chmod)", "programs".
    :param error: with which the trial failed.
    :param is_noexec: whether the file system is mounted with ``noexec``.
    """
    if what == "programs":
        return "is mounted noexec: no program in it can be started" if is_noexec else "lets no program in it be started"
    return f"does not support {what} ({error.strerror})"


def unfit_message(directory: Path, fault: str, *, parameter: str = "virtualenv_dir") -> str:
    """Return the message for a directory whose file system cannot hold environments.

    :param directory: the directory in question.
    :param fault: as ``why_unfit`` returns it.
    :param parameter: the name under which the user gave the directory.
    """
    return (
        f"{parameter} {directory}: its file system {fault}. Use a directory on a local disk or on a network file "
        "system such as NFS 4, mounted with exec; a mounted object store (S3, GCS, Azure Blob) is none. "
        "For environments that come with the image, run cosmos-venv env warm when it is made."
    )


def _make_links(folder: Path) -> None:
    """Replace a link by another in one step, as an environment is published."""
    (folder / "link").symlink_to("first")
    (folder / "another").symlink_to("second")
    (folder / "another").replace(folder / "link")


def _set_permissions(folder: Path) -> None:
    protected = folder / "protected"
    protected.mkdir()
    protected.chmod(0o555)


def _start_a_program(folder: Path) -> None:
    program = folder / "program"
    program.write_text(_PROGRAM, encoding="ascii")
    program.chmod(_FOR_ALL_TO_RUN)
    try:
        subprocess.run(
            [program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False, timeout=_LONGEST_TRIAL
        )
    except PermissionError:
        raise
    except (OSError, subprocess.TimeoutExpired):
        pass  # no /bin/sh, or another thread's fork has the file open for writing: says nothing about the mount


_TRIALS: dict[str, Callable[[Path], None]] = {
    "symbolic links": _make_links,
    "permissions (chmod)": _set_permissions,
    "programs": _start_a_program,
}


def _is_noexec(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & getattr(os, "ST_NOEXEC", 0))
