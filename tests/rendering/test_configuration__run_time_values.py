"""Variables that only a running task knows: those of another task, and templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import task

from cosmos_venv import DbtSeedLocalOperator, DbtTaskGroup, ExecutionConfig, LoadMode, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG
from cosmos_venv.exceptions import CosmosValueError
from pytest_cosmos_venv import CosmosAirflow, DbtCall, FakeVenv
from tests.kit import harbor_profile, operator_arguments
from tests.rendering.recorded_project import START

TASKS = {"dbt.mart_run", "dbt.piers_seed", "dbt.staging_run"}


@task
def tide() -> dict[str, Any]:
    return {"day": "Monday", "port": "North"}


def dag_of(project: Path, dbt: Path, *, is_whole: bool, **operator_args: Any) -> DAG:
    with DAG("harbor", schedule=None, start_date=START) as dag:
        given: Any = tide()
        variables = {"day": given["day"], "run": '{"of": "{{- run_id }}"}', "ports": [given["port"]], "n": 3}
        DbtTaskGroup(
            "dbt",
            project_config=ProjectConfig(
                project,
                install_dbt_deps=False,
                env_vars=given if is_whole else {"port": given["port"]},
                dbt_vars=given if is_whole else variables,
            ),
            profile_config=harbor_profile(project),
            execution_config=ExecutionConfig(dbt_executable_path=dbt),
            render_config=RenderConfig(load_method=LoadMode.DBT_LS),
            operator_args=operator_args,
        )
    return dag


def variables_of(call: DbtCall) -> Any:
    return yaml.safe_load(call.argv[call.argv.index("--vars") + 1]) if "--vars" in call.argv else None


@pytest.mark.parametrize("is_whole", [False, True], ids=["values", "all-of-them"])
def test_what_another_task_gives_reaches_dbt_when_the_tasks_run(
    is_whole: bool, dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    dag = dag_of(dbt_project, cosmos_fake_venv.dbt, is_whole=is_whole)
    listing = cosmos_fake_venv.calls

    assert dag.get_task("tide").downstream_task_ids == TASKS
    assert cosmos_airflow.run(dag, run_id="night").succeeded

    runs = cosmos_fake_venv.calls[len(listing) :]
    wanted = (
        {"day": "Monday", "port": "North"}
        if is_whole
        else {"day": "Monday", "run": '{"of": "night"}', "ports": ["North"], "n": 3}
    )
    assert [variables_of(call) for call in runs] == [wanted] * 3
    assert {call.env["port"] for call in runs} == {"North"}
    # While the file is parsed a text stands for such a value, which dbt does not take for a template of its own.
    (listed, *_) = listing
    pull = "task_instance.xcom_pull(task_ids='tide', dag_id='harbor', key='{}')".format
    stand_in = {"day": pull("day"), "run": '{"of": " run_id "}', "ports": [pull("port")], "n": 3}
    assert variables_of(listed) == (None if is_whole else stand_in)
    assert listed.env.get("port") == (None if is_whole else f"{{{{ {pull('port')} }}}}")


def test_a_template_of_all_variables_is_rendered_when_the_task_runs(
    dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    dag = dag_of(dbt_project, cosmos_fake_venv.dbt, is_whole=True, vars="{{ dag_run.conf.variables }}")
    listings = len(cosmos_fake_venv.calls)

    assert cosmos_airflow.run(dag, conf={"variables": {"day": "Tuesday"}}).succeeded

    assert [variables_of(call) for call in cosmos_fake_venv.calls[listings:]] == [{"day": "Tuesday"}] * 3
    assert variables_of(cosmos_fake_venv.calls[0]) is None


def test_what_another_task_gives_as_environment_must_be_a_dict(
    dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    with DAG("harbor", schedule=None, start_date=START) as dag:
        given: Any = tide()
        DbtSeedLocalOperator(
            env=given["day"],
            dbt_executable_path=cosmos_fake_venv.dbt,
            **operator_arguments(dbt_project),
        )

    outcome = cosmos_airflow.run(dag)

    assert "env='Monday' must be a dict" in str(outcome.tasks["task"].exception)


@pytest.mark.parametrize("name", ["env_vars", "dbt_vars"])
def test_a_text_that_is_no_template_is_refused(name: str) -> None:
    given: dict[str, Any] = {name: "day"}

    with pytest.raises(CosmosValueError, match=rf"ProjectConfig\.{name}='day' must be a dict"):
        ProjectConfig("harbor", **given)
