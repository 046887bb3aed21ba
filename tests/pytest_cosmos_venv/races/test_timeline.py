"""A timeline answers what was asked, and its failure shows the race."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv import DbtCall, Timeline
from pytest_cosmos_venv.races.spans import EventLog, Span

START = 1_700_000_000.0


def span(actor: str, name: str, begin: float, end: float | None, pid: int | None = None) -> Span:
    return Span(actor, name, START + begin, None if end is None else START + end, pid)


RACE = Timeline(
    [
        span("worker-10", "dbt run", 1.25, 2.0),
        span("worker-2", "install", 0.0, 1.0, 4711),
        span("worker-10", "wait", 0.125, 1.0),
        span("worker-2", "dbt deps", 1.0, 1.125),
        span("worker-2", "dbt run", 1.125, None),
        span("worker-2", "published", 1.0, 1.0),
    ]
)


def test_spans_are_found_by_name_and_by_actor() -> None:
    assert [one.name for one in RACE] == ["install", "wait", "published", "dbt deps", "dbt run", "dbt run"]
    assert [one.name for one in RACE.spans("dbt")] == ["dbt deps", "dbt run", "dbt run"]
    assert [one.actor for one in RACE.spans("dbt run", actor="worker-10")] == ["worker-10"]
    assert RACE.spans("db") == ()
    assert RACE.actors == ("worker-2", "worker-10")
    assert RACE.count("dbt") == 3
    assert RACE.order("dbt run") == ("worker-2", "worker-10")


@pytest.mark.parametrize(
    ("first", "second", "overlaps"),
    [
        pytest.param((0, 3), (1, 2), True, id="inside"),
        pytest.param((0, 1), (1, 2), False, id="one-after-the-other"),
        pytest.param((0, None), (5, 6), True, id="no-end-seen"),
        pytest.param((0, 2), (1, 1), True, id="event-inside"),
        pytest.param((0, 2), (2, 2), False, id="event-at-the-end"),
    ],
)
def test_what_overlaps(first: tuple[float, float | None], second: tuple[float, float | None], overlaps: bool) -> None:
    timeline = Timeline([span("a", "work", *first), span("b", "work", *second)])

    assert timeline.max_concurrent("work") == (2 if overlaps else 1)


def test_it_is_drawn_as_text() -> None:
    assert RACE.draw(width=76).splitlines() == [
        "                    0 s                        2.000 s  begin   took",
        "worker-2 install   │█████████████████                 │ +0.000 s  1.000 s",
        "worker-2 published │                 ◆                │ +1.000 s",
        "worker-2 dbt deps  │                 ██               │ +1.000 s  0.125 s",
        "worker-2 dbt run   │                   ██████████████▶│ +1.125 s  no end",
        "worker-10 wait     │  ███████████████                 │ +0.125 s  0.875 s",
        "worker-10 dbt run  │                     █████████████│ +1.250 s  0.750 s",
        "(◆ an event, ▶ no end was seen)",
    ]


@pytest.mark.parametrize(
    ("assertion", "sentence"),
    [
        ("assert_max_concurrent('dbt', 1)", "At most 1 dbt at one moment expected, 2 seen"),
        ("assert_count('install', 2)", "2 install expected, 1 seen"),
    ],
)
def test_an_assertion_fails_with_a_sentence_and_the_drawing(assertion: str, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence) as failure:
        eval(f"RACE.{assertion}")  # noqa: S307 - the texts above

    assert RACE.draw() in str(failure.value)


@pytest.mark.parametrize(
    "assertion",
    [
        "assert_max_concurrent('instal', 1)",
        "assert_count('instal', 1)",
    ],
)
def test_nothing_holds_of_a_name_that_was_not_seen(assertion: str) -> None:
    seen = "dbt deps, dbt run, install, published, wait"

    with pytest.raises(AssertionError, match=f"Nothing named 'instal' was seen; the timeline has {seen}") as failure:
        eval(f"RACE.{assertion}")  # noqa: S307 - the texts above

    assert RACE.draw() in str(failure.value)


def test_calls_of_a_look_alike_are_added_once() -> None:
    calls = [call(10, {"COSMOS_RACE_ACTOR": "worker-2"}, ("deps",)), call(11, {}, ("run", "--select", "a"), end=None)]

    timeline = Timeline().with_calls(calls).with_calls(calls)

    assert [str(one) for one in timeline] == ["worker-2 dbt deps (1.000 s)", "dbt 11 dbt run (no end seen)"]


def call(pid: int, env: dict[str, str], arguments: tuple[str, ...], end: float | None = 1.0) -> DbtCall:
    return DbtCall(
        argv=("dbt", *arguments),
        cwd=Path("/"),
        env=env,
        pid=pid,
        prefix=Path("/"),
        dbt_version="1.11.0",
        started_at=START + pid,
        ended_at=None if end is None else START + pid + end,
        exit_code=0,
    )


def test_processes_write_one_timeline(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    with log.span("parent"), EventLog(log.folder).span("inner"):
        source = (
            "import os, signal; from pathlib import Path; from pytest_cosmos_venv.races.spans import EventLog\n"
            f"log = EventLog(Path({str(log.folder)!r}))\n"
            "log.point('here')\n"
            "with log.span('killed'):\n    os.kill(os.getpid(), signal.SIGKILL)"
        )
        environment = {**os.environ, "COSMOS_RACE_ACTOR": "child"}
        done = subprocess.run([sys.executable, "-c", source], env=environment, check=False, timeout=30)
    with pytest.raises(ValueError, match="ended all the same"), EventLog(log.folder, actor="me").span("raises"):
        raise ValueError("ended all the same")

    timeline = Timeline.read(log.folder)

    assert done.returncode == -signal.SIGKILL
    assert [one.name for one in timeline] == ["parent", "inner", "here", "killed", "raises"]
    assert timeline.order("parent") == (f"pid {os.getpid()}",)
    assert timeline.order("killed") == ("child",)
    assert timeline.spans("killed")[0].ended_at is None
    assert timeline.spans("raises")[0].seconds is not None
