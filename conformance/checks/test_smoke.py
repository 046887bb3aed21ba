"""The three smoke checks that go before the rest: whether anything can be judged here (SPEC.md, "Smoke checks")."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..declaration import Declaration
from ..harness import processes
from ..harness.harness import Harness, install_commands
from ..harness.running import TASK_SECONDS, smoke_timeout
from ..options import asked, command_of_uv


def test_the_implementation_imports(adapter: Declaration, tmp_path: Path) -> None:
    modules, answer = ", ".join(adapter.modules), secrets.token_hex()
    # The code holds the answer reversed: only a process that has imported everything can print it.
    code = f"import {modules}; print('{answer}'[::-1])"

    finished = processes.run([sys.executable, "-c", code], cwd=tmp_path)

    said = "The implementation must import."
    assert finished.succeeded, f"{said}{adapter.advice(str(finished))} Seen: {finished}"
    assert answer[::-1] in finished.output, (
        f"{said} Seen: the process ended by itself with 0 before it answered: {finished}"
    )


def test_the_fake_wheel_installs(harness: Harness, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    environment = tmp_path / "environment"
    uv, wheelhouse = command_of_uv(asked(pytestconfig, "installer")), harness.wheelhouse

    for command in install_commands(environment, wheelhouse, uv, harness.requirements()):
        finished = processes.run(command, environment=wheelhouse.environment, cwd=tmp_path)
        assert finished.succeeded, f"The fake dbt must install without network; seen: {finished}"
    answer = processes.run([str(environment / "bin" / "dbt"), "--version"], cwd=tmp_path)

    assert answer.succeeded, f"The installed fake must answer; seen: {answer}"
    knows = "dbt-core 2" if harness.has_native_dbt else "duckdb"
    assert knows in answer.output, f"The installed fake must say its version and adapter ({knows}); seen: {answer}"


def test_one_operator_runs_to_its_end(
    harness: Harness, record_property: Callable[[str, object], None], pytestconfig: pytest.Config
) -> None:
    with harness.start(harness.task(under_airflow=True), timeout=smoke_timeout(pytestconfig)) as running:
        finished = running.finish()
    outcome = finished.outcomes[0]

    assert outcome.succeeded, f"The operator must run to its end.{harness.adapter.advice(str(outcome))} Seen: {outcome}"
    runs = harness.calls("run")
    assert len(runs) == 1, f"dbt run must be called once; dbt's own record says: {harness.calls()}; {outcome}"
    assert runs[0].exit_code == 0, f"dbt run must end with 0; dbt's own record says: {runs[0]}"
    record_property(TASK_SECONDS, finished.timeline.spans("task")[0].seconds)
