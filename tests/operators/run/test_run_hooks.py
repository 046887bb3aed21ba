"""The hooks ``on-run-start`` and ``on-run-end``, which run once in a run of a DAG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import BatchBy, ExecutionMode, LoadMode
from pytest_cosmos_venv import CosmosAirflow, CosmosDbt, DagOutcome, FakeVenv
from tests.engines import DRIVER
from tests.fake_dags import CHAIN, START, fake_dag, hook_results, noting_dbt, states, write_models
from tests.installed import ENVIRONMENTS, is_missing

MODES = [
    pytest.param({}, id="local"),
    pytest.param({"batch_by": BatchBy.ALL}, id="batches"),
    pytest.param({"mode": ExecutionMode.WATCHER}, id="watcher"),
]
FIRST, LAST = "dbt_on_run_start", "dbt_on_run_end"
HOOKS = """
on-run-start: "create table begun (id int)"
on-run-end: ["{{ tell(results) }}", "{% if schemas %}select 2{% endif %}"]
"""


@pytest.fixture
def project(dbt_project: Path) -> Path:
    """Three models of which each reads the one before, with hooks."""
    with (dbt_project / "dbt_project.yml").open("a") as file:
        file.write(HOOKS)
    return write_models(dbt_project, CHAIN)


def prepared(dbt: FakeVenv, project: Path, **given: Any) -> DbtDag:
    return fake_dag(dbt, project, program=noting_dbt(dbt, project.parent), run_hooks_once=True, **given)


def run(airflow: CosmosAirflow, dbt: FakeVenv, project: Path, **given: Any) -> DagOutcome:
    return airflow.run(prepared(dbt, project, **given), raise_on_failure=False)


def results(project: Path) -> dict[str, str]:
    return hook_results(project.parent)


@pytest.mark.parametrize("how", MODES)
def test_two_tasks_run_the_hooks_and_no_other_task_does(
    how: dict[str, Any], cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    outcome = run(cosmos_airflow, cosmos_fake_venv, project, **how)

    assert outcome.succeeded
    assert next(iter(outcome.tasks)) == FIRST
    assert (project.parent / "ran").read_text().split() == [FIRST, LAST]
    # dbt ls lists the project as it is; none of the tasks has found a hook.
    assert (project.parent / "found").read_text().split() == ["ls"]
    assert results(project) == {"staging": "success", "mart": "success", "report": "success"}


def test_a_managed_environment_runs_the_hooks(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, cosmos_dbt: CosmosDbt, project: Path
) -> None:
    environment = {"py_requirements": ["dbt-core==1.10.0"], "pip_install_options": cosmos_dbt.pip_install_options}
    kept = ExecutionConfig(ExecutionMode.VIRTUALENV, virtualenv_dir=project.parent / "kept")
    given = {"execution_config": kept, "operator_args": environment}

    cosmos_airflow.run(fake_dag(cosmos_fake_venv, project, run_hooks_once=True, dag=given))

    assert [each.command for each in cosmos_dbt.calls] == ["run-operation", "run", "run", "run", "run-operation"]
    assert [cosmos_dbt.calls[number].arguments[1] for number in (0, -1)] == [FIRST, LAST]


def test_the_last_hooks_run_after_a_failure_and_know_it(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script("run", nodes={"mart": "error"})

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, run_summary=True)

    assert (outcome.state, outcome.tasks[LAST].state) == ("failed", "success")
    assert results(project) == {"staging": "success", "mart": "error", "report": "skipped"}


def test_no_model_runs_behind_a_broken_hook(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    (project.parent / f"broken_{FIRST}").touch()

    outcome = run(cosmos_airflow, cosmos_fake_venv, project)

    assert not outcome.succeeded
    assert states(outcome)[FIRST] == "failed"
    assert {states(outcome)[each] for each in CHAIN} == {"upstream_failed"}
    assert (project.parent / "ran").read_text().split() == [FIRST]


@pytest.mark.parametrize("how", MODES)
def test_a_run_with_a_broken_last_hook_fails(
    how: dict[str, Any], cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    (project.parent / f"broken_{LAST}").touch()

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, **how)

    assert outcome.state == "failed"
    broken = {each: state for each, state in states(outcome).items() if state != "success"}
    assert broken == {LAST: "failed", "dbt_on_run_end_done": "upstream_failed"}


def test_a_retry_of_the_last_hooks_has_the_same_results(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    (project.parent / f"broken_once_{LAST}").mkdir()

    outcome = run(cosmos_airflow, cosmos_fake_venv, project, retries=1)

    assert outcome.succeeded
    assert (project.parent / "ran").read_text().split() == [FIRST, LAST, LAST]
    assert results(project) == dict.fromkeys(CHAIN, "success")


@pytest.mark.parametrize("render", [{}, {"batch_by": BatchBy.ALL}], ids=["tasks", "batch"])
def test_a_run_that_chooses_nodes_runs_the_hooks_with_results_of_no_other_node(
    render: dict[str, Any], cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    dag = prepared(cosmos_fake_venv, project, dag={"run_params": True}, **render)

    outcome = cosmos_airflow.run(dag, conf={"select": "mart"})

    assert outcome.succeeded
    assert (project.parent / "ran").read_text().split() == [FIRST, LAST]
    assert (project.parent / "found").read_text().split() == ["ls"]
    assert results(project) == {"mart": "success"}


def test_a_hook_that_is_no_text_is_refused(
    cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    file = project / "dbt_project.yml"
    file.write_text(file.read_text().replace('"create table begun (id int)"', "{sql: select 1}"))

    outcome = run(cosmos_airflow, cosmos_fake_venv, project)

    assert "on-run-start={'sql': 'select 1'} in dbt_project.yml is neither" in str(outcome.tasks[FIRST].exception)


REAL = """
name: shop
profile: shop
on-run-start:
  - "create table if not exists {{ target.schema }}.told (hook text, said text, status text)"
  - "insert into {{ target.schema }}.told values ('start', '', '')"
on-run-end:
  - "{{ tell(results) }}"
  - "insert into {{ target.schema }}.told values ('schemas', '{{ schemas | join }}', '{{ database_schemas | length }}')"
  - "{% if dbt_version.startswith('1.') %}{{ tell_of_context() }}{% endif %}"
"""
TELL = """
{% macro tell(results) %}
{% for each in results %}
insert into {{ target.schema }}.told values ('result', '{{ each.node.name }}', '{{ each.status }}');
{% endfor %}
{% endmacro %}
{% macro tell_of_context() %}
insert into {{ target.schema }}.told values ('context', '{{ results | length }}', '')
{% endmacro %}
"""
COLD = "Unable to do partial parsing"
SILENT = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
RELEASES = {"dbt110": SILENT, "dbt111": SILENT, "dbt2": {**SILENT, "LD_LIBRARY_PATH": str(DRIVER.parent)}}


@pytest.mark.long
@pytest.mark.parametrize("release", RELEASES)
def test_a_real_dbt_runs_the_hooks_once_a_run(release: str, cosmos_airflow: CosmosAirflow, tmp_path: Path) -> None:
    dbt = ENVIRONMENTS / release / "bin" / "dbt"
    if is_missing(dbt):
        pytest.skip(f"no dbt at .cache/envs/{release}: make test makes it")
    project, database = tmp_path / "shop", tmp_path / "shop.duckdb"
    files = {"a": "select 1 as id", "b": "select nothing from {{ ref('a') }}", "c": "select * from {{ ref('b') }}"}
    for name, text in {**{f"models/{each}.sql": sql for each, sql in files.items()}, "macros/tell.sql": TELL}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    (project / "dbt_project.yml").write_text(REAL)
    profile = f"shop: {{target: dev, outputs: {{dev: {{type: duckdb, path: '{database}', schema: marts}}}}}}\n"
    (project / "profiles.yml").write_text(profile)

    def outcome() -> DagOutcome:
        programs: dict[str, Any] = {"dbt_executable_path": dbt, "invocation_mode": "subprocess"}
        dag = DbtDag(
            dag_id="shop",
            schedule=None,
            start_date=START,
            project_config=ProjectConfig(project, install_dbt_deps=False, env_vars=RELEASES[release]),
            profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=project / "profiles.yml"),
            execution_config=ExecutionConfig(ExecutionMode.LOCAL, **programs),
            render_config=RenderConfig(load_method=LoadMode.DBT_LS, run_hooks_once=True, **programs),
        )
        return cosmos_airflow.run(dag, raise_on_failure=False)

    def told() -> list[tuple[str, str, str]]:
        with duckdb.connect(str(database)) as connection:
            return sorted(connection.execute("select * from marts.told").fetchall())

    first = outcome()
    # All of it behind a failure, in a schema that the task has made.
    once = [
        *([] if release == "dbt2" else [("context", "3", "")]),
        ("result", "a", "success"),
        ("result", "b", "error"),
        ("result", "c", "skipped"),
        ("schemas", "marts", "1"),
        ("start", "", ""),
    ]
    assert (first.state, first.tasks[LAST].state) == ("failed", "success")
    assert told() == once

    second = outcome()

    assert told() == sorted([*once, *once])
    parsed = [each for run in (first, second) for each, task in run.tasks.items() if COLD in task.log]
    assert parsed == ([] if release == "dbt2" else [FIRST])
