"""Which contender is it that was seen somewhere? A process knows by its environment, its parents, or the lock file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_cosmos_venv.races.points import lock_owner
from pytest_cosmos_venv.races.timeline import ACTOR_VARIABLE


def contender_of(pid: int | None, pids: Sequence[int], names: Sequence[str], virtualenv_dir: Path | None) -> int | None:
    """Index of the contender that a process belongs to, or None when that cannot be told.

    :param pid: of the process; None takes the one that the lock file names.
    :param pids: of the contenders.
    :param names: of the contenders.
    :param virtualenv_dir: where the lock file lies.
    """
    if pid is None and virtualenv_dir is not None:
        pid = lock_owner(virtualenv_dir)
    if pid is None:
        return None
    if pid in pids:
        return pids.index(pid)
    return _by_environment(pid, names) if _by_environment(pid, names) is not None else _by_parents(pid, pids)


def _by_environment(pid: int, names: Sequence[str]) -> int | None:
    """It holds for orphans as well."""
    import psutil

    try:
        actor = psutil.Process(pid).environ().get(ACTOR_VARIABLE)
    except (psutil.Error, OSError):
        return None
    return names.index(actor) if actor in names else None


def _by_parents(pid: int, pids: Sequence[int]) -> int | None:
    """A process that was given another environment still has its parents."""
    import psutil

    try:
        parents = [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.Error:
        return None
    return next((pids.index(parent) for parent in parents if parent in pids), None)
