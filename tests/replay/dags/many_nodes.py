"""DAGs in which one dbt builds many nodes or compiles them: WATCHER, batches, AIRFLOW_ASYNC; and runs that choose."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tests.replay.recorder import Bench

FEW = ["+fct_crossings"]
DUCKDB = {"py_requirements": ["dbt-duckdb"]}


def _watcher(bench: Bench) -> dict[str, Any]:
    return {**bench.local, "execution_mode": "watcher"}


def watcher(bench: Bench) -> None:
    """One dbt builds all nodes; each has its task."""
    bench.know_tests("build")
    bench.run(bench.dag(_watcher(bench)))


def watcher_virtualenv(bench: Bench) -> None:
    """The same in an environment that is kept."""
    bench.know_tests("build", of=bench.wheels)
    execution = {**bench.virtualenv, "execution_mode": "watcher"}
    bench.run(bench.dag(execution, select=["stg_piers"], of_dag={"operator_args": DUCKDB}))


def watcher_model_fails(bench: Bench) -> None:
    """A model fails in the first try; the producer's retry builds what is not done."""
    bench.know_tests("build")
    bench.know_tests("build", nth=1, stg_piers="error")
    bench.run(bench.dag(_watcher(bench), select=FEW, of_dag={"default_args": {"retries": 1}}))


def watcher_test_fails(bench: Bench) -> None:
    """A test fails: its task fails, and what depends on the node is skipped."""
    bench.know_tests("build", failing_test="unique_stg_piers_id")
    bench.run(bench.dag(_watcher(bench), select=FEW))


def watcher_dbt_dies(bench: Bench) -> None:
    """dbt is killed after one node."""
    import signal

    bench.know_tests("build", crash=signal.SIGKILL, after="piers")
    bench.run(bench.dag(_watcher(bench), select=FEW))


def watcher_dbt_cannot_begin(bench: Bench) -> None:
    """dbt ends before it builds anything."""
    bench.fake.script("build", exit_code=2)
    bench.run(bench.dag(_watcher(bench), select=["stg_piers"]))


def watcher_shapes(bench: Bench) -> None:
    """Detached tests, tests after all, sources, arguments of the producer."""
    execution = _watcher(bench)
    bench.dag(execution, dag_id="detached", should_detach_multiple_parents_tests=True)
    bench.dag(execution, dag_id="after_all", test_behavior="after_all")
    bench.dag(execution, dag_id="without_tests", test_behavior="none")
    bench.dag(execution, dag_id="sources", source_rendering_behavior="all")
    bench.dag({**execution, "setup_operator_args": {"queue": "dbt", "retries": 3}}, dag_id="of_producer")
    bench.refused("BUILD", lambda: bench.dag(execution, dag_id="build", test_behavior="build"))
    bench.refused("CUSTOM", lambda: bench.dag(execution, dag_id="custom", load_method="custom"))


def batches_shapes(bench: Bench) -> None:
    """Each way to make batches, in LOCAL and VIRTUALENV."""
    for way in ("folder", "tag", "wave", "chain", "all"):
        bench.dag(dag_id=f"by_{way}", batch_by=way)
    bench.dag(
        dag_id="by_callable", batch_by=lambda nodes: {name: node.resource_type.value for name, node in nodes.items()}
    )
    bench.dag(bench.virtualenv, dag_id="virtualenv", batch_by="folder", of_dag={"operator_args": DUCKDB})
    bench.dag(dag_id="after_all", batch_by="folder", test_behavior="after_all")


def batches_run(bench: Bench) -> None:
    """A folder at a time, with its tests."""
    bench.know_tests("build")
    bench.run(bench.dag(batch_by="folder"))


def batches_retry(bench: Bench) -> None:
    """A node fails in the first try; the second one runs what is not done."""
    bench.know_tests("build")
    bench.know_tests("build", nth=1, fct_crossings="error")
    outcome = bench.run(bench.dag(batch_by="all", of_dag={"default_args": {"retries": 1}}))
    bench.tell("xcoms", {task_id: sorted(task.xcoms) for task_id, task in sorted(outcome.tasks.items())})


def batches_fail(bench: Bench) -> None:
    """A test fails, and what comes behind is skipped."""
    bench.know_tests("build", failing_test="unique_stg_piers_id")
    bench.run(bench.dag(batch_by="wave"))


def batches_virtualenv(bench: Bench) -> None:
    """A batch in an environment that is kept."""
    bench.know_tests("build", of=bench.wheels)
    bench.run(bench.dag(bench.virtualenv, batch_by="all", select=FEW, of_dag={"operator_args": DUCKDB}))


def async_shapes(bench: Bench) -> None:
    """The tasks of queries, in both ways to compile them, and models that cannot be queries."""
    _google(bench)
    profile = _bigquery(bench)
    execution = {"execution_mode": "airflow_async", "async_py_requirements": [], "dbt_executable_path": bench.fake.dbt}
    bench.dag(execution, dag_id="local", profile=profile)
    managed = {**execution, "async_py_requirements": ["dbt-bigquery"], "virtualenv_dir": bench.folder / "environments"}
    managed.pop("dbt_executable_path")
    bench.dag(managed, dag_id="virtualenv", profile=profile, test_behavior="after_all", select=FEW)
    bench.refused("BUILD", lambda: bench.dag(execution, dag_id="build", profile=profile, test_behavior="build"))
    bench.refused("DuckDB", lambda: bench.dag(execution, dag_id="duckdb"))
    bench.harbor.model("marts/growing", "select 1 as id", materialized="incremental")
    bench.harbor.manifest()
    bench.refused("an incremental model", lambda: bench.dag(execution, dag_id="incremental", profile=profile))


def async_tasks(bench: Bench) -> None:
    """The tasks around the queries run dbt; a query itself needs Google's provider, which is not here."""
    _google(bench)
    compiled = bench.harbor.manifest_data()
    for node in compiled["nodes"].values():
        node["compiled_code"] = "select 1 as id"
    bench.fake.script("compile", artifacts={"manifest.json": compiled})
    execution = {"execution_mode": "airflow_async", "async_py_requirements": [], "dbt_executable_path": bench.fake.dbt}
    select = ["piers", "stg_piers", "piers_history"]
    bench.run(bench.dag({**execution, "invocation_mode": "subprocess"}, profile=_bigquery(bench), select=select))


def _google(bench: Bench) -> None:
    """Google's provider and its client library, as far as a DAG looks whether they are there."""
    for name in ("airflow.providers.google", "google", "google.cloud", "google.cloud.bigquery"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        bench.patch.setitem(sys.modules, name, module)


def _bigquery(bench: Bench) -> dict[str, Any]:
    output = {"type": "bigquery", "method": "oauth", "project": "shop", "dataset": "shop", "threads": 1}
    file = bench.folder / "profiles.yml"
    file.write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": output}}}))
    return {"profile_name": "harbor", "target_name": "dev", "profiles_yml_filepath": file}


def run_params_default(bench: Bench) -> None:
    """A run that says nothing runs all."""
    bench.run(bench.dag(select=FEW, of_dag={"run_params": True}))


def run_params_chosen(bench: Bench) -> None:
    """A run that chooses a node, and how it runs."""
    bench.know_tests("ls")
    conf = {"select": "stg_piers+", "exclude": "report", "full_refresh": True, "vars": {"port": "west"}}
    bench.run(bench.dag(of_dag={"run_params": True}), conf=conf)


def run_params_refused(bench: Bench) -> None:
    """Selections that choose nothing, or hold a flag."""
    bench.run(bench.dag(select=["stg_piers"], of_dag={"run_params": True}), "nothing", conf={"select": "tag:none"})
    dag = bench.dag(dag_id="flag", select=["stg_piers"], of_dag={"run_params": True})
    bench.run(dag, conf={"select": "--profiles-dir /tmp"})


def run_params_batches(bench: Bench) -> None:
    """A run chooses some nodes of a batch; params have names of their own."""
    bench.know_tests("ls")
    bench.know_tests("build")
    names = {"select": "nodes", "vars": None}
    bench.run(bench.dag(batch_by="folder", of_dag={"run_params": names}), conf={"nodes": "stg_piers"})


SCENARIOS = (
    watcher,
    watcher_virtualenv,
    watcher_model_fails,
    watcher_test_fails,
    watcher_dbt_dies,
    watcher_dbt_cannot_begin,
    watcher_shapes,
    batches_shapes,
    batches_run,
    batches_retry,
    batches_fail,
    batches_virtualenv,
    async_shapes,
    async_tasks,
    run_params_default,
    run_params_chosen,
    run_params_refused,
    run_params_batches,
)
