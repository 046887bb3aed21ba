"""Fixtures of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_cosmos_venv.processes.pids import Pids
    from pytest_cosmos_venv.processes.process_table import ProcessTable
    from pytest_cosmos_venv.processes.venv_lock import VenvLocks


@pytest.fixture
def cosmos_pids(_cosmos_pids: Pids) -> Pids:
    """PIDs of real processes: ``.live()``, ``.dead()``, ``.zombie()``, ``.reused(lock_file)``, ``.foreign()``.

    ``.kill(pid)`` ends a live one. All are ended and reaped with the test.
    """
    return _cosmos_pids


@pytest.fixture
def cosmos_process_table() -> Iterator[ProcessTable]:
    """Processes that no test can make, as psutil and ``os.kill`` see them, beside the real ones.

    ``.denied()``, ``.vanishing()``, ``.zombie()``, ``.live(started_at=...)``, ``.dead()``, ``.zero()`` and
    ``.beyond_limit()`` give PIDs. Holds in the test's own process, also for what was imported from psutil earlier.
    """
    from pytest_cosmos_venv.processes.process_table import ProcessTable

    with pytest.MonkeyPatch.context() as patch:
        yield ProcessTable(patch)


@pytest.fixture
def cosmos_venv_lock(_cosmos_pids: Pids) -> Iterator[VenvLocks]:
    """Writes and watches the lock file of a directory: ``cosmos_venv_lock(virtualenv_dir)``.

    That has ``.held_by(pid)``, ``.stale()``, ``.empty()``, ``.garbage()``, ``.other_host()``, ``.unreadable()``,
    ``.release()``, ``.release_after(seconds)``; ``.owner``, and the ``.history`` of owners.
    """
    from pytest_cosmos_venv.processes.venv_lock import VenvLocks

    locks = VenvLocks(_cosmos_pids)
    yield locks
    locks.close()


@pytest.fixture
def _cosmos_pids() -> Iterator[Pids]:
    """What ``cosmos_pids`` gives."""
    from pytest_cosmos_venv.processes.pids import Pids

    pids = Pids()
    yield pids
    pids.close()
