"""The artifacts of a whole DAG run, and what the owners of its nodes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseNotifier
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped] # it has no types

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy, ExecutionMode
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.run import run_artifacts
from cosmos_venv.operators.run.run_artifacts import join_parts
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import RemoteFolder
from pytest_cosmos_venv import CosmosAirflow, DagOutcome, FakeVenv, NodeOutcome
from tests.fake_dags import CHAIN, fake_dag, write_models

MODES = [
    pytest.param({}, id="local"),
    pytest.param({"batch_by": BatchBy.ALL}, id="batches"),
    pytest.param({"mode": ExecutionMode.WATCHER}, id="watcher"),
]


@pytest.fixture
def target(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of ``remote_target_path``."""
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", (tmp_path / "runs").as_uri())
    return tmp_path / "runs"


@pytest.fixture
def project(dbt_project: Path) -> Path:
    """Three models of which each reads the one before; the second has an owner."""
    return write_models(dbt_project, {**CHAIN, "mart": "{{ config(meta={'owner': 'finance'}) }} " + CHAIN["mart"]})


def run(
    airflow: CosmosAirflow,
    dbt: FakeVenv,
    project: Path,
    *,
    operator_args: dict[str, Any] | None = None,
    **given: Any,
) -> DagOutcome:
    program = writing_sql(dbt, project.parent / "dbt")
    dag = fake_dag(dbt, project, program=program, dag={"operator_args": operator_args}, **given)
    return airflow.run(dag, run_id="one", raise_on_failure=False)


def writing_sql(dbt: FakeVenv, file: Path) -> Path:
    """A program that runs the fake dbt, and writes the compiled SQL of a model, which the fake does not."""
    file.write_text(
        f'#!/bin/sh\n{dbt.dbt} "$@"\ncode=$?\nfolder="$DBT_TARGET_PATH/compiled/harbor/models"\n'
        'mkdir -p "$folder" && echo "-- of staging" > "$folder/mart.sql"\nexit $code\n'
    )
    file.chmod(0o755)
    return file


def statuses(target: Path) -> dict[str, str]:
    found = json.loads((target / "harbor" / "one" / "run_results.json").read_text())
    return {result["unique_id"].rpartition(".")[2]: result["status"] for result in found["results"]}


@pytest.mark.parametrize("how", MODES)
def test_a_run_leaves_the_artifacts_of_one_build(
    how: dict[str, Any], cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path, target: Path
) -> None:
    outcome = run(cosmos_airflow, cosmos_fake_venv, project, run_artifacts=True, **how)

    assert outcome.succeeded
    assert statuses(target) == {"staging": "success", "mart": "success", "report": "success"}
    folder = target / "harbor" / "one"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["manifest.json", "run_results.json"]
    assert json.loads((folder / "manifest.json").read_text())["nodes"]
    arguments = json.loads((folder / "run_results.json").read_text())["args"]
    assert (arguments["which"], arguments["select"]) == ("build", [])


def test_failures_and_what_was_skipped_for_them_are_in_it(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path, target: Path
) -> None:
    cosmos_fake_venv.script("run", nodes={"mart": "error"})

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, run_artifacts=True)

    assert not outcome.succeeded
    assert statuses(target) == {"staging": "success", "mart": "error", "report": "skipped"}


def test_the_tries_of_a_batch_are_joined(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path, target: Path
) -> None:
    cosmos_fake_venv.script("build", nth=1, nodes={"mart": "error"})

    run(cosmos_airflow, cosmos_fake_venv, project, run_artifacts=True, batch_by=BatchBy.ALL, retries=1)

    assert statuses(target) == {"staging": "success", "mart": "success", "report": "success"}


def test_a_task_that_was_cleared_changes_its_nodes_alone(tmp_path: Path) -> None:
    def part(name: str, at: str, **statuses: str) -> None:
        results = [{"unique_id": f"model.x.{each}", "status": status} for each, status in statuses.items()]
        (tmp_path / "parts").mkdir(exist_ok=True)
        content = {"metadata": {"generated_at": at}, "results": results, "elapsed_time": 1.5, "args": {"threads": 4}}
        (tmp_path / "parts" / name).write_text(json.dumps(content))

    def told(**statuses: str) -> dict[str, dict[str, str]]:
        return {f"model.x.{each}": {"status": status} for each, status in statuses.items()}

    part("a-1.json", "2026-01-01T00:00:01Z", a="success", b="error", killed="success", renamed="success")
    folder = RemoteFolder(url=tmp_path.as_uri())
    ended = {"a": "success", "killed": "success"}
    assert join_parts(folder, told(**ended, b="error", c="skipped", renamed="success"), print) == 5
    part("b-2.json", "2026-01-01T00:00:03Z", b="success")
    part("c-1.json", "2026-01-01T00:00:02Z", b="error", c="success")
    (tmp_path / "parts" / "half.json").write_text('{"met')
    warned: list[str] = []
    # The worker of a model was killed before dbt could say anything. Another model is gone from the project.
    now = told(a="success", b="success", c="success", killed="error")
    assert join_parts(folder, now, lambda text, *words: warned.append(text % words)) == 4

    found = json.loads((tmp_path / "run_results.json").read_text())
    assert {each["unique_id"]: each["status"] for each in found["results"]} == {
        "model.x.a": "success",
        "model.x.b": "success",
        "model.x.c": "success",
        "model.x.killed": "error",
    }
    assert (found["elapsed_time"], found["args"]["threads"]) == (4.5, 4)
    assert not [*(tmp_path / "parts").iterdir()]
    assert "half.json is left out" in warned[0]


def test_the_place_is_wanted_when_the_dag_is_made(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    with pytest.raises(CosmosValueError, match=r"run_artifacts=True, and \[cosmos\] remote_target_path is not set"):
        run(cosmos_airflow, cosmos_fake_venv, project, run_artifacts=True)


@pytest.mark.parametrize("how", MODES)
def test_the_owner_of_a_node_that_fails_is_told_once(
    how: dict[str, Any], cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path, target: Path
) -> None:
    told: list[tuple[str, list[tuple[str, str, str, str]]]] = []

    def tell(context: dict[str, Any]) -> None:
        rows = [(row["node"], row["state"], row["message"], row["compiled_path"]) for row in context["dbt_nodes"]]
        told.append((context["dbt_owner"], rows))

    cosmos_fake_venv.script(nodes={"mart": NodeOutcome(status="error", message="no such table")})

    run(cosmos_airflow, cosmos_fake_venv, project, notify_owners={"finance": tell}, **how)

    sql = "target/compiled/harbor/models/mart.sql"
    assert told == [("finance", [("model.harbor.mart", "error", "no such table", sql)])]


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("kept", ["uploaded", "in-a-folder"])
def test_an_owner_is_told_where_the_compiled_sql_can_be_read(
    kept: str,
    how: dict[str, Any],
    cosmos_airflow: CosmosAirflow,
    cosmos_fake_venv: FakeVenv,
    project: Path,
    target: Path,
) -> None:
    told: list[dict[str, Any]] = []
    cosmos_fake_venv.script(nodes={"mart": "error"})
    keeps: dict[str, dict[str, Any]] = {
        "uploaded": {"should_upload_compiled_sql": True},
        "in-a-folder": {"env": {"DBT_TARGET_PATH": str(target)}},
    }

    run(
        cosmos_airflow,
        cosmos_fake_venv,
        project,
        operator_args=keeps[kept],
        notify_owners={"*": lambda context: told.extend(context["dbt_nodes"])},
        **how,
    )

    (path,) = [row["compiled_path"].removeprefix("file://") for row in told]
    assert Path(path).parts[-4:] == ("compiled", "harbor", "models", "mart.sql")
    assert "staging" in Path(path).read_text()


def test_the_others_are_told_by_a_star_and_an_error_of_a_notifier_stops_no_other(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path, target: Path
) -> None:
    told = []

    def fail(_: dict[str, Any]) -> None:
        raise ConnectionError("no mail")

    (project / "models" / "report.sql").write_text("select 1")
    cosmos_fake_venv.script("run", nodes={"mart": "error", "report": "error"})
    notifiers = {"finance": fail, "*": lambda context: told.append(context["dbt_nodes"][0]["node"])}

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, notify_owners=notifiers)

    assert told == ["model.harbor.report"]
    assert outcome.tasks["dbt_run_summary"].state == "failed"
    assert "The owner 'finance' is not told of 1 nodes" in outcome.tasks["dbt_run_summary"].log


def test_a_notifier_of_two_owners_has_the_words_of_each(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path, target: Path
) -> None:
    class Mail(BaseNotifier):
        """Renders its text in place, as each notifier of Airflow does."""

        template_fields = ("text",)

        def __init__(self) -> None:
            super().__init__()
            self.text = "{{ dbt_owner }}: {{ dbt_nodes[0].node }}"

        def notify(self, context: Any) -> None:  # noqa: ARG002 - as Airflow calls it
            sent.append(self.text)

    sent: list[str] = []
    (project / "models" / "report.sql").write_text("{{ config(meta={'owner': 'ops'}) }} select 1")
    cosmos_fake_venv.script("run", nodes={"mart": "error", "report": "error"})

    run(cosmos_airflow, cosmos_fake_venv, project, notify_owners={"*": Mail()})

    assert sorted(sent) == ["finance: model.harbor.mart", "ops: model.harbor.report"]


def test_a_task_whose_results_cannot_be_kept_is_green_and_its_nodes_are_in_the_record(
    monkeypatch: pytest.MonkeyPatch,
    cosmos_airflow: CosmosAirflow,
    cosmos_fake_venv: FakeVenv,
    project: Path,
    target: Path,
) -> None:
    def fail(*_: object) -> None:
        raise RemoteError("the bucket is closed", has_answered=True)

    monkeypatch.setattr(run_artifacts, "keep_part", fail)

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, run_artifacts=True)

    assert outcome.succeeded
    assert "not kept for the artifacts of the run: the bucket is closed" in outcome.tasks["mart_run"].log
    assert statuses(target) == {"staging": "success", "mart": "success", "report": "success"}


def test_an_error_of_an_object_store_is_a_remote_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class ClientError(Exception):
        """As of botocore, which is no OSError."""

    def refuse(*_: object, **__: object) -> None:
        raise ClientError("SlowDown")

    monkeypatch.setattr(LocalFileSystem, "ls", refuse)
    (tmp_path / "parts").mkdir()

    # The last task catches it, and tells the owners all the same.
    with pytest.raises(RemoteError, match="ClientError: SlowDown"):
        join_parts(RemoteFolder(url=tmp_path.as_uri()), {}, print)


def test_a_notifier_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(CosmosValueError, match=r"notify_owners\['finance'\]='slack' cannot be called"):
        RenderConfig(notify_owners={"finance": "slack"})  # type: ignore[dict-item]
