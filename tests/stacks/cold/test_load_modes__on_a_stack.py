"""Each way of loading in each execution mode, in an Airflow as people deploy it, from cold caches to built tables.

On Airflow 3.3 some tasks run on a Celery worker, the others beside the scheduler.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.processes.inherited_environment import inherited_environment
from pytest_cosmos_venv.dags.dag_files import processor_variables
from tests.installed import needs_dbt, needs_dbt_wheels, needs_providers
from tests.stacks.cold import ordinary_dag
from tests.stacks.cold.dag_files import ASYNC_CASES, CASES, Case, DagFiles
from tests.stacks.cold.ordinary_dag import OrdinaryDag
from tests.stacks.stack import Kind, Stack, on

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800, func_only=True), needs_dbt, needs_dbt_wheels]

LONGEST_WAIT = 900.0
# There is no release of Redis as a wheel for Python 3.13.
EXECUTORS = "LocalExecutor" if sys.version_info >= (3, 13) else "LocalExecutor,CeleryExecutor"
LINES = (
    Kind(name="3.3-all-servers", environment="celery3", executor=EXECUTORS, is_cold=True, is_proof=True),
    Kind(name="2.11-all-servers", environment="celery2", is_cold=True, is_proof=True),
    Kind(name="3.0-all-servers", environment="airflow30", is_cold=True),
    Kind(name="3.1-all-servers", environment="airflow31", is_cold=True),
    Kind(name="3.2-all-servers", environment="airflow32", is_cold=True),
    Kind(name="3.4-all-servers", environment="airflow34", is_cold=True),
)
WITH_GOOGLE = Kind(name="3.3-with-google", environment="providers", is_cold=True)
AT_WORK = re.compile(r"has been running .* the next parse will find its answer|is being built .* the next parse will")
"""How a parse ends while its dbt or its environment is not ready yet."""
# What Airflow sets and a child keeps: what user code may read, Kerberos tickets, and the DAG processor's log without
# colours (2.11 and 3.0). The interval is given to the DAG processor alone.
KEPT = re.compile(
    r"AIRFLOW_CTX_\w+|KRB5\w+|AIRFLOW__LOGGING__COLORED_CONSOLE_LOG|AIRFLOW__\w+__MIN_FILE_PROCESS_INTERVAL"
)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """DAG files that a stack is to load, and what these tell.

    :param ordinary: a DAG without dbt.
    """

    stack: Stack
    cases: tuple[Case, ...]
    files: DagFiles
    ordinary: OrdinaryDag

    @property
    def names(self) -> set[str]:
        """The ids of all DAGs."""
        return {case.name for case in self.cases} | {ordinary_dag.DAG_ID}

    def wait_for_imports(self) -> None:
        """Start the stack's DAG processor and end it when it has imported each DAG file."""
        with self.stack.dag_processor(seconds_between_parses=20):
            self.stack.use_deadline(LONGEST_WAIT)
            self.stack.wait_until(self._are_imported_or_refused, "each DAG file is imported")

        assert refused(self.files) == {}

    def _are_imported_or_refused(self) -> bool:
        known = {dag_id for (dag_id,) in self.stack.ask("select dag_id from serialized_dag")}
        return self.names <= known or bool(refused(self.files))


def prepare(stack: Stack) -> Loaded:
    cases = ASYNC_CASES if stack.kind is WITH_GOOGLE else CASES
    dags, versioned = stack.home / "dags", None if stack.kind.is_2 else stack.folder / "bundle"
    if versioned is not None:
        versioned.mkdir()
        stack.variables["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = bundles(versioned)
    stack.variables["AIRFLOW__CORE__PARALLELISM"] = "2"  # each task takes a core
    has_celery = stack.kind.has_celery
    dbt = stack.new_dbt("listing").dbt
    files = DagFiles(folder=stack.folder, dags=dags, versioned=versioned, fake_dbt=dbt, has_celery=has_celery)
    files.write(cases)
    ordinary = OrdinaryDag(folder=stack.folder / "ordinary")
    ordinary.write(dags, rendered=dags / "local-dbt_ls.py")
    return Loaded(stack=stack, cases=cases, files=files, ordinary=ordinary)


def bundles(versioned: Path) -> str:
    """The bundles of Airflow 3: the folder of DAG files, and one that it keeps versions of."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    copied = "tests.stacks.cold.copied_bundle.CopiedBundle"
    return json.dumps(
        [
            {"name": "dags-folder", "classpath": local, "kwargs": {}},
            {"name": "copied", "classpath": copied, "kwargs": {"origin": str(versioned), "refresh_interval": 5}},
        ]
    )


@on(*LINES)
def test_each_dag_appears_and_runs_to_its_end(scene: Loaded) -> None:
    """The first import after the answer of dbt succeeds: each failed import says that dbt or a build is at work.

    The caches of the tasks are not those of the DAG processor, so a task finds no answer that dbt has given to a parse.
    """
    stack, files, ordinary = scene.stack, scene.files, scene.ordinary
    given = {"processor": stack.given("dag-processor")}  # the port of the API server is not known yet

    scene.wait_for_imports()
    with stack.servers():
        given |= dict.fromkeys(("task-import", "task"), stack.given("scheduler"))
        stack.trigger_each(sorted(scene.names), "by-hand")
        stack.use_deadline(LONGEST_WAIT)
        stack.wait_until(lambda: have_ended(stack, scene.names), "each run ends")
        assert {name: stack.states(name) for name in failed_runs(stack)} == {}, stack.logs()

    assert {case.name: files.tables(case) for case in CASES} == {case.name: case.tables for case in CASES}
    assert {case.name: each for case in CASES for each in files.notes(case) if each.task and each.error} == {}
    on_celery = {case.name for case in CASES if case.is_on_celery and stack.kind.has_celery}
    assert ran_on_celery(stack) == on_celery
    # Beside each answer that came by a Variable stands a mark that it is shared.
    kept = [file for file in stack.cache("celery").glob("dbt-ls-v1/*.answer") if "-shared" not in file.name]
    assert len(kept) == len(on_celery), "its worker has asked dbt itself"
    assert {
        where: unexpected(dict(ordinary.environment(where)), environment_of_a_child(stack, variables))
        for where, variables in given.items()
    } == {"processor": {}, "task-import": {}, "task": {}}
    changed = dict(ordinary.environment("processor").items() - given["processor"].items())
    assert without_kept(changed) == processor_variables(stack.kind.line)


@needs_providers
@on(WITH_GOOGLE)
def test_each_dag_of_airflow_async_appears(scene: Loaded) -> None:
    """Its runs, which need a BigQuery, are those of tests/stacks/test_airflow_async__on_a_stack.py."""
    scene.wait_for_imports()


def refused(files: DagFiles) -> dict[str, str]:
    """The errors of imports that no later import would put right, by name of the case."""
    cases = (*CASES, *ASYNC_CASES)
    return {case.name: each.error for case in cases for each in files.notes(case) if is_final(each.error)}


def is_final(error: str) -> bool:
    """Whether an error of an import stays. An import that the end of the DAG processor breaks off is a SystemExit."""
    return bool(error) and not error.startswith("SystemExit") and not AT_WORK.search(error)


def run_states(stack: Stack) -> dict[str, str]:
    """The states of the runs, one of each DAG, by DAG id."""
    return dict(stack.ask("select dag_id, state from dag_run"))


def have_ended(stack: Stack, names: set[str]) -> bool:
    states = run_states(stack)
    return names <= states.keys() and all(state in ("success", "failed") for state in states.values())


def failed_runs(stack: Stack) -> list[str]:
    return sorted(dag_id for dag_id, state in run_states(stack).items() if state != "success")


def ran_on_celery(stack: Stack) -> set[str]:
    """The DAGs whose tasks all ran on Celery."""
    on_celery = "coalesce(executor, '') = 'CeleryExecutor'"
    rows = stack.ask(f"select dag_id from task_instance group by dag_id having every({on_celery})")  # noqa: S608 - ours
    return {dag_id for (dag_id,) in rows}


def environment_of_a_child(stack: Stack, given: dict[str, str]) -> dict[str, str]:
    """The environment that a child of a server's processes must have: its own, on Airflow 3 without the database.

    :param given: the environment of the server.
    """
    database = set() if stack.kind.is_2 else {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}
    return {name: value for name, value in given.items() if name not in database}


def unexpected(environment: dict[str, str], expected: dict[str, str]) -> dict[str, str | None]:
    """The variables of a child of a process of Airflow that differ from what is expected.

    :param environment: that of the process.
    :param expected: that of the child.
    """
    left = without_kept(inherited_environment(environment))
    return {name: left.get(name) for name in expected.keys() | left.keys() if expected.get(name) != left.get(name)}


def without_kept(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not KEPT.fullmatch(name)}
