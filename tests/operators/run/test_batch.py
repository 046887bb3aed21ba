"""A task of several nodes: it runs what is not done, and says the truth about each node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.local import DbtBatchLocalOperator
from cosmos_venv.operators.run.dbt_run import DbtRun
from cosmos_venv.operators.run.journal_record import unpacked
from cosmos_venv.operators.run.post_run import push_rows
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.fake_dags import CHAIN, write_models
from tests.installed import DBT, needs_dbt
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
    return write_models(dbt_project, CHAIN)


@pytest.fixture
def run_try(project: Path, dbt: FakeVenv, cosmos_airflow: CosmosAirflow, own_cache: Path) -> RunTry:
    assert not cosmos_airflow.variables.values

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


def done_in(variables: Mapping[str, str]) -> dict[str, int]:
    """The nodes that a task has done, with the number of their try, as its Variable has them."""
    ((name, value),) = variables.items()
    record = unpacked(name.removeprefix("cosmos_venv_journal__"), value)
    assert record is not None
    return {node: each.try_number for node, each in record.outcomes.items() if each.state == "success"}


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


@pytest.mark.long
@needs_dbt
@pytest.mark.parametrize("dbt", ["1.10.0"], indirect=True)  # the real one runs
def test_a_batch_whose_selection_is_too_long_for_a_command_line_is_built(
    run_try: RunTry, project: Path, tmp_path: Path
) -> None:
    """Linux took no command of 20,000 names; a warm dbt did."""
    target = f"{{type: duckdb, path: '{tmp_path}/harbor.duckdb'}}"
    (project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")
    (project / "selectors.yml").write_text("selectors: [{name: mine, definition: 'tag:mine'}]\n")
    (project / "models" / "left_out.sql").write_text("select nothing")
    nodes = {each: f"fqn:harbor.{name} fqn:{'x' * 100_000}{name}" for each, name in NODES.items()}
    nodes |= {each: f"{text} fqn:{'y' * 100_000}{each}" for each, text in nodes.items()}

    rows = run_try(nodes=nodes, dbt_executable_path=str(DBT), warm_dbt="off")

    assert statuses(rows) == {"staging": ("success", 1), "mart": ("success", 1), "report": ("success", 1)}
    assert (project / "selectors.yml").read_text().startswith("selectors: [{name: mine")


def test_a_failed_node_is_named_first_and_the_next_try_runs_what_is_not_done(
    run_try: RunTry, dbt: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    dbt.script("build", nth=1, nodes={"mart": "error"})

    with pytest.raises(AirflowException) as failed:
        run_try(1)
    kept = dict(cosmos_airflow.variables.values)
    rows = run_try(2)

    assert str(failed.value).startswith("mart failed, 1 skipped, 1 of 3 nodes done.")
    assert done_in(kept) == {"model.harbor.staging": 1}
    assert selected(dbt)[1] == ["mart", "report"]
    assert statuses(rows) == {"staging": ("success", 1), "mart": ("success", 2), "report": ("success", 2)}
    assert cosmos_airflow.variables.values == {}, "it is removed when the task is over"


def test_another_run_of_the_dag_runs_everything(run_try: RunTry, dbt: FakeVenv) -> None:
    dbt.script("build", nth=1, nodes={"report": "error"})
    with pytest.raises(AirflowException):
        run_try(1)

    run_try(1, run_id="another night")

    assert len(selected(dbt)[1]) == 3


@pytest.mark.parametrize(("is_for_the_table", "number"), [(False, 500), (True, 600)])
def test_of_many_nodes_the_xcom_has_the_first_rows_and_failures_before_others(
    is_for_the_table: bool, number: int, tmp_path: Path
) -> None:
    outcomes = {f"model.p.m{each}": NodeOutcome("success", message="SELECT 1") for each in range(599)}
    outcomes["model.p.bad"] = NodeOutcome("error", message="no column x")
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    task = SimpleNamespace(push_node_rows=is_for_the_table)

    push_rows(DbtRun(task=task, context={"ti": ti}, command=[], env={}), outcomes, Artifacts(target=tmp_path))

    told = pushed["dbt_nodes"]
    assert len(told) == number
    assert (told[0]["node"], told[0]["message"]) == ("model.p.bad", "no column x")
    assert {row["message"] for row in told[1:]} == {""}


def test_a_flag_that_narrows_the_command_is_refused(run_try: RunTry, dbt: FakeVenv) -> None:
    with pytest.raises(AirflowException, match=r"^--resource-type in the parameters of the operator would leave"):
        run_try(dbt_cmd_flags=["--resource-type", "model"])

    assert not dbt.calls


@pytest.mark.parametrize("nodes", [{}, None, ["staging"]])
def test_a_task_of_no_nodes_is_refused_when_it_is_made(run_try: RunTry, dbt: FakeVenv, nodes: object) -> None:
    # A bare --select takes the whole project.
    with pytest.raises(CosmosValueError, match=r"nodes=.* of DbtBatchLocalOperator names no node\. Give unique ids"):
        run_try(nodes=nodes)

    assert not dbt.calls


def test_a_test_that_warned_runs_again_where_somebody_is_to_hear_of_it(
    run_try: RunTry, dbt: FakeVenv, project: Path
) -> None:
    (project / "tests").mkdir(exist_ok=True)
    (project / "tests" / "check.sql").write_text("select * from {{ ref('staging') }} where id is null")
    nodes = {**NODES, "test.harbor.check": "check"}
    heard: list[list[str]] = []
    dbt.script("build", nodes={"check": "warn"})
    dbt.script("build", nth=1, nodes={"check": "warn", "report": "error"})

    with pytest.raises(AirflowException):
        run_try(1, nodes=nodes)
    run_try(2, nodes=nodes, on_warning_callback=lambda context: heard.append(context["test_names"]))

    assert "check" in dbt.calls[1].arguments
    assert heard == [["check"]]


def test_what_dbt_is_told_by_one_text_runs_again_together(
    run_try: RunTry, dbt: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    # As two generic tests of one name in one folder are.
    nodes = NODES | dict.fromkeys(("model.harbor.mart", "model.harbor.report"), "mart+")
    dbt.script("build", nth=1, nodes={"report": "error"})
    with pytest.raises(AirflowException):
        run_try(1, nodes=nodes)
    dbt.script("build", nth=2, nodes={"mart": "error"})

    with pytest.raises(AirflowException, match=r"^mart failed, 1 skipped, 1 of 3 nodes done"):
        run_try(2, nodes=nodes)
    kept = dict(cosmos_airflow.variables.values)
    rows = run_try(3, nodes=nodes)

    assert done_in(kept) == {"model.harbor.staging": 1}
    assert statuses(rows) == {"staging": ("success", 1), "mart": ("success", 3), "report": ("success", 3)}


def test_a_node_of_which_dbt_says_nothing_has_failed(run_try: RunTry, dbt: FakeVenv) -> None:
    nodes = {**NODES, "model.harbor.ghost": "ghost"}

    with pytest.raises(AirflowException) as failed:
        run_try(nodes=nodes)

    assert str(failed.value).startswith("dbt has said nothing of ghost, 3 of 4 nodes done.")


def test_everything_runs_again_where_a_callback_failed(
    run_try: RunTry, dbt: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise LookupError("the pier is closed")

    with pytest.raises(LookupError):
        run_try(1, callback=break_down)
    run_try(2)

    assert selected(dbt) == [[*NODES.values()]] * 2
    assert cosmos_airflow.variables.values == {}


def test_a_failed_hook_is_named_and_everything_runs_again(
    run_try: RunTry, dbt: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Artifacts.outcomes

    def with_hook(self: Artifacts) -> dict[str, NodeOutcome]:
        broken = NodeOutcome("error", message="no such table")
        return said(self) | {"operation.harbor.harbor-on-run-end-0": broken}

    dbt.script("build", nth=1, nodes={"report": "error"})
    with monkeypatch.context() as patched:
        patched.setattr(Artifacts, "outcomes", with_hook)
        with pytest.raises(AirflowException) as failed:
            run_try(1)
    run_try(2)

    assert str(failed.value).startswith("report, harbor-on-run-end-0 failed, 2 of 3 nodes done.")
    assert selected(dbt) == [[*NODES.values()]] * 2


def test_a_model_without_sql_is_no_failure(run_try: RunTry, dbt: FakeVenv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Artifacts, "without_sql", lambda _: frozenset({"model.harbor.blank"}))

    rows = run_try(nodes={**NODES, "model.harbor.blank": "blank"})

    assert statuses(rows)["blank"] == ("no-op", 1)
