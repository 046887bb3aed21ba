"""The fake stays, crashes, obeys and leaves children as scripted."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv
from tests.waiting import wait_until


@pytest.fixture(params=["1.10.0", "2.0.0a4"])
def cosmos_fake_venv(cosmos_fake_venv: FakeVenv, request: pytest.FixtureRequest) -> FakeVenv:
    """A fake of dbt 1, and one of dbt 2, which is a program."""
    return cosmos_fake_venv(dbt_version=request.param)


def test_two_calls_at_once_get_two_numbers(start: Any, cosmos_fake_venv: FakeVenv) -> None:
    for number in range(1, 9):
        cosmos_fake_venv.script("run", nth=number, exit_code=100 + number)

    processes = [start("run") for _ in range(8)]

    assert sorted(process.wait() for process in processes) == [100 + number for number in range(1, 9)]


def test_a_held_call_ends_when_it_is_released(start: Any, cosmos_fake_venv: FakeVenv, project: Path) -> None:
    held = cosmos_fake_venv.script("run", hold=True)
    process = start("run")
    call = cosmos_fake_venv.wait_for_call("run", held=True)

    assert process.poll() is None
    assert call.ended_at is None
    assert not (project / "target" / "run_results.json").exists()
    held.release()

    assert cosmos_fake_venv.wait_for_end("run").exit_code == 0
    assert process.wait() == 0


def test_a_delay_is_spent_at_work(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("seed", delay=0.3)

    dbt("seed")

    (call,) = cosmos_fake_venv.calls
    assert call.ended_at is not None
    assert call.ended_at - call.started_at >= 0.3


@pytest.mark.parametrize(
    ("place", "ended"),
    [
        ({}, []),
        ({"at": "totals"}, ["orders", "piers"]),
        ({"after": "orders"}, ["orders"]),
    ],
)
def test_a_crash_comes_in_the_work_on_a_node_or_after_its_end(
    place: dict[str, Any], ended: list[str], dbt: Any, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script("build", crash=signal.SIGKILL, **place)

    assert dbt("build").returncode == -signal.SIGKILL

    call = cosmos_fake_venv.wait_for_end("build")
    assert (call.ended_at, call.exit_code) == (None, None)
    assert [unique_id.split(".")[2] for unique_id in call.nodes] == ended
    assert set(call.nodes.values()) <= {"success"}
    assert not (project / "target" / "run_results.json").exists()


def was_received(venv: FakeVenv, number: signal.Signals) -> bool:
    return number.name in venv.calls[0].signals


def test_signals_are_ignored_and_put_on_record_and_a_child_stays(start: Any, cosmos_fake_venv: FakeVenv) -> None:
    both = [signal.SIGINT, signal.SIGTERM]
    cosmos_fake_venv.script("run", hold=True, child=True, ignore_signals=both)
    process = start("run")
    child = psutil.Process(cosmos_fake_venv.wait_for_call(held=True).child_pid)
    for number in both:
        process.send_signal(number)
        child.send_signal(number)
        wait_until(partial(was_received, cosmos_fake_venv, number))

    assert process.poll() is None
    assert child.ppid() == process.pid
    cosmos_fake_venv.release()
    assert process.wait() == 0
    assert child.is_running()
    cosmos_fake_venv.close()

    # It has lost its parent, and PID 1 may take its time to reap it, or never do.
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_calls_are_forgotten_and_scripts_are_not(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", nth=1, exit_code=9)
    first = dbt("run").returncode

    cosmos_fake_venv.forget()

    assert cosmos_fake_venv.calls == []
    assert (first, dbt("run").returncode) == (9, 9)
