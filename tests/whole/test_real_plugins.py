"""Plugins of dbt in a managed environment: nodes of another project, as dbt-loom adds them, and reused nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import ExecutionMode
from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.engines import ENGINES
from tests.whole.real_dags import real_dag, write_project

# dbt imports each module dbt_…. The plugin of dbt-loom adds nodes; that of dbt State has nodes reused.
PLUGIN = """
from dbt.artifacts.schemas.results import RunStatus
from dbt.contracts.graph.node_args import ModelNodeArgs
from dbt.plugins.manager import dbt_hook, dbtPlugin
from dbt.plugins.manifest import PluginNodes
from dbt.task.run import ModelRunner


class Plugin(dbtPlugin):
    def initialize(self):
        ModelRunner.execute = self.execute

    @staticmethod
    def execute(runner, model, manifest, build=ModelRunner.execute):
        result = build(runner, model, manifest)
        if model.name == "orders":
            result.status = RunStatus.Reused
        return result

    @dbt_hook
    def get_nodes(self):
        nodes = PluginNodes()
        nodes.add_model(ModelNodeArgs("prices", "other", "prices", "main", access="public"))
        return nodes


plugins = [Plugin]
"""
MODELS = {
    "orders.sql": "select 1 as id -- {{ ref('other', 'prices') }}",
    "report.sql": "select * from {{ ref('orders') }} -- {{ ref('other', 'prices') }}",
}


@pytest.mark.long
@pytest.mark.timeout(580)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize(
    ("mode", "warm"), [(ExecutionMode.VIRTUALENV, "require"), (ExecutionMode.WATCHER, "off")], ids=["warm", "watcher"]
)
def test_nodes_of_another_project_have_no_task_and_reused_ones_are_green(
    mode: ExecutionMode,
    warm: str,
    kept_directory: Path,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (engine,) = (each for each in ENGINES if each.name == "1.12")
    engine.require()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", warm)
    plugin = Wheel(name="dbt-harbor-plugin", version="1.0", files={"dbt_harbor_plugin.py": PLUGIN})
    write_wheel(plugin, tmp_path)
    project = write_project(tmp_path / "harbor", MODELS)
    arguments = engine.arguments
    arguments["py_requirements"].append("dbt-harbor-plugin")
    arguments["pip_install_options"] += ["--find-links", str(tmp_path)]
    dag = real_dag(project, kept_directory, arguments, mode=mode)

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    assert {*dag.tasks_map} == {"model.harbor.orders", "model.harbor.report"}
    assert "report_run" in dag.get_task("orders_run").downstream_task_ids
    report: Any = dag.get_task("report_run")
    assert "model.harbor.orders" in report.extra_context["dbt_node_config"]["depends_on"]
    task = "dbt_producer_watcher" if mode is ExecutionMode.WATCHER else "orders_run"
    assert "Not built, and done as dbt says: model.harbor.orders (reused)." in outcome.tasks[task].log
