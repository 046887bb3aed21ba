"""How much memory may a server take? Half more than at first, a spare, and a share for what it keeps of projects."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from cosmos_venv.dbt.warm.kept_projects import KeptProjects

_FACTOR, _SPARE = 1.5, 64 << 20


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that the process has."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def freeze() -> None:
    """Take what is there now for what will stay, and drop what is unused."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # or looking for rubbish would copy all pages of the imports into each child


def has_grown(at_first: int, projects: KeptProjects) -> bool:
    """Whether a server takes more than it may. What it keeps of projects goes first, and is never kept again.

    :param at_first: bytes, when it began to serve.
    """
    if _is_within(at_first, projects):
        return False
    if projects.ready or projects.is_making:
        projects.give_up("the server took more memory than it may, and keeps no project any more")
        freeze()
    return not _is_within(at_first, projects)


def _is_within(at_first: int, projects: KeptProjects) -> bool:
    return resident() <= at_first * _FACTOR + _SPARE + projects.memory
