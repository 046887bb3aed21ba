"""Work that outlives its callers, in every order of the steps of two that ask for it and of one that sweeps.

The model: one process is at work on a key at a time, and only while nothing is done. Who asks returns when it is done,
or learns what failed; after a kill the next one who asks learns of it, and the one after has it done. A sweep takes
away what nobody needs.

The process that works is another one than the caller's. Here it is the same: it holds the claim a second time, as a
process does that has inherited it, and both end with a kill.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.files.own_files import write_new
from cosmos_venv.processes.detached_process import DetachedFailure, DetachedWork
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.run import Schedule
from tests.explored import FURTHER, PROOF, SECONDS

KEY = "d" * 64
OLD = 20 * 86_400.0
Work = Callable[[Contender], object]


class Here:
    """What belongs to the contender that this process is."""

    contender: Contender
    fails: bool


@pytest.fixture(autouse=True)
def _the_process_is_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: DetachedWork, work: str, request: bytes, claim: int, keep_open: Sequence[int]) -> None:
        self.clear()
        inherited = os.dup(claim)
        try:
            write_new(self.pid_file, str(os.getpid()))
            with Here.contender.span("at work"):
                assert not (self.folder / "done").exists(), "it was done already"
                if Here.fails:
                    self.leave_message("no such package")
                else:
                    write_new(self.folder / "done", "")
            self.pid_file.unlink()
        finally:
            os.close(inherited)

    monkeypatch.setattr(DetachedWork, "_start", start)


def work_of(folder: Path) -> DetachedWork:
    return DetachedWork(folder=folder / "works", key=KEY)


def ask(contender: Contender, *, fails: bool = False) -> str:
    """A parse that waits until it is done; returns what went wrong."""
    Here.contender, Here.fails = contender, fails
    work = work_of(contender.folder)
    done = work.folder / "done"
    try:
        work.ensure_done("a:b", b"", is_done=done.exists, wait=None, on_start=lambda: None)
    except DetachedFailure as failure:
        return str(failure).splitlines()[0]
    assert done.exists(), "it is not done"
    return ""


failing = partial(ask, fails=True)


def sweep(contender: Contender) -> None:
    work_of(contender.folder).sweep()


def folder_of_works(folder: Path) -> None:
    (folder / "works").mkdir()


def left_long_ago(folder: Path) -> None:
    """What a process has left three weeks ago; its work is gone."""
    folder_of_works(folder)
    work = work_of(folder)
    for path in (work.claim_file, work.pid_file, work.log, work.failure):
        path.write_text("1")
        then = path.stat().st_mtime - OLD
        os.utime(path, (then, then))


def done_by_one_at_a_time(run: Schedule) -> None:
    if run.timeline.count("at work"):
        run.timeline.assert_max_concurrent("at work", 1)
    for outcome in run.outcomes:
        has_died = str(outcome.value).startswith("The process ")
        is_known = has_died or outcome.value in {"", None, "no such package"}
        assert not outcome.succeeded or is_known, f"{outcome.actor}: {outcome.value}"


@pytest.mark.parametrize(
    ("works", "options"),
    [
        pytest.param([ask, ask], {"preemptions": 1}, id="two", marks=PROOF),
        pytest.param([ask, sweep], {"fresh": left_long_ago, "preemptions": 1, "kills": 0}, id="swept"),
        pytest.param([ask, ask], {}, id="two-2", marks=FURTHER),  # 14 s of CPU
        pytest.param([failing, failing], {"preemptions": 1, "kills": 0}, id="failing"),
        pytest.param(
            [ask, sweep], {"fresh": left_long_ago, "preemptions": 1}, id="swept-and-killed", marks=pytest.mark.long
        ),
        # With two interruptions: 2,747 schedules, 24 s.
        pytest.param(
            [ask, ask, sweep],
            {"fresh": left_long_ago, "preemptions": 1, "kills": 0},
            id="two-and-swept",
            marks=pytest.mark.long,
        ),
    ],
)
def test_two_who_ask_at_once(cosmos_race: CosmosRace, works: list[Work], options: dict[str, Any]) -> None:
    exploration = cosmos_race.explore(
        works,
        **{
            "fresh": folder_of_works,
            "after": ask,
            "check": done_by_one_at_a_time,
            "seconds": SECONDS,
            **options,
        },
    )

    print(exploration)
    assert exploration.is_complete


def test_a_sweep_lets_files_be_that_go_while_it_looks_at_them(cosmos_race: CosmosRace) -> None:
    cosmos_race.replay("b2(stat) a1(open)", [ask, sweep], fresh=left_long_ago, after=ask)
