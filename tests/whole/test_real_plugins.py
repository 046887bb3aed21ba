"""Plugins of dbt in a managed environment: nodes of another project, as dbt-loom adds them, and reused nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.engines import ENGINES
from tests.rendering.recorded_project import START
from tests.whole.test_real_batches import write_profile

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
    "orders": "select 1 as id -- {{ ref('other', 'prices') }}",
    "report": "select * from {{ ref('orders') }} -- {{ ref('other', 'prices') }}",
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
    project = tmp_path / "harbor"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    write_profile(project)
    for name, text in MODELS.items():
        (project / "models" / f"{name}.sql").write_text(text)
    arguments = engine.arguments
    arguments["py_requirements"].append("dbt-harbor-plugin")
    arguments["pip_install_options"] += ["--find-links", str(tmp_path)]
    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=START,
        project_config=ProjectConfig(project, install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        execution_config=ExecutionConfig(execution_mode=mode, virtualenv_dir=kept_directory),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args=arguments,
    )

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    assert {*dag.tasks_map} == {"model.harbor.orders", "model.harbor.report"}
    assert "report_run" in dag.get_task("orders_run").downstream_task_ids
    report: Any = dag.get_task("report_run")
    assert "model.harbor.orders" in report.extra_context["dbt_node_config"]["depends_on"]
    task = "dbt_producer_watcher" if mode is ExecutionMode.WATCHER else "orders_run"
    assert "Not built, and done as dbt says: model.harbor.orders (reused)." in outcome.tasks[task].log
