"""Batches for real: a DAG of the example project on each release of dbt, and errors from elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.virtualenv import DbtBatchVirtualenvOperator
from pytest_cosmos_venv import CosmosAirflow
from tests.engines import DBT_2, PLAIN_AND_WARM, Engine
from tests.installed import copy_of_example
from tests.kit import operator_arguments
from tests.whole.real_dags import real_dag, write_profile, write_project


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.usefixtures("no_other_servers")
@pytest.mark.parametrize(("engine", "warm"), PLAIN_AND_WARM)
def test_a_dag_of_batches_builds_the_example_project(
    engine: Engine,
    warm: str,
    kept_directory: Path,
    tmp_path: Path,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine.require()
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", warm)
    project = copy_of_example(tmp_path / "harbor", "snapshots")  # which name another dbt
    write_profile(project)
    dag = real_dag(project, kept_directory, engine.arguments, batch_by="folder")

    outcome = cosmos_airflow.run(dag)

    assert outcome.succeeded
    batches: list[Any] = [task for task in dag.tasks if task.task_id.endswith("_batch")]
    assert len(batches) == len(dag.tasks) < len(dag.dbt_graph.filtered_nodes)
    built = Counter(each for task in batches for each in task.nodes)
    # A source has no task here, and so its tests have none, as with a task a node.
    wanted = [each for each in dag.dbt_graph.filtered_nodes if not each.startswith(("source.", "test.harbor.source_"))]
    assert built == dict.fromkeys(wanted, 1), "each node and test once"
    rows: list[dict[str, Any]] = [row for task in batches for row in outcome.tasks[task.task_id].xcoms["dbt_nodes"]]
    assert Counter(row["node"] for row in rows) == built
    assert {row["status"] for row in rows} <= {"success", "pass", "no-op"}
    assert all(row["seconds"] > 0 for row in rows if row["node"].startswith(("model.", "seed.")))


"""Nodes whose fqns are the beginnings of others: shop.orders of a model, its unit test, a test and a model below. And
a model without SQL, and one that is disabled."""
"""It is no node of dbt 2."""


@pytest.mark.long
@pytest.mark.timeout(200)
def test_an_error_elsewhere_in_the_project_takes_nothing_from_what_is_done(
    kept_directory: Path, tmp_path: Path, own_cache: Path, cosmos_airflow: CosmosAirflow
) -> None:
    """dbt 2 writes an error for each node into its results where one node of the project cannot be compiled."""
    DBT_2.require()
    assert not cosmos_airflow.variables.values
    project = write_project(tmp_path / "harbor", {"orders.sql": "select 1 as id"})
    models = project / "models"
    nodes = {"model.harbor.orders": "orders", "model.harbor.lines": "lines"}

    def run(number: int, lines: str) -> dict[str, int]:
        """Run one try of a batch, and return the nodes that it has pushed with the numbers of their tries."""
        (models / "lines.sql").write_text(f"{lines} from {{{{ ref('orders') }}}}")
        pushed: list[dict[str, Any]] = []
        place = {"dag_id": "harbor", "run_id": "night", "task_id": "all_batch", "try_number": number, "max_tries": 9}
        given = operator_arguments(project, nodes=nodes, indirect_selection="empty", install_deps=False)
        batch = DbtBatchVirtualenvOperator(**given, **DBT_2.arguments, virtualenv_dir=kept_directory)
        ti = SimpleNamespace(**place, xcom_push=lambda value, **_: pushed.extend(value))
        batch.execute({"ti": ti, "run_id": "night"})  # type: ignore[typeddict-item] # a stand-in
        return {row["node"]: row["try_number"] for row in pushed}

    with pytest.raises(AirflowException, match="lines failed"):
        run(1, "select nothing_of_that_name")
    (models / "far.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(AirflowException):
        run(2, "select id")
    (models / "far.sql").unlink()
    (models / "orders.sql").write_text("select this_would_fail")

    assert run(3, "select id") == {"model.harbor.orders": 1, "model.harbor.lines": 3}, "orders does not run again"
