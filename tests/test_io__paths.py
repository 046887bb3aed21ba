"""Below which path a task's uploads lie: its project's own, and of mapped tasks one each."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from cosmos_venv import io
from cosmos_venv.compat import DAG, TaskGroup
from cosmos_venv.dbt.results import Artifacts
from tests.kit import texts_below


def write_compiled_sql(folder: Path) -> None:
    file = folder / "target" / "compiled" / "harbor" / "mart.sql"
    file.parent.mkdir(parents=True)
    file.write_text("select 1\n")


def a_dag() -> DAG:
    return DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("group_id", "told", "map_index", "expected"),
    [
        pytest.param("pier.staging", None, -1, "harbor__pier/run-1", id="group of a node"),
        pytest.param("pier", None, -1, "harbor__pier/run-1", id="group of the project"),
        pytest.param("pier.staging", "harbor__told", -1, "harbor__told/run-1", id="told by the rendering"),
        pytest.param("pier.staging", None, 0, "harbor__pier/run-1/0", id="mapped"),
    ],
)
def test_compiled_sql_of_a_project_is_below_its_own_group(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    group_id: str,
    told: str | None,
    map_index: int,
    expected: str,
) -> None:
    """A model's group holds the model and its tests, and is not another project."""
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", f"file://{tmp_path}/remote")
    write_compiled_sql(tmp_path)
    with a_dag() as dag, TaskGroup("pier") as pier, TaskGroup("staging") as staging:
        pass
    vars(pier)["holds_dbt_project"] = True  # as a DbtTaskGroup has it
    group = {each.group_id: each for each in (pier, staging)}[group_id]
    ti = SimpleNamespace(task=SimpleNamespace(task_group=group), map_index=map_index)
    context = {"dag": dag, "run_id": "run-1", "ti": ti} | ({"dbt_dag_task_group_identifier": told} if told else {})

    io.upload_compiled_sql(Artifacts(target=tmp_path / "target"), context, report=print)

    assert texts_below(tmp_path / "remote") == {f"{expected}/compiled/harbor/mart.sql": "select 1\n"}


def test_uploads_of_mapped_tasks_are_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_TARGET_PATH", f"file://{tmp_path}/remote")
    write_compiled_sql(tmp_path)
    for index in (0, 1):
        ti = SimpleNamespace(task_id="pier.run", try_number=2, map_index=index)
        context = {"dag": SimpleNamespace(dag_id="harbor"), "run_id": "run-1", "ti": ti}
        io.upload_to_cloud_storage(str(tmp_path), context=context)

    assert sorted(texts_below(tmp_path / "remote")) == [
        f"harbor/run-1/pier.run/{index}/2/target/compiled/harbor/mart.sql" for index in (0, 1)
    ]
