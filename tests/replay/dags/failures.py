"""Tasks that fail: the states, and the last lines of the errors."""

from __future__ import annotations

import signal
from typing import Any

from airflow.sdk import DAG

from cosmos_venv import InvocationMode, ProfileConfig
from cosmos_venv.operators import local
from pytest_cosmos_venv import NodeOutcome
from tests.dbt_packages import add_package
from tests.replay.projects import START
from tests.replay.recorder import Bench

SMALL = ["piers", "stg_piers", "fct_crossings"]


def model_fails(bench: Bench) -> None:
    """A model fails in each try; what comes behind does not run."""
    bench.fake.script("run", nodes={"stg_piers": NodeOutcome(status="error", message="no such table: piers")})
    bench.run(bench.dag(select=SMALL, of_dag={"default_args": {"retries": 1}}))


def model_fails_once(bench: Bench) -> None:
    """The second try succeeds."""
    bench.fake.script("run", nth=1, select="stg_piers", exit_code=1)
    bench.run(bench.dag(select=["stg_piers"], of_dag={"default_args": {"retries": 1}}))


def data_test_fails(bench: Bench) -> None:
    """A data test fails."""
    bench.know_tests("test", failing_test="unique_stg_piers_id")
    bench.run(bench.dag(select=SMALL))


def dbt_ends_badly(bench: Bench) -> None:
    """dbt cannot begin, is killed, or says that the task is to be skipped."""
    bench.fake.script("seed", exit_code=2)
    bench.fake.script("run", crash=signal.SIGKILL, select="stg_ships")
    bench.fake.script("snapshot", exit_code=99)
    arguments = {"operator_args": {"skip_exit_code": 99}}
    bench.run(bench.dag(select=["piers", "stg_ships", "piers_history"], of_dag=arguments))


def bad_operators(bench: Bench) -> None:
    """No project, no profile, no dbt, a selection of nothing, artifacts that are not there."""
    dbt = bench.fake.dbt
    with DAG("bad", schedule=None, start_date=START) as dag:
        _run(bench, "no_project", project_dir=bench.folder / "nowhere", dbt_executable_path=dbt)
        nowhere = ProfileConfig("harbor", "dev", profiles_yml_filepath=bench.harbor.path / "dbt_project.yml")
        _run(bench, "no_profile", profile_config=nowhere, dbt_executable_path=dbt)
        other = ProfileConfig("harbor", "elsewhere", profiles_yml_filepath=bench.harbor.profiles_yml)
        _run(bench, "no_target", profile_config=other, dbt_executable_path=dbt)
        _run(bench, "no_dbt", dbt_executable_path=bench.folder / "no" / "dbt")
        _run(bench, "no_node", dbt_executable_path=dbt, select="nobody")
        _run(bench, "no_state", dbt_executable_path=dbt, state=bench.folder / "no_state")
        _run(bench, "no_runner", invocation_mode=InvocationMode.DBT_RUNNER)
    bench.see(dag)
    bench.run(dag)
    missing = bench.folder / "none.yml"
    bench.refused("no file of profiles", lambda: ProfileConfig("harbor", "dev", profiles_yml_filepath=missing))


def _run(bench: Bench, task_id: str, **given: Any) -> None:
    fixed = {
        "project_dir": bench.harbor.path,
        "profile_config": ProfileConfig(**bench.profiles_yml),
        "install_deps": False,
        "invocation_mode": InvocationMode.SUBPROCESS,
    }
    local.DbtRunLocalOperator(task_id=task_id, **{**fixed, **given})


def packages_fail(bench: Bench) -> None:
    """``dbt deps`` fails."""
    add_package(bench.harbor, "tools").model("tool", "select 1 as id")
    bench.harbor.manifest()
    bench.fake.script("deps", exit_code=2)
    bench.run(bench.dag(project={"install_dbt_deps": True}, select=["stg_ships"]))


SCENARIOS = (model_fails, model_fails_once, data_test_fails, dbt_ends_badly, bad_operators, packages_fail)
