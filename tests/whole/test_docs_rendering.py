"""The page docs/reference/rendering.md is as it says."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cosmos_venv import DbtDag, DbtTaskGroup, LoadMode, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG
from tests.kit import harbor_profile
from tests.whole.page_blocks import blocks_in

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "rendering.md").read_text(encoding="utf-8")
CONFIGURED, CONVERTER, MAPPED, NOTIFYING = blocks_in(PAGE, "python")
PROJECT = Path(__file__).resolve().parents[1] / "data" / "rendering-project"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
CONFIGURATION: dict[str, Any] = {
    "project_config": ProjectConfig(PROJECT, manifest_path=PROJECT / "manifest.json"),
    "profile_config": harbor_profile(PROJECT),
}


def test_the_configuration_of_the_page_is_one() -> None:
    names: dict[str, Any] = {}

    exec(CONFIGURED, names)  # noqa: S102 - as a user copies it

    assert names["render_config"].group_nodes_by_folder


def test_the_converter_of_the_page_makes_a_task_of_an_exposure() -> None:
    names: dict[str, Any] = {}
    exec(CONVERTER, names)  # noqa: S102 - as a user copies it

    dag = DbtDag(
        dag_id="harbor", schedule=None, start_date=START, render_config=names["render_config"], **CONFIGURATION
    )

    assert dag.get_task("ops_dashboard_exposure").upstream_task_ids == {"fleet_summary.test", "port_calls.test"}


def test_the_mapped_group_of_the_page_is_built() -> None:
    configuration = {**CONFIGURATION, "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST)}
    with DAG("outer", schedule=None, start_date=START) as dag:
        exec(MAPPED, {"DbtTaskGroup": DbtTaskGroup, "CONFIGURATION": configuration})  # noqa: S102

    assert "per_region.harbor.port_calls.test" in dag.task_ids
