"""Runs of DAGs that several processes make at once in one database, as contenders of a race do.

Each process holds kernel locks on bytes of a file beside the database. They end with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pytest_cosmos_venv.errors import AlreadyTaken

_TURN = 0
_FIRST_RUN = 1


def runs_file(database: Path) -> Path:
    """The file that is locked; it is there while a test makes runs."""
    return database.with_name("cosmos-runs.lock")


@contextmanager
def run_beside_others(database: Path, dag_id: str, when: datetime | None) -> Iterator[Callable[[], None]]:
    """For the length of the block this process runs a DAG; it waits until no other process is beginning a run.

    Two processes that make the same DAG known at once both insert its row, and one of them fails with IntegrityError.

    :param when: the logical date of the run; None where Airflow takes the moment at which it begins.
    :return: to be called when the run has begun: then others may begin theirs.
    :raises ToolkitMisuse: another process is running this DAG for this date: ``dag.test()`` would delete that run.
    """
    descriptor = os.open(runs_file(database), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _TURN)
        if when is not None:
            _claim(descriptor, dag_id, when)
        yield lambda: fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _TURN)
    finally:
        os.close(descriptor)


def _claim(descriptor: int, dag_id: str, when: datetime) -> None:
    run = f"{dag_id}\0{when.isoformat()}".encode()
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_RUN + zlib.crc32(run))
    except (BlockingIOError, PermissionError):
        raise AlreadyTaken(
            f"Another process is running DAG {dag_id!r} for {when.isoformat()}, and Airflow has one run for a logical "
            "date: give each of them a logical_date of its own, or none."
        ) from None
