"""Checks of directories: whether environments can be kept there, and whether a lock keeps other processes out."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.cli.doctor.finding import Examined, Finding
from cosmos_venv.cli.output import counted
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

if TYPE_CHECKING:
    from cosmos_venv.environments.store import EnvironmentStore

_ROOM = 500.0  # MB that an environment with dbt and a large adapter takes


def check_directories(examined: Examined) -> Iterator[Finding]:
    """Yield at least one finding for each directory, and one for the temporary folder.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        is_searched = directory in examined.searched
        if directory.exists():
            yield from _existing(directory, is_searched)
        else:
            yield _missing(directory, is_searched)
    yield _temporary_folder()


def _missing(directory: Path, is_searched: bool) -> Finding:
    from cosmos_venv.managed.resolve import environment_store

    parent = next(each for each in directory.parents if each.exists())
    if is_searched:
        text = "It is on virtualenv_search_path and does not exist, so nothing is found there."
        return Finding(str(directory), "warning", text, "Build it with cosmos-venv env warm --dir, or remove it.")
    if not _can_write(parent):
        text = f"It does not exist, and user id {os.geteuid()} may not make it in {parent}."
        return Finding(str(directory), "failed", text, f"Make it, owned by user id {os.geteuid()}.")
    text = "It does not exist yet; the first build makes it. Nothing was tried there."
    return _why_untrusted(environment_store(directory)) or Finding(str(directory), "ok", text)


def _can_write(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _existing(directory: Path, is_searched: bool) -> Iterator[Finding]:
    from cosmos_venv.environments.maintenance.inventory import read_inventory
    from cosmos_venv.files.os_errors import FreeSpace
    from cosmos_venv.managed.resolve import environment_store

    store, subject = environment_store(directory), str(directory)
    try:
        ready = [each.record for each in read_inventory(store) if each.state == "ready" and each.record]
    except (VirtualenvError, CosmosValueError) as error:
        yield Finding(subject, "failed", str(error), "Give a directory that this user may read and write.")
        return
    faults = [fault] if (fault := _why_untrusted(store)) else []
    pythons = Counter(record.spec.interpreter.executable for record in ready)
    for python, count in pythons.items():
        # A python of a build is a link, which need not be followed.
        if not os.path.exists(python):  # noqa: PTH110
            text = f"{count} of {len(ready)} environments are made of {python}, which is not here."
            way_out = "Use an image that has this Python, or build them here."
            faults.append(Finding(subject, "warning", text, way_out))
    faults += _faults_of_mount(directory, is_searched)
    yield from faults
    if not any(each.outcome == "failed" for each in faults):
        text = f"{counted(len(ready), 'ready environment')}, {FreeSpace.at(directory)} free."
        yield Finding(subject, "ok", text)


def _faults_of_mount(directory: Path, is_searched: bool) -> Iterator[Finding]:
    from cosmos_venv.files.os_errors import FreeSpace, refuse_unfit

    subject = str(directory)
    if _can_write(directory):
        try:
            refuse_unfit(directory)
        except (VirtualenvError, OSError) as error:
            yield Finding(subject, "failed", str(error), "Use another directory.")
        if FreeSpace.at(directory).megabytes < _ROOM:
            text = f"Only {FreeSpace.at(directory)} are free, and an environment takes some {_ROOM:.0f} MB."
            yield Finding(subject, "warning", text, "Make room: cosmos-venv env prune.")
    elif os.statvfs(directory).f_flag & os.ST_NOEXEC:
        text = "It is mounted noexec: no dbt there can be started, nor its libraries loaded."
        yield Finding(subject, "failed", text, "Mount it without noexec.")
    elif not is_searched:
        text = f"User id {os.geteuid()} cannot write there: environments there are used, and nothing is built."
        way_out = "Right for virtualenv_search_path; a virtualenv_dir must be writable."
        yield Finding(subject, "warning", text, way_out)


def _why_untrusted(store: EnvironmentStore) -> Finding | None:
    try:
        store.judge()
    except (VirtualenvError, OSError) as error:
        way_out = "Let it belong to the user of the tasks, and to nobody else."
        return Finding(str(store.directory), "failed", str(error), way_out)
    return None


def _temporary_folder() -> Finding:
    """Whether the temporary folder can hold the environment of a task that keeps none."""
    from cosmos_venv.environments.builder import WAY_OUT_OF_AN_OPEN_TMPDIR
    from cosmos_venv.files.os_errors import FreeSpace, refuse_unfit
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
    """Yield a finding for each directory that can be written to: whether a lock keeps others out.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        if not _can_write(directory):
            if directory not in examined.searched:
                text = "It is no directory that can be written to, so no lock was tried."
                yield Finding(str(directory), "warning", text, "Make it, writable for the user of the tasks.")
        elif fault := _fault_of_locks(directory):
            way_out = "Use a local disk or NFS 4, mounted without nolock and local_lock."
            yield Finding(str(directory), "failed", f"The file system will not do: {fault}.", way_out)
        else:
            yield Finding(str(directory), "ok", "A lock keeps a second one out.")


def _fault_of_locks(directory: Path) -> str:
    """What is wrong with the kernel's locks in a directory; empty where nothing is."""
    try:
        # Such a lock belongs to the open file: a second one of the same process is kept out like another process.
        with tempfile.NamedTemporaryFile(prefix=".cosmos-venv-doctor-", dir=directory) as first:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with Path(first.name).open("rb+") as second:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ""
    except OSError as error:
        return f"it has no kernel locks ({error.strerror})"
    return "a second one gets the lock that the first one holds"
