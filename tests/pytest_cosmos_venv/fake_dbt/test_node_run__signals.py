"""The fake dbt ends as the real one does when a signal comes in the middle of a model."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import psutil
import pytest

from pytest_cosmos_venv import FakeVenv
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import DEADLINE, Dbt, comparable
from tests.waiting import wait_until

SLOW_SQL = "{{ config(materialized='table') }}\nselect count(*) as n from range(900000000000) t where sqrt(range) > 3\n"
BUSY = 0.3
"""Seconds of computing by which a query must have begun."""


class Running:
    """A dbt in the middle of a model, and what it said until then."""

    def __init__(self, dbt: Dbt, model: str) -> None:
        self.dbt = dbt
        (dbt.target / "run_results.json").unlink(missing_ok=True)
        self.process = dbt.start("run", "-s", model)
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._add(line)
            if "START" in line:
                break
        self.processor_time_at_start = self.processor_time

    def end(self) -> int:
        """Reads to the end; returns the exit code."""
        stdout, _ = self.process.communicate(timeout=DEADLINE)
        for line in stdout.splitlines():
            self._add(line)
        return self.process.returncode

    @property
    def processor_time(self) -> float:
        """Seconds that it has computed."""
        return float(psutil.Process(self.process.pid).cpu_times().user)

    @property
    def results(self) -> list[object] | None:
        """The results in ``run_results.json``; None where there is no such file."""
        file = self.dbt.target / "run_results.json"
        return list(json.loads(file.read_text(encoding="utf-8"))["results"]) if file.exists() else None

    def _add(self, line: str) -> None:
        text = comparable(line.rstrip("\n"))
        self.lines += [] if text is None else [text]


@pytest.fixture
def started() -> Iterator[list[Running]]:
    """Ends what a failing test leaves running."""
    running: list[Running] = []
    yield running
    for each in running:
        each.process.kill()
        each.process.wait()
        for pipe in (each.process.stdout, each.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="module")
def real(real_dbt: Dbt) -> Dbt:
    return with_slow_models(real_dbt)


@pytest.fixture
def fake(fake_dbt: Dbt) -> Dbt:
    return with_slow_models(fake_dbt)


@pytest.mark.long
def test_sigint_cancels_sql_and_leaves_results_without_nodes(
    real: Dbt, fake: Dbt, cosmos_fake_venv: FakeVenv, started: list[Running]
) -> None:
    cosmos_fake_venv.script("run", hold=True)
    started += [Running(real, "slow"), Running(fake, "slow")]
    cosmos_fake_venv.wait_for_call("run", held=True)
    # dbt sends the interrupt to its connection: one that has not begun its query yet runs it nevertheless.
    wait_until(lambda: started[0].processor_time > started[0].processor_time_at_start + BUSY)

    codes = []
    for each in started:
        each.process.send_signal(signal.SIGINT)
        codes.append(each.end())

    theirs, ours = (told(each) for each in started)
    assert codes == [2, 2]
    assert "Exited because of keyboard interrupt" in ours
    assert ours == theirs
    assert [each.results for each in started] == [[], []]


@pytest.mark.long
@pytest.mark.parametrize("crash", [None, signal.SIGTERM], ids=["sent", "scripted-crash"])
def test_sigterm_kills_at_once_and_leaves_no_results(
    crash: signal.Signals | None, real: Dbt, fake: Dbt, cosmos_fake_venv: FakeVenv, started: list[Running]
) -> None:
    cosmos_fake_venv.script("run", hold=crash is None, crash=crash)
    started += [Running(fake, "slow"), *([Running(real, "slow")] if crash is None else [])]

    for each in started:
        if crash is None:
            each.process.send_signal(signal.SIGTERM)
        assert each.end() == -signal.SIGTERM
        assert each.lines[-1].startswith("1 of 1 START sql table model main.slow")
        assert each.results is None
    (call,) = cosmos_fake_venv.calls
    assert call.ended_at is None
    assert call.signals == (("SIGTERM",) if crash is None else ())


def with_slow_models(dbt: Dbt) -> Dbt:
    (dbt.project / "models" / "slow.sql").write_text(SLOW_SQL, encoding="utf-8")
    return dbt


def told(running: Running) -> list[str]:
    """Up to the traceback, which is one of dbt's own files.

    dbt's threads speak in any order, and it cancels what lies idle too (``list_memory_main``), where there is such.
    """
    lines = running.lines[: running.lines.index("Encountered an error:")]
    return sorted(line for line in lines if "CANCEL" not in line or "model." in line)
