"""Checks of directories: whether environments can be kept there, and whether a lock keeps other processes out."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.cli.doctor.finding import Examined, Finding
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.environments.store import EnvironmentStore

_ROOM = 500.0  # MB that an environment with dbt and a large adapter takes
_IS_LOCKED = 3
_TRY_TO_LOCK = f"""
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit({_IS_LOCKED})
"""


def check_directories(examined: Examined) -> Iterator[Finding]:
    """Yield at least one finding for each directory, and one for the temporary folder.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        is_searched = directory in examined.searched
        yield from (_existing if directory.exists() else _missing)(directory, is_searched)
    yield _temporary_folder()


def _missing(directory: Path, is_searched: bool) -> Iterator[Finding]:
    from cosmos_venv.managed.from_settings import environment_store

    subject = str(directory)
    parent = next(each for each in directory.parents if each.exists())
    if is_searched:
        text = "It is on virtualenv_search_path and does not exist, so nothing is found there."
        yield Finding(subject, "warning", text, "Build it with cosmos-venv env warm --dir, or remove it.")
    elif not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        text = f"It does not exist, and user id {os.geteuid()} may not make it in {parent}."
        yield Finding(subject, "failed", text, f"Make it, owned by user id {os.geteuid()}.")
    elif fault := _why_untrusted(environment_store(directory)):
        yield fault
    else:
        yield Finding(subject, "ok", "It does not exist yet; the first build makes it. Nothing was tried there.")


def _existing(directory: Path, is_searched: bool) -> Iterator[Finding]:
    from cosmos_venv.environments.maintenance.inventory import read_inventory
    from cosmos_venv.files.filesystem_check import refuse_unfit
    from cosmos_venv.files.os_errors import FreeSpace
    from cosmos_venv.managed.from_settings import environment_store

    store, subject = environment_store(directory), str(directory)
    try:
        ready = [each for each in read_inventory(store) if each.state == "ready" and each.record]
    except (VirtualenvError, CosmosValueError) as error:
        yield Finding(subject, "failed", str(error), "Give a directory that this user may read and write.")
        return
    faults = [fault] if (fault := _why_untrusted(store)) else []
    pythons = [each.record.spec.interpreter.executable for each in ready if each.record]
    # A python of a build is a link, which need not be followed.
    missing = [python for python in pythons if not os.path.exists(python)]  # noqa: PTH110
    for python in dict.fromkeys(missing):
        text = f"{missing.count(python)} of {len(ready)} environments are made of {python}, which is not here."
        way_out = "Use an image that has this Python, or build them here."
        faults.append(Finding(subject, "warning", text, way_out))
    if reason := _why_read_only(directory):
        faults += _read_only(directory, reason, is_searched)
    else:
        try:
            refuse_unfit(directory)
        except (VirtualenvError, OSError) as error:
            faults.append(Finding(subject, "failed", str(error), "Use another directory."))
        if FreeSpace.at(directory).megabytes < _ROOM:
            text = f"Only {FreeSpace.at(directory)} are free, and an environment takes some {_ROOM:.0f} MB."
            faults.append(Finding(subject, "warning", text, "Make room: cosmos-venv env prune."))
    yield from faults
    if not any(each.outcome == "failed" for each in faults):
        text = f"{len(ready)} ready environment{'s' * (len(ready) != 1)}, {FreeSpace.at(directory)} free."
        yield Finding(subject, "ok", text)


def _why_untrusted(store: EnvironmentStore) -> Finding | None:
    try:
        store.judge()
    except (VirtualenvError, OSError) as error:
        way_out = "Let it belong to the user of the tasks, and to nobody else."
        return Finding(str(store.directory), "failed", str(error), way_out)
    return None


def _why_read_only(directory: Path) -> str:
    """Why nothing can be written to a directory; empty where it can."""
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "It is mounted read-only"
    return "" if os.access(directory, os.W_OK | os.X_OK) else f"User id {os.geteuid()} may not write there"


def _read_only(directory: Path, reason: str, is_searched: bool) -> Iterator[Finding]:
    if os.statvfs(directory).f_flag & os.ST_NOEXEC:
        text = f"{reason}, and noexec: no dbt there can be started, nor its libraries loaded."
        yield Finding(str(directory), "failed", text, "Mount it without noexec.")
    elif not is_searched:
        text = f"{reason}: environments there are used, and nothing is built."
        way_out = "Right for virtualenv_search_path; a virtualenv_dir must be writable."
        yield Finding(str(directory), "warning", text, way_out)


def _temporary_folder() -> Finding:
    """Whether the temporary folder can hold the environment of a task that keeps none."""
    from cosmos_venv.environments.opening import WAY_OUT_OF_AN_OPEN_TMPDIR
    from cosmos_venv.files.filesystem_check import refuse_unfit
    from cosmos_venv.files.os_errors import FreeSpace
    from cosmos_venv.files.permissions import is_trusted_way

    folder = Path(tempfile.gettempdir())
    try:
        refuse_unfit(folder, parameter="TMPDIR")
    except (VirtualenvError, OSError) as error:
        return Finding(str(folder), "warning", str(error), "Set TMPDIR, or give every task a virtualenv_dir.")
    if not is_trusted_way(folder / "of-a-task"):
        text = f"Other users can replace what tasks make in {folder}, temporary environments among it."
        return Finding(str(folder), "warning", text, WAY_OUT_OF_AN_OPEN_TMPDIR)
    return Finding(str(folder), "ok", f"Temporary environments can stand here; {FreeSpace.at(folder)} free.")


def check_locks(examined: Examined) -> Iterator[Finding]:
    """Yield a finding for each directory that can be written to: whether a lock keeps a second process out.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        if not directory.is_dir() or _why_read_only(directory):
            if directory not in examined.searched:
                text = "It is no directory that can be written to, so no lock was tried."
                yield Finding(str(directory), "warning", text, "Make it, writable for the user of the tasks.")
            continue
        try:
            with tempfile.NamedTemporaryFile(prefix=".cosmos-venv-doctor-", dir=directory) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                tried = subprocess.run([sys.executable, "-I", "-c", _TRY_TO_LOCK, file.name], check=False)
            keeps_out = tried.returncode == _IS_LOCKED
            fault = "" if keeps_out else "a second process gets the lock that the first one holds"
        except OSError as error:
            fault = f"it has no kernel locks ({error.strerror})"
        if fault:
            way_out = "Use a local disk or NFS 4, mounted without nolock and local_lock."
            yield Finding(str(directory), "failed", f"The file system will not do: {fault}.", way_out)
        else:
            yield Finding(str(directory), "ok", "A lock keeps a second process out.")
