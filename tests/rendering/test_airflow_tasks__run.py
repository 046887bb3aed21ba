"""The tasks that were rendered start the dbt that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv import ExecutionConfig, SeedRenderingBehavior, SourceRenderingBehavior
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.rendering.recorded_project import dag_of


@pytest.mark.parametrize("by_folder", [False, True], ids=["flat", "folders"])
def test_sources_seeds_and_detached_tests_run_their_own_dbt(
    by_folder: bool,
    project: Path,
    cosmos_fake_venv: FakeVenv,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The recorded project is a manifest without the files of its nodes, so dbt can report none.
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__UNREPORTED_NODES", "warn")
    render = {
        "select": ["+stg_ports", "source:tracking.positions"],
        "group_nodes_by_folder": by_folder,
        "should_detach_multiple_parents_tests": True,
        "seed_rendering_behavior": SeedRenderingBehavior.WHEN_SEED_CHANGES,
        "source_rendering_behavior": SourceRenderingBehavior.ALL,
    }
    dag = dag_of(
        project,
        render=render,
        execution_config=ExecutionConfig(dbt_executable_path=cosmos_fake_venv.dbt, install_dbt_deps=False),
        operator_args={},
        default_args={"pool": "default_pool", "queue": "default", "retries": 0},
    )

    assert cosmos_airflow.run(dag).succeeded

    selecting = {(call.argv[1], call.argv[call.argv.index("--select") + 1]) for call in cosmos_fake_venv.calls}
    assert selecting >= {
        ("seed", "fqn:harbor_ops.raw_ports"),
        ("source", "source:tracking.positions"),
        ("test", "fqn:harbor_ops.assert_calls_have_known_port"),
    }
