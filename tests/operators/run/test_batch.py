"""A task of several nodes: it runs what is not done, and says the truth about each node."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.local import DbtBatchLocalOperator
from cosmos_venv.operators.run import journal
from pytest_cosmos_venv import FakeVenv, Variables
from tests.kit import operator_arguments

NODES = {
    "model.harbor.staging": "staging",
    "model.harbor.mart": "mart",
    "model.harbor.report": "report",
}


class RunTry(Protocol):
    """Run one try of the task, of which Airflow makes ``last`` and one more, and return what it has pushed as XCom."""

    def __call__(
        self, number: int = 1, *, last: int = 2, run_id: str = "night", **arguments: Any
    ) -> list[dict[str, Any]]: ...


@pytest.fixture(params=["1.10.0", "2.0.0a4"])
def dbt(request: pytest.FixtureRequest, cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """The fake dbt 1, and the fake dbt 2."""
    return cosmos_fake_venv(dbt_version=request.param)


@pytest.fixture
def project(dbt_project: Path) -> Path:
    models = dbt_project / "models"
    for file in models.rglob("*.sql"):
        file.unlink()
    (models / "staging.sql").write_text("select 1 as id")
    (models / "mart.sql").write_text("select * from {{ ref('staging') }}")
    (models / "report.sql").write_text("select * from {{ ref('mart') }}")
    return dbt_project


@pytest.fixture
def run_try(
    project: Path, dbt: FakeVenv, cosmos_variables: Variables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunTry:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))

    def run_try(number: int = 1, *, last: int = 2, run_id: str = "night", **arguments: Any) -> list[dict[str, Any]]:
        pushed: dict[str, Any] = {}
        ti = SimpleNamespace(
            dag_id="harbor",
            run_id=run_id,
            task_id="models_batch",
            map_index=-1,
            try_number=number,
            max_tries=last,
            xcom_push=lambda key, value: pushed.update({key: value}),
        )
        task = DbtBatchLocalOperator(
            **operator_arguments(
                project, task_id="models_batch", dbt_executable_path=dbt.dbt, nodes=NODES, indirect_selection="empty"
            )
            | arguments
        )
        context: Any = {"ti": ti, "run_id": run_id}
        task.execute(context)
        rows: list[dict[str, Any]] = pushed.get("dbt_nodes", [])
        return rows

    return run_try


def selected(dbt: FakeVenv) -> list[list[str]]:
    """The nodes that each command was told to build."""
    return [[word for word in call.arguments if word in NODES.values()] for call in dbt.calls]


def statuses(rows: list[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    return {row["node"].rpartition(".")[2]: (row["status"], row["try_number"]) for row in rows}


def test_one_command_builds_all_nodes(run_try: RunTry, dbt: FakeVenv, capfd: pytest.CaptureFixture[str]) -> None:
    rows = run_try()

    (call,) = dbt.calls
    assert call.command == "build"
    assert call.option("--indirect-selection") == "empty"
    assert statuses(rows) == {"staging": ("success", 1), "mart": ("success", 1), "report": ("success", 1)}
    logged = "".join(capfd.readouterr())
    assert "model.harbor.staging  success" in logged
    assert '"info"' not in logged, "the log has text, whatever dbt writes"
    assert "main.staging" in logged


def test_a_failed_node_is_named_first_and_the_next_try_runs_what_is_not_done(
    run_try: RunTry, dbt: FakeVenv, cosmos_variables: Variables
) -> None:
    dbt.script("build", nth=1, nodes={"mart": "error"})

    with pytest.raises(AirflowException) as failed:
        run_try(1)
    kept = dict(cosmos_variables.values)
    rows = run_try(2)

    assert str(failed.value).startswith("mart failed, 1 skipped, 1 of 3 nodes done.")
    (value,) = kept.values()
    assert json.loads(value)["done"] == {"model.harbor.staging": "success"}
    assert selected(dbt)[1] == ["mart", "report"]
    assert statuses(rows) == {"staging": ("success", 0), "mart": ("success", 2), "report": ("success", 2)}
    assert cosmos_variables.values == {}, "it is removed when the task is over"


@pytest.mark.parametrize("lost", ["file", "variable"])
def test_either_record_is_enough(
    run_try: RunTry, dbt: FakeVenv, cosmos_variables: Variables, tmp_path: Path, lost: str
) -> None:
    dbt.script("build", nth=1, nodes={"report": "error"})
    with pytest.raises(AirflowException):
        run_try(1)
    if lost == "variable":
        for key in list(cosmos_variables.values):
            cosmos_variables.remove(key)
    else:  # the next try runs on another host
        for file in (tmp_path / "cache").rglob("*.jsonl"):
            file.unlink()

    run_try(2)

    assert selected(dbt)[1] == ["report"]


def test_a_cleared_task_runs_everything(run_try: RunTry, dbt: FakeVenv) -> None:
    dbt.script("build", nth=1, nodes={"report": "error"})
    with pytest.raises(AirflowException):
        run_try(1, last=2)

    run_try(2, last=3)  # Airflow allows one more for each try that was cleared

    assert len(selected(dbt)[1]) == 3


def test_another_run_of_the_dag_runs_everything(run_try: RunTry, dbt: FakeVenv) -> None:
    dbt.script("build", nth=1, nodes={"report": "error"})
    with pytest.raises(AirflowException):
        run_try(1)

    run_try(1, run_id="another night")

    assert len(selected(dbt)[1]) == 3


def test_where_everything_is_done_dbt_does_not_run(
    run_try: RunTry, dbt: FakeVenv, capfd: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise LookupError("the pier is closed")

    with pytest.raises(LookupError):
        run_try(1, callback=break_down)
    run_try(2, callback=break_down)

    assert len(dbt.calls) == 1
    assert "dbt does not run: everything is done." in "".join(capfd.readouterr())


def test_a_node_of_which_dbt_says_nothing_has_failed(run_try: RunTry, dbt: FakeVenv) -> None:
    nodes = {**NODES, "model.harbor.ghost": "ghost"}

    with pytest.raises(AirflowException) as failed:
        run_try(nodes=nodes)

    assert str(failed.value).startswith("dbt has said nothing of ghost, 3 of 4 nodes done.")


def test_where_dbt_selects_nothing_the_nodes_are_named(run_try: RunTry, dbt: FakeVenv) -> None:
    with pytest.raises(AirflowException) as failed:
        run_try(nodes={"model.harbor.ghost": "ghost"})

    assert str(failed.value).startswith("dbt has said nothing of ghost, 0 of 1 nodes done.")


def test_packages_are_installed_before(run_try: RunTry, dbt: FakeVenv, project: Path) -> None:
    (project / "packages.yml").write_text("packages: [{package: crane/toolkit, version: 1.0.0}]\n")

    rows = run_try(install_deps=True)

    assert [call.command for call in dbt.calls] == ["deps", "build"]
    assert len(rows) == 3


def test_a_dbt_that_fails_before_its_nodes_says_why(run_try: RunTry, dbt: FakeVenv) -> None:
    dbt.script("build", exit_code=2, stderr=["the profile is wrong"], stdout=[])

    with pytest.raises(AirflowException) as failed:
        run_try()

    assert "the profile is wrong" in str(failed.value)


def test_nothing_is_kept_where_there_is_no_further_try(
    run_try: RunTry, dbt: FakeVenv, cosmos_variables: Variables
) -> None:
    dbt.script("build", nodes={"mart": "error"})

    with pytest.raises(AirflowException):
        run_try(1, last=0)

    assert cosmos_variables.values == {}


def test_a_try_that_was_killed_leaves_what_it_has_done(
    run_try: RunTry, dbt: FakeVenv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = journal.Journal.note

    def die_after(self: journal.Journal, event: Any) -> None:
        kept(self, event)
        if event.is_end and event.unique_id == "model.harbor.mart":
            raise SystemExit  # as a worker that is killed: nothing is closed

    monkeypatch.setattr(journal.Journal, "note", die_after)
    monkeypatch.setattr(journal.Journal, "close", lambda *_, **__: None)
    with pytest.raises(SystemExit):
        run_try(1)
    monkeypatch.undo()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))

    run_try(2)

    assert selected(dbt)[-1] == ["report"]


def test_a_journal_that_cannot_be_kept_is_a_warning(
    run_try: RunTry, dbt: FakeVenv, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("no folder")

    rows = run_try(1)

    assert len(rows) == 3
    assert "The journal of this task cannot be written" in "".join(capfd.readouterr())


def test_a_batch_outside_of_airflow_runs_everything(project: Path, dbt: FakeVenv) -> None:
    DbtBatchLocalOperator(
        **operator_arguments(project, task_id="models_batch", dbt_executable_path=dbt.dbt, nodes=NODES)
    ).execute({})

    assert len(selected(dbt)[0]) == 3
