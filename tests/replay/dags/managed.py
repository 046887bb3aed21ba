"""DAGs and operators in ExecutionMode.VIRTUALENV, with the fake dbt in environments that are really installed."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from cosmos_venv import ProfileConfig
from cosmos_venv.operators import virtualenv
from tests.replay.projects import START
from tests.replay.recorder import Bench

DUCKDB = {"py_requirements": ["dbt-duckdb"]}
ONE = ["stg_piers"]


def virtualenv_kept(bench: Bench) -> None:
    """One environment for all tasks of two runs."""
    dag = bench.dag(bench.virtualenv, select=["piers", *ONE], of_dag={"operator_args": DUCKDB})
    bench.run(dag, "first")
    bench.run(dag, "second")


def virtualenv_temporary(bench: Bench) -> None:
    """An environment for each task, which is gone with it."""
    _ = bench.wheels
    bench.run(bench.dag({"execution_mode": "virtualenv"}, select=ONE, of_dag={"operator_args": DUCKDB}))


def virtualenv_temporary_dir(bench: Bench) -> None:
    """``is_virtualenv_dir_temporary`` beside a directory."""
    arguments = {**DUCKDB, "is_virtualenv_dir_temporary": True}
    bench.run(bench.dag(bench.virtualenv, select=ONE, of_dag={"operator_args": arguments}))


def virtualenv_operators(bench: Bench) -> None:
    """Each virtualenv operator by itself."""
    given = _of_operators(bench)
    with DAG("operators", schedule=None, start_date=START) as dag:
        virtualenv.DbtBuildVirtualenvOperator(task_id="build", select="tag:daily", **given)
        virtualenv.DbtCloneVirtualenvOperator(task_id="clone", state=bench.harbor.path / "target", **given)
        virtualenv.DbtCompileVirtualenvOperator(task_id="compile", **given)
        virtualenv.DbtDocsVirtualenvOperator(task_id="docs", **given)
        virtualenv.DbtLSVirtualenvOperator(task_id="ls", **given)
        virtualenv.DbtRetryVirtualenvOperator(task_id="retry", state=bench.harbor.path / "target", **given)
        virtualenv.DbtRunVirtualenvOperator(task_id="run", exclude="tag:daily", **given)
        virtualenv.DbtRunOperationVirtualenvOperator(task_id="run_operation", macro_name="sign", **given)
        virtualenv.DbtSeedVirtualenvOperator(task_id="seed", **given)
        virtualenv.DbtSnapshotVirtualenvOperator(task_id="snapshot", **given)
        virtualenv.DbtSourceVirtualenvOperator(task_id="source", **given)
        virtualenv.DbtTestVirtualenvOperator(task_id="test", **given)
    bench.see(dag)
    bench.run(dag)


def _of_operators(bench: Bench) -> dict[str, Any]:
    _ = bench.wheels
    return {
        "project_dir": bench.harbor.path,
        "profile_config": ProfileConfig(**bench.profiles_yml),
        "virtualenv_dir": bench.folder / "environments",
        "install_deps": False,
        **DUCKDB,
    }


def virtualenv_two_environments(bench: Bench) -> None:
    """A node with requirements of its own runs in another environment."""
    own = {"operator_kwargs": {"py_requirements": ["dbt-postgres"]}}
    bench.harbor.model("staging/stg_crew", "select 1 as id", meta={"cosmos": own})
    bench.harbor.manifest()
    bench.run(bench.dag(bench.virtualenv, select=["stg_crew", "stg_ships"], of_dag={"operator_args": DUCKDB}))


def virtualenv_requirements_file(bench: Bench) -> None:
    """Requirements in a file, with a constraint."""
    file = bench.folder / "requirements.txt"
    file.write_text("dbt-duckdb\n-c constraints.txt\n")
    file.with_name("constraints.txt").write_text("dbt-core==1.10.0\n")
    arguments = {"py_requirements": ["-r", str(file)]}
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag={"operator_args": arguments}))


def virtualenv_dbt_ls(bench: Bench) -> None:
    """``dbt ls`` runs in the environment of the tasks, which is built when the DAG is."""
    bench.run(bench.dag(bench.virtualenv, load_method="dbt_ls", select=["stg_ships"], of_dag={"operator_args": DUCKDB}))


def virtualenv_dbt_2(bench: Bench) -> None:
    """A dbt 2, which no Python imports."""
    bench.wheels.add_dbt("2.0.0a4")
    arguments = {"py_requirements": ["dbt-core==2.0.0a4"]}
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag={"operator_args": arguments}))


def virtualenv_warm(bench: Bench) -> None:
    """dbt is forked from a process that has imported it."""
    bench.set(virtualenv_warm_dbt="require")
    bench.run(bench.dag(bench.virtualenv, select=["piers", *ONE], of_dag={"operator_args": DUCKDB}))


def virtualenv_unknown_requirement(bench: Bench) -> None:
    """No index has the package; two tries."""
    arguments = {"py_requirements": ["dbt-nothing"]}
    of_dag = {"operator_args": arguments, "default_args": {"retries": 1}}
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag=of_dag))


def virtualenv_failed_build(bench: Bench) -> None:
    """A package whose own build fails."""
    bench.wheels.add_sdist("dbt-harbor", fails_with="pg_config: command not found")
    arguments = {"py_requirements": ["dbt-duckdb", "dbt-harbor"]}
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag={"operator_args": arguments}))


def virtualenv_without_dbt(bench: Bench) -> None:
    """Requirements that bring no dbt."""
    arguments = {"py_requirements": ["pip"]}
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag={"operator_args": arguments}))


def virtualenv_no_environment(bench: Bench) -> None:
    """Tasks may not build, and nobody has built."""
    bench.set(virtualenv_build="never")
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag={"operator_args": DUCKDB}))


def virtualenv_search_path(bench: Bench) -> None:
    """The environment stands in a directory that is only read."""
    bench.run(bench.dag(bench.virtualenv, select=["stg_ships"], of_dag={"operator_args": DUCKDB}), "built")
    bench.set(virtualenv_search_path=bench.folder / "environments")
    execution = {**bench.virtualenv, "virtualenv_dir": bench.folder / "others"}
    bench.run(bench.dag(execution, dag_id="reads", select=["stg_ships"], of_dag={"operator_args": DUCKDB}))
    bench.tell("built again", (bench.folder / "others").exists())


SCENARIOS = (
    virtualenv_kept,
    virtualenv_temporary,
    virtualenv_temporary_dir,
    virtualenv_operators,
    virtualenv_two_environments,
    virtualenv_requirements_file,
    virtualenv_dbt_ls,
    virtualenv_dbt_2,
    virtualenv_warm,
    virtualenv_unknown_requirement,
    virtualenv_failed_build,
    virtualenv_without_dbt,
    virtualenv_no_environment,
    virtualenv_search_path,
)
