"""The page docs/how-to/dags/watcher.md is as it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag, LoadMode, ProjectConfig, RenderConfig
from tests.kit import harbor_profile
from tests.whole.page_blocks import blocks_in

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "dags" / "watcher.md").read_text(encoding="utf-8")
MANAGED, INSTALLED, FRESHNESS = blocks_in(PAGE, "python")
PROJECT = Path(__file__).resolve().parents[1] / "data" / "rendering-project"


@pytest.mark.parametrize(
    ("example", "suffix"),
    [pytest.param(MANAGED, "VirtualenvOperator", id="managed"), pytest.param(INSTALLED, "Operator", id="installed")],
)
def test_the_dag_of_the_page_watches_one_producer(example: str, suffix: str) -> None:
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - as a user copies it

    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(PROJECT, manifest_path=PROJECT / "manifest.json"),
        profile_config=harbor_profile(PROJECT),
        execution_config=names["execution_config"],
        operator_args=names["operator_args"],
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
    )

    producer, node = dag.get_task("dbt_producer_watcher"), dag.get_task("stg_pings_run")
    assert type(producer).__name__ == f"DbtProducerWatcher{suffix}"
    assert type(node).__name__ == f"DbtRunWatcher{suffix}"
    assert producer.retries == node.retries == 1
    assert dag.has_task("dbt_producer_watcher_done")


def test_the_callback_of_the_page_leaves_out_what_reads_a_stale_source() -> None:
    names: dict[str, Any] = {}
    exec(FRESHNESS, names)  # noqa: S102 - as a user copies it

    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(PROJECT, manifest_path=PROJECT / "manifest.json"),
        profile_config=harbor_profile(PROJECT),
        execution_config=names["execution_config"],
        render_config=replace(names["render_config"], load_method=LoadMode.DBT_MANIFEST),
    )

    producer: Any = dag.get_task("dbt_producer_watcher")
    stale, *fresh = producer.sources
    results = [{"unique_id": stale, "status": "error"}, *({"unique_id": each, "status": "pass"} for each in fresh)]
    answers = dict(producer.freshness_callback({}, dag, None, dag.dbt_graph.nodes, {"results": results}))
    readers = {each for each, node in dag.dbt_graph.nodes.items() if stale in node.depends_on}
    assert readers
    assert answers == dict.fromkeys([stale, *readers], "skipped")
