"""DAGs and operators in ExecutionMode.LOCAL, with the fake dbt as a process or a runner in the task's process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from cosmos_venv import DbtTaskGroup, InvocationMode, ProfileConfig, profiles
from cosmos_venv.operators import local
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping, SnowflakeUserPasswordProfileMapping
from tests.dbt_packages import add_package
from tests.replay.projects import START
from tests.replay.recorder import Bench

SMALL = ["piers", "stg_piers"]
CONNECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "PostgresUserPasswordProfileMapping": ("postgres", {"sslmode": "require"}),
    "RedshiftUserPasswordProfileMapping": ("redshift", {}),
    "SnowflakeUserPasswordProfileMapping": (
        "snowflake",
        {"account": "acme", "database": "sales", "warehouse": "small", "role": "loader"},
    ),
    "GoogleCloudServiceAccountDictProfileMapping": (
        "google_cloud_platform",
        {
            "project": "acme",
            "keyfile_dict": '{"type": "service_account", "private_key_id": "1", "private_key": "s3cret"}',
        },
    ),
    "DatabricksTokenProfileMapping": ("databricks", {"http_path": "/sql/1", "token": "s3cret"}),
    "DuckDBUserPasswordProfileMapping": ("duckdb", {}),
    "TrinoLDAPProfileMapping": ("trino", {}),
    "ClickhouseUserPasswordProfileMapping": ("generic", {"clickhouse": "True"}),
}
RUNNER = '''
"""A dbt that can be called, and writes down with what."""
import os, shlex
from pathlib import Path
from types import SimpleNamespace

class dbtRunner:
    def __init__(self, callbacks=None):
        pass

    def invoke(self, args):
        with Path(__file__).with_name("calls").open("a") as file:
            file.write(f"runner in {os.getcwd()}: {shlex.join(args)}\\n")
        error = ValueError("no such table") if "report" in " ".join(args) else None
        return SimpleNamespace(success=error is None, exception=error, result=None)
'''


def local_process(bench: Bench) -> None:
    """Every kind of node, each dbt a process of its own."""
    bench.run(bench.dag())


def local_runner(bench: Bench) -> None:
    """dbt is called within the task's own process; one of its commands fails."""
    with _runner(bench):
        dag = bench.dag({"execution_mode": "local", "invocation_mode": "dbt_runner"}, select=["+report", "-piers"])
        bench.run(dag)


@contextmanager
def _runner(bench: Bench) -> Iterator[None]:
    package = bench.folder / "runner" / "dbt"
    (package / "cli").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli" / "__init__.py").touch()
    (package / "cli" / "main.py").write_text(RUNNER)
    calls = package / "cli" / "calls"
    bench.further_calls = lambda: calls.read_text().splitlines() if calls.exists() else []
    sys.path.insert(0, str(package.parent))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(package.parent))
        for name in [name for name in sys.modules if name.partition(".")[0] == "dbt"]:
            del sys.modules[name]


def local_dbt_2(bench: Bench) -> None:
    """A dbt 2 as a process."""
    dbt = bench.another_fake(dbt_version="2.0.0a4").dbt
    bench.run(bench.dag({**bench.local, "dbt_executable_path": dbt}, select=["stg_piers"]))


def local_task_groups(bench: Bench) -> None:
    """Two groups of one project between other tasks; the second one without a prefix."""
    with DAG("groups", schedule=None, start_date=START) as dag:
        first, last = EmptyOperator(task_id="first"), EmptyOperator(task_id="last")
        staging = DbtTaskGroup("staging", **bench.configs(select=["stg_piers"]))
        marts = DbtTaskGroup("marts", prefix_group_id=False, **bench.configs(select=["report"]))
        first >> staging >> marts >> last
    bench.see(dag)
    bench.run(dag)


def local_mapped_group(bench: Bench) -> None:
    """A group that runs once for each value."""
    from airflow.sdk import task_group

    with DAG("mapped", schedule=None, start_date=START) as dag:

        @task_group
        def per_region(region: str) -> None:
            DbtTaskGroup("harbor", operator_args={"vars": {"region": region}}, **bench.configs(select=["report"]))

        per_region.expand(region=["north", "south"])
    bench.see(dag)
    bench.run(dag)


def local_operators(bench: Bench) -> None:
    """Each local operator by itself."""
    given = _of_operators(bench)
    with DAG("operators", schedule=None, start_date=START) as dag:
        local.DbtBuildLocalOperator(task_id="build", select="tag:daily", full_refresh=True, **given)
        local.DbtCloneLocalOperator(task_id="clone", state=bench.harbor.path / "target", **given)
        local.DbtCompileLocalOperator(task_id="compile", models="stg_piers", **given)
        local.DbtDocsLocalOperator(task_id="docs", **given)
        local.DbtLSLocalOperator(task_id="ls", select=["tag:daily", "report"], exclude="stg_piers", **given)
        local.DbtRetryLocalOperator(task_id="retry", state=bench.harbor.path / "target", **given)
        local.DbtRunLocalOperator(task_id="run", selector="nightly", **given)
        local.DbtRunOperationLocalOperator(task_id="run_operation", macro_name="sign", args={"by": "me"}, **given)
        local.DbtSeedLocalOperator(task_id="seed", full_refresh=True, **given)
        local.DbtSnapshotLocalOperator(task_id="snapshot", **given)
        local.DbtSourceLocalOperator(task_id="source", select="source:raw", **given)
        local.DbtTestLocalOperator(task_id="test", indirect_selection="cautious", **given)
    bench.see(dag)
    bench.run(dag)


def _of_operators(bench: Bench) -> dict[str, Any]:
    return {
        "project_dir": bench.harbor.path,
        "profile_config": ProfileConfig(**bench.profiles_yml),
        "dbt_executable_path": bench.fake.dbt,
        "invocation_mode": InvocationMode.SUBPROCESS,
        "install_deps": False,
    }


def local_mapped_operator(bench: Bench) -> None:
    """One operator for each of several selections."""
    with DAG("mapped_operator", schedule=None, start_date=START) as dag:
        partial = local.DbtRunLocalOperator.partial(task_id="run", **_of_operators(bench))
        partial.expand(select=["stg_piers", "report"])
    bench.see(dag)
    bench.run(dag)


def local_flags(bench: Bench) -> None:
    """Arguments that become words of dbt's command line, and its environment."""
    arguments = {
        "vars": {"port": "south", "day": "{{ ds }}"},
        "full_refresh": True,
        "fail_fast": True,
        "quiet": True,
        "warn_error": True,
        "no_version_check": True,
        "cache_selected_only": True,
        "dbt_cmd_global_flags": ["--no-use-colors"],
        "dbt_cmd_flags": ["--threads", "2"],
        "env": {"PIER": "{{ task.task_id }}"},
        "append_env": False,
    }
    bench.run(bench.dag(select=SMALL, of_dag={"operator_args": arguments}))


def local_refused_argument(bench: Bench) -> None:
    """Arguments that no operator takes, or that have another type."""
    bench.refused("a misspelt argument", lambda: bench.dag(of_dag={"operator_args": {"full_refesh": True}}))
    bench.refused("a mode that is not there", lambda: bench.dag({"execution_mode": "kubernetes"}))
    bench.refused("an empty selection", lambda: bench.dag(select=["tag:none"]))
    bench.refused("both profiles", lambda: bench.dag(profile={**bench.profiles_yml, "profile_mapping": _postgres()}))


def _postgres(**given: Any) -> PostgresUserPasswordProfileMapping:
    return PostgresUserPasswordProfileMapping("warehouse", {"schema": "marts", **given})


def local_profile_mapping(bench: Bench) -> None:
    """A profile from an Airflow connection, whose password is in the environment alone."""
    connections = bench.fixture("cosmos_airflow").connections
    connections.add("warehouse", conn_type="postgres", host="db", login="me", password="s3cret", schema="harbor")
    profile = {"profile_name": "harbor", "target_name": "prod", "profile_mapping": _postgres(threads=2)}
    bench.run(bench.dag(profile=profile, select=SMALL))


def profile_mappings(bench: Bench) -> None:
    """The profile that each mapping makes of a connection, and the variables that hold its secrets."""
    connections = bench.fixture("cosmos_airflow").connections
    login: dict[str, Any] = {"host": "db", "login": "me", "password": "s3cret", "schema": "harbor"}
    for name, (conn_type, extra) in CONNECTIONS.items():
        connections.add(name, conn_type=conn_type, extra=extra, **login)
        given = {"schema": "marts", "dataset": "marts", "catalog": "hive"}
        mapping = getattr(profiles, name)(name, given)
        bench.tell(name, {"profile": mapping.profile, "variables": sorted(mapping.env_vars)})


def local_missing_connection(bench: Bench) -> None:
    """A profile from a connection that is not there."""
    mapping = SnowflakeUserPasswordProfileMapping("no_such_connection")
    profile = {"profile_name": "harbor", "target_name": "prod", "profile_mapping": mapping}
    bench.run(bench.dag(profile=profile, select=["stg_piers"]))


def local_variables_of_project(bench: Bench) -> None:
    """Variables and environment variables of the project, some of them templates."""
    project = {"dbt_vars": {"run": "{{ run_id }}", "port": "east"}, "env_vars": {"PIER": "{{ ds }}"}}
    bench.run(bench.dag(project={**project, "partial_parse": False}, select=["stg_piers"]))


def local_packages(bench: Bench) -> None:
    """A project with packages: ``dbt deps`` runs once for all tasks."""
    package = add_package(bench.harbor, "tools")
    package.model("tool", "select 1 as id")
    bench.harbor.manifest()
    bench.run(bench.dag(project={"install_dbt_deps": True}, select=[*SMALL, "tool"]))


def local_compiled_sql(bench: Bench) -> None:
    """What is pushed besides: compiled SQL, rows of results, a callback's call."""
    called: list[str] = []
    arguments = {
        "should_store_compiled_sql": True,
        "push_run_results_to_xcom": True,
        "callback": lambda folder, **_: called.append(type(folder).__name__),
    }
    outcome = bench.run(bench.dag(select=["stg_piers"], of_dag={"operator_args": arguments}))
    bench.tell("callbacks", called)
    bench.tell("xcoms", {task_id: sorted(task.xcoms) for task_id, task in sorted(outcome.tasks.items())})


def local_last_success(bench: Bench) -> None:
    """``state="last_success"``: nothing to compare with in the first run, its artifacts in the second."""
    with DAG("last_success", schedule=None, start_date=START) as dag:
        local.DbtBuildLocalOperator(
            task_id="build", select="state:modified+", state="last_success", **_of_operators(bench)
        )
    bench.see(dag)
    bench.run(dag, "first")
    bench.run(dag, "second")


def local_warm(bench: Bench) -> None:
    """dbt is forked from a process that has imported it."""
    bench.set(local_warm_dbt="require")
    bench.run(bench.dag(select=SMALL))


SCENARIOS = (
    local_process,
    local_runner,
    local_dbt_2,
    local_task_groups,
    local_mapped_group,
    local_operators,
    local_mapped_operator,
    local_flags,
    local_refused_argument,
    local_profile_mapping,
    profile_mappings,
    local_missing_connection,
    local_variables_of_project,
    local_packages,
    local_compiled_sql,
    local_last_success,
    local_warm,
)
