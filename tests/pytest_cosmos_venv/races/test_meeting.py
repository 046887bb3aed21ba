"""Contenders meet, learn of each other's end, and make what they share once. With processes, without pytest."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races.contender import Contender
from pytest_cosmos_venv.races.meeting import BarrierNotMet, Ending, Meeting
from tests.waiting import wait_until

DEADLINE = 60.0
FAILED = Ending(outcome="failed", how="failed")


class Children:
    """Processes that are forked by a test."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def start(self, work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        self.pids.append(pid)
        return pid

    def wait(self) -> list[int]:
        """Their exit codes."""
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids]
        self.pids.clear()
        return codes


@pytest.fixture
def children() -> Iterator[Children]:
    started = Children()
    yield started
    for pid in started.pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def contender(folder: Path, index: int, count: int = 2) -> Contender:
    meeting = Meeting(folder=folder, count=count)
    return Contender(index, count, meeting.shared, meeting=meeting)


def test_nobody_leaves_a_barrier_before_the_last_has_come(tmp_path: Path, children: Children) -> None:
    def race(index: int) -> None:
        me = contender(tmp_path, index, 3)
        for _ in range(5):
            me.point("before")
            me.barrier("again", timeout=DEADLINE)
            me.point("after")
            me.barrier("and once more", timeout=DEADLINE)

    for index in range(3):
        children.start(lambda index=index: race(index))  # type: ignore[misc]

    assert children.wait() == [0, 0, 0]
    timeline = contender(tmp_path, 0, 3).timeline
    order = [span.name for span in timeline if "barrier" not in span.name]
    assert order == (["before"] * 3 + ["after"] * 3) * 5


def test_who_waits_for_a_contender_that_has_ended_is_told_at_once(tmp_path: Path) -> None:
    meeting = Meeting(folder=tmp_path, count=3)
    me = contender(tmp_path, 0, 3)
    meeting.introduce(2, worker="gw2")
    meeting.end(2, FAILED)

    with pytest.raises(
        BarrierNotMet, match=rf"^contender-2 \(gw2, process {os.getpid()}\) failed and did not come to barrier 'end'\.$"
    ):
        me.barrier("end", timeout=3600)


def test_a_contender_that_dies_while_making_hands_over(tmp_path: Path, children: Children) -> None:
    begun = tmp_path / "begun"

    def die_in_the_middle() -> None:
        begun.touch()
        signal.pause()

    pid = children.start(lambda: Meeting(folder=tmp_path, count=2).once("thing", die_in_the_middle, timeout=DEADLINE))
    wait_until(begun.exists)
    with pytest.raises(ToolkitMisuse, match=r"once-thing is being made by process \d+ for more than 0 s"):
        Meeting(folder=tmp_path, count=2).once("thing", lambda: 1, timeout=0)
    os.kill(pid, signal.SIGKILL)

    assert Meeting(folder=tmp_path, count=2).once("thing", lambda: 2, timeout=DEADLINE) == 2
    assert children.wait() == [-signal.SIGKILL]


def test_what_no_other_process_can_be_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolkitMisuse, match=r"once\('thing'\): the factory returned object.*Return a path"):
        Meeting(folder=tmp_path, count=2).once("thing", object, timeout=0)
