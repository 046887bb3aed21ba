"""The link from a task to the page of its node."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.docs_link import DbtDocsLink
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.settings import get_provider_info
from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2
from tests.kit import operator_arguments
from tests.rendering.recorded_project import copy_of_project, dag_of
from tests.rendering.serialised_dags import to_dict

URL = "https://docs.example/shop/"
PAGE = f"{URL}#!/model/model.harbor_ops.stg_ports"
KEY: Any = SimpleNamespace()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published docs."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__DBT_DOCS_URL", URL)


def links_of(task: Any) -> list[str]:
    return [each.get_link(task, ti_key=KEY) for each in task.operator_extra_links]


@pytest.mark.usefixtures("published")
def test_a_task_and_its_tests_lead_to_the_page_of_their_node(tmp_path: Path) -> None:
    tasks: dict[str, Any] = dag_of(copy_of_project(tmp_path / "project")).task_dict

    assert links_of(tasks["stg_ports.run"]) == links_of(tasks["stg_ports.test"]) == [PAGE]
    assert f"- [dbt docs](<{PAGE}>)" in tasks["stg_ports.run"].doc_md


@pytest.mark.usefixtures("published")
def test_a_task_without_a_node_has_no_link(tmp_path: Path) -> None:
    mapped = DbtRunLocalOperator.partial(**operator_arguments(tmp_path)).expand(select=["a", "b"])

    assert links_of(DbtRunLocalOperator(**{**operator_arguments(tmp_path), "task_id": "alone"})) == []
    assert type(mapped).__name__ == "MappedOperator"


def test_without_published_docs_there_is_no_link(tmp_path: Path) -> None:
    tasks: dict[str, Any] = dag_of(copy_of_project(tmp_path / "project")).task_dict

    assert links_of(tasks["stg_ports.run"]) == []
    assert "dbt docs" not in tasks["stg_ports.run"].doc_md


@pytest.mark.parametrize("url", ["javascript:alert(1)", "docs.example", "https://docs.example/a b", "https://x/<b>"])
def test_a_link_that_is_no_page_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__DBT_DOCS_URL", url)

    with pytest.raises(CosmosValueError, match=r"^\[cosmos_venv\] dbt_docs_url = .* must be a URL"):
        dag_of(copy_of_project(tmp_path / "project"))


@pytest.mark.usefixtures("published")
@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 stores the class of the link")
def test_airflow_3_stores_under_which_key_the_url_is_found(tmp_path: Path) -> None:
    stored = to_dict(dag_of(copy_of_project(tmp_path / "project")))["dag"]["tasks"]

    links = {each["__var"]["task_id"]: each["__var"].get("_operator_extra_links") for each in stored}
    assert links["stg_ports.run"] == {"dbt docs": "_link_DbtDocsLink"}


def test_the_class_of_the_link_is_registered() -> None:
    assert get_provider_info()["extra-links"] == [f"{DbtDocsLink.__module__}.{DbtDocsLink.__name__}"]


ON_AIRFLOW_2 = """
import sys
sys.path.insert(0, {distribution!r})
from datetime import datetime, timezone
from types import SimpleNamespace
from airflow import DAG
from airflow.serialization.serialized_objects import SerializedDAG
from airflow.utils.db import initdb
from cosmos_venv import DbtRunLocalOperator, ProfileConfig

initdb()
with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
    DbtRunLocalOperator(
        task_id="run",
        project_dir="/harbor",
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath="/harbor/profiles.yml"),
        extra_context={{"dbt_node_config": {{"unique_id": "model.harbor_ops.stg_ports"}}}},
    )
task = SerializedDAG.from_dict(SerializedDAG.to_dict(dag)).get_task("run")
print("LINK", task.extra_links, task.get_extra_links(SimpleNamespace(key=None), "dbt docs"))
"""


@needs_airflow_2
@pytest.mark.long
def test_airflow_2_makes_the_link_from_what_it_has_stored(tmp_path: Path) -> None:
    distribution = tmp_path / "site" / "cosmos_venv-0.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: cosmos-venv\nVersion: 0\n")
    point = "[apache_airflow_provider]\nprovider_info = cosmos_venv.settings:get_provider_info\n"
    (distribution / "entry_points.txt").write_text(point)
    source = ON_AIRFLOW_2.format(distribution=str(distribution.parent))

    done = subprocess.run(
        [str(AIRFLOW_2), "-W", "ignore", "-c", source],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__COSMOS_VENV__DBT_DOCS_URL": URL,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    assert f"LINK ['dbt docs'] {PAGE}" in done.stdout
