"""Checks of directories: whether environments can be kept there (owner, permissions, file system, room).

What a mount can do is tried in a trial folder, which nobody takes for part of a store of environments.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.cli.doctor.check_result import CheckResult, Examined, Outcome
from cosmos_venv.environments.maintenance.inventory import read_inventory
from cosmos_venv.environments.opening import WAY_OUT_OF_AN_OPEN_TMPDIR
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.filesystem_check import refuse_unfit
from cosmos_venv.files.os_errors import FreeSpace
from cosmos_venv.files.permissions import is_trusted_way

_PREFIX = ".cosmos-venv-doctor-"
_LEFT = 86_400.0  # seconds after which a folder is what a killed doctor has left


def why_no_trial(directory: Path) -> str:
    """Return why nothing can be tried in a directory; empty where it can.

    :param directory: need not exist.
    """
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "It is mounted read-only"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"User id {os.geteuid()} may not write there"
    return ""


@contextmanager
def trial_folder(directory: Path) -> Iterator[Path]:
    """Make a trial folder that is gone after the block, as are those that killed processes have left.

    :param directory: an existing directory.
    :raises OSError: when it cannot be made.
    """
    for left in directory.glob(f"{_PREFIX}*"):
        if time.time() - left.lstat().st_mtime > _LEFT:
            shutil.rmtree(left, ignore_errors=True)
    folder = directory / f"{_PREFIX}{os.urandom(8).hex()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_ROOM = 500.0  # MB: what an environment with dbt and a large adapter takes


def directories_can_hold_environments(examined: Examined) -> Iterator[CheckResult]:
    """Yield at least one result for each directory.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        if not directory.exists():
            yield _of_none(directory, is_searched=directory in examined.searched)
            continue
        try:
            ready = _ready(directory)
        except (VirtualenvError, CosmosValueError) as error:
            yield _result(directory, "failed", str(error), "Give a directory that this user may read and write.")
            continue
        faults = [
            *_untrusted(directory),
            *_without_python(directory),
            *_unfit(directory, is_searched=directory in examined.searched),
        ]
        yield from faults
        if not any(each.outcome == "failed" for each in faults):
            yield _result(directory, "ok", f"{ready} ready environment{'s' * (ready != 1)}, {_room(directory)} free.")


def temporary_files_can_be_run(_: Examined) -> Iterator[CheckResult]:
    """Yield one result: whether the temporary folder can hold the environment of a task that keeps none."""
    folder = Path(tempfile.gettempdir())
    try:
        refuse_unfit(folder, parameter="TMPDIR")
    except (VirtualenvError, OSError) as error:
        text, way_out = str(error), "Set TMPDIR, or give every task a virtualenv_dir."
        yield CheckResult(check="directory", subject=str(folder), outcome="warning", text=text, way_out=way_out)
        return
    if not is_trusted_way(folder / "of-a-task"):
        text = f"Other users can replace what tasks make in {folder}, temporary environments among it."
        yield CheckResult(
            check="directory", subject=str(folder), outcome="warning", text=text, way_out=WAY_OUT_OF_AN_OPEN_TMPDIR
        )
        return
    room = FreeSpace.at(folder)
    yield CheckResult(
        check="directory",
        subject=str(folder),
        outcome="ok",
        text=f"Temporary environments can stand here; {room} free.",
    )


def _of_none(directory: Path, *, is_searched: bool) -> CheckResult:
    if is_searched:
        text = "It is on virtualenv_search_path and does not exist, so nothing is found there."
        return _result(directory, "warning", text, "Build it with cosmos-venv env warm --dir, or remove it.")
    parent = next(each for each in directory.parents if each.exists())
    if os.access(parent, os.W_OK | os.X_OK) and parent.is_dir():
        if fault := next(_untrusted(directory), None):
            return fault
        return _result(directory, "ok", "It does not exist yet; the first build makes it. Nothing was tried there.")
    text = f"It does not exist, and user id {os.geteuid()} may not make it in {parent}."
    return _result(directory, "failed", text, f"Make it, owned by user id {os.geteuid()}.")


def _ready(directory: Path) -> int:
    return sum(each.state == "ready" for each in read_inventory(EnvironmentStore(directory)))


def _untrusted(directory: Path) -> Iterator[CheckResult]:
    store = EnvironmentStore(directory)
    try:
        store.judge()
    except (VirtualenvError, OSError) as error:
        yield _result(directory, "failed", str(error), "Let it belong to the user of the tasks, and to nobody else.")


def _without_python(directory: Path) -> Iterator[CheckResult]:
    builds = [each for each in read_inventory(EnvironmentStore(directory)) if each.state == "ready" and each.record]
    pythons = [each.record.spec.interpreter for each in builds if each.record]
    missing = [python for python in pythons if not os.path.exists(python.executable)]  # noqa: PTH110
    for python in dict.fromkeys(missing):
        text = (
            f"{missing.count(python)} of {len(builds)} environments are made of {python.executable}, which is not here."
        )
        way_out = f"Use an image that has {python.implementation} {python.version} at that path, or build them here."
        yield _result(directory, "warning", text, way_out)


def _unfit(directory: Path, *, is_searched: bool) -> Iterator[CheckResult]:
    reason = why_no_trial(directory)
    if reason:
        if os.statvfs(directory).f_flag & os.ST_NOEXEC:
            text = f"{reason}, and noexec: no dbt there can be started, nor its libraries loaded."
            yield _result(directory, "failed", text, "Mount it without noexec.")
            return
        outcome: Outcome = "ok" if is_searched else "warning"
        way_out = "" if is_searched else "Right for virtualenv_search_path; a virtualenv_dir must be writable."
        yield _result(directory, outcome, f"{reason}: what stands there is used, and nothing is built.", way_out)
        return
    try:
        with trial_folder(directory) as trial:
            refuse_unfit(directory, trial=trial)
    except (VirtualenvError, OSError) as error:
        yield _result(directory, "failed", str(error), "Use another directory.")
    if FreeSpace.at(directory).megabytes < _ROOM:
        text = f"Only {_room(directory)} are free, and an environment takes some {_ROOM:.0f} MB."
        yield _result(directory, "warning", text, "Make room: cosmos-venv env prune.")


def _room(directory: Path) -> str:
    return str(FreeSpace.at(directory))


def _result(directory: Path, outcome: Outcome, text: str, way_out: str = "") -> CheckResult:
    return CheckResult(check="directory", subject=str(directory), outcome=outcome, text=text, way_out=way_out)
