"""The processes of a killed guard's session are ended, and no others, whatever their numbers."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from typing import Any, Protocol

import psutil
import pytest

from cosmos_venv.processes.guard import readable
from cosmos_venv.processes.guarded_process import Session
from tests.waiting import DEADLINE


class Abandon(Protocol):
    """Leave a session whose leader has ended and left one process behind, as a daemon is made."""

    def __call__(self, **options: Any) -> tuple[Session, psutil.Process]: ...


@pytest.fixture
def abandon() -> Iterator[Abandon]:
    left: list[psutil.Process] = []

    def abandon(**options: object) -> tuple[Session, psutil.Process]:
        words = ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!; read go_on"]
        leader = subprocess.Popen(
            words,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload] # those of Popen
        )
        child = psutil.Process(int(leader.stdout.readline()))
        left.append(child)
        session = Session.of(leader.pid)
        leader.communicate("\n", timeout=DEADLINE)
        return session, child

    yield abandon
    for child in left:
        if child.is_running():
            child.kill()


def ended(child: psutil.Process) -> bool:
    try:
        process = os.pidfd_open(child.pid)
    except ProcessLookupError:
        return True
    try:
        return bool(readable([process], DEADLINE))
    finally:
        os.close(process)


def test_what_is_left_of_a_session_is_ended(abandon: Abandon) -> None:
    session, child = abandon()

    session.end()

    assert ended(child)


def test_a_session_is_left_alone_whose_leader_has_the_number_of_another() -> None:
    living = subprocess.Popen(["sleep", "600"], start_new_session=True)
    session = Session.of(living.pid)
    assert session.started is not None
    earlier = dataclasses.replace(session, started=session.started - 1)

    earlier.end()
    was_alive = living.poll() is None
    living.kill()
    living.wait(DEADLINE)

    assert was_alive
