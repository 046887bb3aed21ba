"""Each way of loading in each execution mode, in an Airflow as people deploy it, from cold caches to built tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cosmos_venv.processes.inherited_environment import inherited_environment
from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.dags.dag_files import processor_variables
from tests.deployed import ordinary_dag
from tests.deployed.dag_files import ASYNC_CASES, CASES, DagFiles
from tests.deployed.ordinary_dag import OrdinaryDag
from tests.deployed.stack import EACH_LINE, Line, Stack, deployed
from tests.installed import needs_dbt, needs_dbt_wheels, needs_providers
from tests.postgres import Postgres

pytestmark = [pytest.mark.long, needs_dbt, needs_dbt_wheels]

AT_WORK = re.compile(r"has been running .* the next parse will find its answer|is being built .* the next parse will")
"""How a parse ends while its dbt or its environment is not ready yet."""
# What Airflow sets and a child keeps: what user code may read, Kerberos tickets, and the DAG processor's log without
# colours (2.11 and 3.0). The interval is given to the DAG processor alone.
KEPT = re.compile(
    r"AIRFLOW_CTX_\w+|KRB5\w+|AIRFLOW__LOGGING__COLORED_CONSOLE_LOG|AIRFLOW__\w+__MIN_FILE_PROCESS_INTERVAL"
)


WITH_GOOGLE = Line(name="3.3", environment="providers")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("line", EACH_LINE)
def test_each_dag_appears_and_runs_to_its_end(
    line: Line, tmp_path: Path, postgres: Postgres, cosmos_fake_venv: FakeVenv
) -> None:
    """The first import after the answer of dbt succeeds: each failed import says that dbt or a build is at work.

    The caches of the tasks are not those of the DAG processor, so a task finds no answer that dbt has given to a parse.
    """
    with deployed(line, tmp_path, postgres) as stack:
        versioned = None if line.is_2 else stack.bundle
        files = DagFiles(folder=tmp_path, dags=stack.dags, versioned=versioned, fake_dbt=cosmos_fake_venv.dbt)
        files.write(CASES)
        ordinary = OrdinaryDag(folder=tmp_path / "ordinary")
        ordinary.write(stack.dags, rendered=stack.dags / "local-dbt_ls.py")
        names = {case.name for case in CASES} | {ordinary_dag.DAG_ID}

        with stack.running("dag-processor"):
            stack.wait_until(lambda: names <= stack.dag_ids() or bool(refused(files)), "each DAG file is imported")
            assert refused(files) == {}
        with stack.servers():
            stack.trigger(sorted(names))
            stack.wait_until(lambda: have_ended(stack, names), "each run ends")
            assert {name: stack.task_states(name) for name in failed_runs(stack)} == {}, stack.logs()

        assert {case.name: files.tables(case) for case in CASES} == {case.name: case.tables for case in CASES}
        assert {case.name: each for case in CASES for each in files.notes(case) if each.task and each.error} == {}
        assert {
            where: unexpected(dict(ordinary.environment(where)), environment_of_a_child(stack, server))
            for where, server in {"processor": "dag-processor", "task-import": "scheduler", "task": "scheduler"}.items()
        } == {"processor": {}, "task-import": {}, "task": {}}
        changed = dict(ordinary.environment("processor").items() - stack.given("dag-processor").items())
        assert without_kept(changed) == processor_variables(line.name)


@needs_providers
@pytest.mark.timeout(1800)
def test_each_dag_of_airflow_async_appears(tmp_path: Path, postgres: Postgres, cosmos_fake_venv: FakeVenv) -> None:
    """Its runs, which need a BigQuery, are those of tests/stacks/test_airflow_async__on_a_stack.py."""
    with deployed(WITH_GOOGLE, tmp_path, postgres) as stack:
        files = DagFiles(folder=tmp_path, dags=stack.dags, versioned=None, fake_dbt=cosmos_fake_venv.dbt)
        files.write(ASYNC_CASES)
        names = {case.name for case in ASYNC_CASES}

        with stack.running("dag-processor"):
            stack.wait_until(lambda: names <= stack.dag_ids() or bool(refused(files)), "each DAG file is imported")

        assert refused(files) == {}


def refused(files: DagFiles) -> dict[str, str]:
    """The errors of imports that no later import would put right, by name of the case."""
    cases = (*CASES, *ASYNC_CASES)
    return {case.name: each.error for case in cases for each in files.notes(case) if is_final(each.error)}


def is_final(error: str) -> bool:
    return bool(error) and not AT_WORK.search(error)


def have_ended(stack: Stack, names: set[str]) -> bool:
    states = stack.run_states()
    return names <= states.keys() and all(state in ("success", "failed") for state in states.values())


def failed_runs(stack: Stack) -> list[str]:
    return sorted(dag_id for dag_id, state in stack.run_states().items() if state != "success")


def environment_of_a_child(stack: Stack, server: str) -> dict[str, str]:
    """The environment that a child of a server's processes must have: its own, on Airflow 3 without the database."""
    given = stack.given(server)
    if not stack.line.is_2:
        del given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    return given


def unexpected(environment: dict[str, str], expected: dict[str, str]) -> dict[str, str | None]:
    """The variables of a child of a process of Airflow that differ from what is expected.

    :param environment: that of the process.
    :param expected: that of the child.
    """
    left = without_kept(inherited_environment(environment))
    return {name: left.get(name) for name in expected.keys() | left.keys() if expected.get(name) != left.get(name)}


def without_kept(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not KEPT.fullmatch(name)}
