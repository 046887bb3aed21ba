"""The facts of a dbt node that its task knows while it runs, and the page of it in Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_venv import (
    DbtTaskGroup,
    ProfileConfig,
    TestBehavior,
)
from cosmos_venv.compat import DAG, TaskGroup
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from tests.rendering.recorded_project import START, dag_of, edit_node, manifest_arguments

STG_PORTS = "model.harbor_ops.stg_ports"
SEALED = "{{ env_var('COSMOS_CONN_POSTGRES_PASSWORD') }}"


def tasks_of(project: Path, **arguments: Any) -> dict[str, Any]:
    """The tasks of a DAG by id."""
    return dag_of(project, **arguments).task_dict


def change_profile(project: Path, changes: dict[str, Any]) -> None:
    """Let the node change its profile."""
    edit_node(project, STG_PORTS, meta={"cosmos": {"profile_config": changes}})


def test_a_task_knows_its_node_its_package_and_its_place(project: Path) -> None:
    context = tasks_of(project)["stg_ports.run"].extra_context

    assert set(context) == {"dbt_node_config", "dbt_dag_task_group_identifier", "package_name"}
    assert (context["package_name"], context["dbt_dag_task_group_identifier"]) == ("harbor_ops", "harbor")
    assert {name: value for name, value in context["dbt_node_config"].items() if name != "config"} == {
        "unique_id": STG_PORTS,
        "resource_type": "model",
        "depends_on": ["seed.harbor_ops.raw_ports"],
        "file_path": f"{project}/models/staging/stg_ports.sql",
        "original_file_path": "models/staging/stg_ports.sql",
        "tags": ["staging"],
        "has_test": True,
        "has_non_detached_test": True,
        "resource_name": "stg_ports",
        "name": "stg_ports",
        "checksum": None,
    }
    assert context["dbt_node_config"]["config"]["materialized"] == "view"


def test_a_task_of_tests_knows_its_tests_and_the_tested_node_which_one_of_all_tests_has_not(project: Path) -> None:
    tests = tasks_of(project)["stg_ports.test"].extra_context
    tasks = tasks_of(project, render={"test_behavior": TestBehavior.AFTER_ALL})

    assert set(tests) == {"dbt_node_config", "dbt_tests"}
    assert tests["dbt_node_config"]["unique_id"] == STG_PORTS
    assert set(tasks["rendering-project_test"].extra_context) == {"dbt_tests"}
    assert {*tests["dbt_tests"]} < {*tasks["rendering-project_test"].extra_context["dbt_tests"]}


def test_the_place_of_a_group_is_its_dag_and_the_whole_id_of_the_group(project: Path) -> None:
    with DAG("my.dag", schedule=None, start_date=START) as dag, TaskGroup("outer"):
        DbtTaskGroup("inner", **manifest_arguments(project))

    tasks: dict[str, Any] = dag.task_dict
    places = {
        each.extra_context.get("dbt_dag_task_group_identifier") for each in tasks.values() if hasattr(each, "env")
    }
    assert places == {"my.dag__outer.inner", None}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"operator_args": {"doc": "mine"}}, id="operator-args"),
        pytest.param({"default_args": {"doc": "mine"}}, id="default-args"),
    ],
)
def test_docs_of_the_users_own_stay_alone(project: Path, given: dict[str, Any]) -> None:
    task = tasks_of(project, **given)["stg_ports.run"]

    assert (task.doc, task.doc_md) == ("mine", None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"threads": 2}, {"threads": 2, "schema": "fleet", "host": "h"}, id="field"),
        pytest.param({"profile_args": {"schema": "own"}}, {"threads": None, "schema": "own"}, id="attribute"),
        pytest.param({"conn_id": "other", "sslmode": "x"}, {"host": "h2", "sslmode": "x", "threads": 4}, id="both"),
        pytest.param({"password": "s3cret"}, {"password": SEALED}, id="secret"),
    ],
)
def test_a_node_changes_the_profile_of_its_own_tasks(
    project: Path, changes: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://u:p@h:5432/db")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "postgres://u:p@h2:5432/db")
    shared = PostgresUserPasswordProfileMapping("warehouse", {"schema": "fleet", "threads": 4})
    change_profile(project, {"profile_mapping": changes, "target_name": "night"})

    tasks = tasks_of(project, profile_config=ProfileConfig("harbor", "dev", profile_mapping=shared))

    for task_id in ("stg_ports.run", "stg_ports.test"):
        with tasks[task_id].profile_config.ensure_profile() as (path, _):
            output = yaml.safe_load(path.read_text())["harbor"]["outputs"]["night"]
        assert {name: output.get(name) for name in expected} == expected
    others = tasks["raw_ports.seed"].profile_config
    assert (others.target_name, others.profile_mapping) == ("dev", shared)
    assert shared.profile_args == {"schema": "fleet", "threads": 4}


def test_a_node_may_have_a_profiles_yml_instead_of_the_mapping(project: Path) -> None:
    mapping = PostgresUserPasswordProfileMapping("warehouse")
    own = str(project / "profiles.yml")
    change_profile(project, {"profiles_yml_filepath": own, "profile_mapping": {"threads": 2}})

    task = tasks_of(project, profile_config=ProfileConfig("harbor", "dev", profile_mapping=mapping))["stg_ports.run"]

    assert (task.profile_config.profiles_yml_filepath, task.profile_config.profile_mapping) == (own, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"secret_fields": []}, "names 'secret_fields', which belongs to the class PostgresUserPasswordProfileMapping"),
        ({"conn": "x"}, "names 'conn', which belongs"),
        ({"dbt_config_vars": {"debugg": True}}, "dbt_config_vars={'debugg': True}: .*unexpected keyword"),
    ],
)
def test_what_no_profile_can_have_is_refused_with_the_node(project: Path, changes: dict[str, Any], words: str) -> None:
    profile = ProfileConfig("harbor", "dev", profile_mapping=PostgresUserPasswordProfileMapping("warehouse"))
    change_profile(project, {"profile_mapping": changes})

    with pytest.raises(CosmosValueError, match=f"^{STG_PORTS}: meta.cosmos.profile_config.profile_mapping.*{words}"):
        dag_of(project, profile_config=profile)
