"""A dbt project as a DAG or as a group: loaded by the fake dbt of a managed environment, or from a manifest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import (
    DbtDag,
    DbtTaskGroup,
    ExecutionConfig,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
)
from cosmos_venv.compat import DAG, EmptyOperator
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator, DbtTestVirtualenvOperator
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from pytest_cosmos_venv import Wheelhouse
from tests.kit import harbor_profile

MANIFEST = Path(__file__).parent / "data" / "rendering-project" / "manifest.json"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def rendering_project(tmp_path: Path) -> Path:
    """The files of the recorded project that are read when it is loaded from its manifest."""
    folder = tmp_path / "rendering-project"
    (folder / "models").mkdir(parents=True)
    shutil.copy(MANIFEST.with_name("dbt_project.yml"), folder)
    return folder


@pytest.fixture
def manifest_arguments(tmp_path: Path, rendering_project: Path) -> dict[str, Any]:
    """A project that is loaded from its manifest: nothing is installed or started."""
    profile = tmp_path / "profiles.yml"
    profile.write_text("harbor_ops: {target: dev, outputs: {dev: {type: duckdb}}}\n")
    return {
        "project_config": ProjectConfig(rendering_project, manifest_path=MANIFEST),
        "profile_config": ProfileConfig("harbor_ops", "dev", profiles_yml_filepath=profile),
        "execution_config": ExecutionConfig(
            execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=tmp_path / "environments"
        ),
        "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST),
        "operator_args": {"py_requirements": ["dbt-duckdb"]},
    }


@pytest.fixture
def ls_arguments(fake_dbt_wheels: Wheelhouse, kept_directory: Path, dbt_project: Path) -> dict[str, Any]:
    """A project that the fake dbt of a kept environment lists."""
    return {
        "project_config": ProjectConfig(dbt_project),
        "profile_config": harbor_profile(dbt_project),
        "execution_config": ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=kept_directory),
        "render_config": RenderConfig(load_method=LoadMode.DBT_LS),
        "operator_args": {
            "py_requirements": ["dbt-core==1.10.0", "dbt-duckdb"],
            "pip_install_options": fake_dbt_wheels.pip_install_options,
        },
    }


def test_a_dag_has_the_tasks_of_the_manifest_in_dbts_order(manifest_arguments: dict[str, Any]) -> None:
    dag = DbtDag(
        dag_id="harbor", schedule="@daily", start_date=START, default_args={"retries": 2}, **manifest_arguments
    )

    run, test = dag.get_task("port_calls.run"), dag.get_task("port_calls.test")
    assert isinstance(run, DbtRunVirtualenvOperator)
    assert isinstance(test, DbtTestVirtualenvOperator)
    assert isinstance(dag.get_task("geo_cells_run"), EmptyOperator)
    assert run.downstream_task_ids == {"port_calls.test"}
    assert test.downstream_task_ids == {"voyages_v1.run", "voyages_v2.run"}
    assert dag.get_task("stg_ports.run").retries == 2
    assert run.select == "fqn:harbor_ops.marts.port_calls"
    assert run.py_requirements == ["dbt-duckdb"]
    assert dag.tasks_map["model.harbor_ops.port_calls"] is dag.task_group.children["port_calls"]
    assert Path(dag.fileloc) == Path(__file__)


def test_a_group_stands_between_other_tasks(manifest_arguments: dict[str, Any]) -> None:
    with DAG("outer", schedule=None, start_date=START) as dag:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        group = DbtTaskGroup("harbor", **manifest_arguments)
        other = DbtTaskGroup("again", **manifest_arguments)
        before >> group >> other >> after

    assert "harbor.raw_vessels_seed" in before.downstream_task_ids
    assert dag.get_task("harbor.port_calls.run").downstream_task_ids == {"harbor.port_calls.test"}
    assert "again.raw_vessels_seed" in dag.get_task("harbor.voyages_v1.test").downstream_task_ids
    assert all(task_id.startswith("again.") for task_id in after.upstream_task_ids)


def test_a_dag_from_a_manifest_touches_no_directory_and_starts_no_process(
    manifest_arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *arguments, **_: started.append(arguments))

    DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)

    assert not (tmp_path / "environments").exists()
    assert not started


def test_dbt_ls_runs_in_the_managed_environment(
    ls_arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))  # no test before has asked dbt
    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **ls_arguments)

    assert sorted(dag.task_ids) == ["mart_run", "piers_seed", "staging_run"]
    assert dag.dbt_graph.load_method is LoadMode.DBT_LS


def test_dbt_ls_without_a_kept_directory_says_what_to_set(ls_arguments: dict[str, Any]) -> None:
    ls_arguments["execution_config"] = ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV)

    with pytest.raises(CosmosLoadDbtException, match=r"ExecutionConfig\(virtualenv_dir=\.\.\.\).*DBT_MANIFEST"):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **ls_arguments)


def test_what_dbt_ls_needs_and_cannot_be_installed_is_told_while_parsing(
    ls_arguments: dict[str, Any], tmp_path: Path
) -> None:
    ls_arguments["operator_args"]["py_requirements"] = ["dbt-core==1.10.0", "dbt-nosuchwarehouse"]

    with pytest.raises(CosmosLoadDbtException, match="dbt-nosuchwarehouse"):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **ls_arguments)


def test_without_dbt_in_local_mode_the_error_names_the_executable_and_the_ways_out(
    ls_arguments: dict[str, Any],
) -> None:
    ls_arguments["execution_config"] = ExecutionConfig(dbt_executable_path="/no/such/dbt")

    with pytest.raises(Exception, match=r"'/no/such/dbt' cannot be started.*LoadMode\.DBT_MANIFEST"):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **ls_arguments)


def test_a_project_that_does_not_exist_is_named(manifest_arguments: dict[str, Any], tmp_path: Path) -> None:
    manifest_arguments["project_config"] = ProjectConfig(tmp_path / "nowhere")

    with pytest.raises(CosmosValueError, match=r"dbt_project_path.*nowhere"):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)


def test_empty_requirements_are_an_error_in_the_log_and_leave_the_dag_standing(
    manifest_arguments: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    manifest_arguments["operator_args"] = {}

    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)

    assert dag.task_ids
    assert "require the `py_requirements` parameter" in "".join(capfd.readouterr())


def test_an_operator_argument_that_no_operator_takes_is_refused_with_the_nearest_name(
    manifest_arguments: dict[str, Any],
) -> None:
    manifest_arguments["operator_args"] = {"py_requirments": ["dbt-duckdb"]}

    with pytest.raises(CosmosValueError, match=r"no dbt operator takes 'py_requirments'\. Did you mean 'py_requ"):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)


@pytest.mark.parametrize("name", ["task_id", "dag", "task_group"])
def test_what_the_project_decides_for_each_task_is_refused_by_name(
    manifest_arguments: dict[str, Any], name: str
) -> None:
    manifest_arguments["operator_args"] = {"py_requirements": ["dbt-duckdb"], name: "x"}

    with pytest.raises(CosmosValueError, match=rf"operator_args\['{name}'\] is decided for each task"):
        DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)


def test_arguments_of_another_mode_are_left_out(manifest_arguments: dict[str, Any]) -> None:
    manifest_arguments["execution_config"] = ExecutionConfig(dbt_executable_path="/opt/dbt/bin/dbt")

    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)

    task = dag.get_task("port_calls.run")
    assert isinstance(task, DbtRunLocalOperator)
    assert not hasattr(task, "py_requirements")
    assert task.dbt_executable_path == "/opt/dbt/bin/dbt"


def test_one_configuration_serves_two_dags(manifest_arguments: dict[str, Any]) -> None:
    one = DbtDag(dag_id="one", schedule=None, start_date=START, **manifest_arguments)
    two = DbtDag(dag_id="two", schedule=None, start_date=START, **manifest_arguments)

    assert one.task_ids == two.task_ids
    assert manifest_arguments["operator_args"] == {"py_requirements": ["dbt-duckdb"]}


def test_the_old_name_of_the_schedule_is_taken_with_a_warning(manifest_arguments: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="schedule_interval"):
        dag = DbtDag(dag_id="harbor", schedule_interval="@daily", start_date=START, **manifest_arguments)

    assert "0 0 * * *" in repr(dag.timetable)


@pytest.mark.long
def test_two_processes_with_other_hash_seeds_make_the_same_dag(
    manifest_arguments: dict[str, Any], rendering_project: Path, tmp_path: Path
) -> None:
    source = f"""
        import json
        from datetime import datetime, timezone
        from cosmos_venv import *
        from airflow.serialization.serialized_objects import DagSerialization
        dag = DbtDag(
            dag_id="harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
            project_config=ProjectConfig({str(rendering_project)!r}, manifest_path={str(MANIFEST)!r}),
            profile_config=ProfileConfig("h", "dev", profiles_yml_filepath={str(tmp_path / "profiles.yml")!r}),
            execution_config=ExecutionConfig(ExecutionMode.VIRTUALENV, virtualenv_dir="/kept"),
            operator_args={{"py_requirements": ["dbt-duckdb"]}},
        )
        dag.fileloc = "dag.py"
        print("SERIALIZED", json.dumps(DagSerialization.to_dict(dag), sort_keys=True))
    """
    made = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(source)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.partition("SERIALIZED")[2]
        for seed in ("1", "2")
    ]

    assert made[0]
    assert made[0] == made[1]


def test_what_configurations_say_of_tasks_reaches_those_that_take_it(manifest_arguments: dict[str, Any]) -> None:
    """The rest of the arguments that all tasks share: tests/rendering."""

    def notify(context: dict[str, Any]) -> None: ...

    project = manifest_arguments["project_config"]
    manifest_arguments |= {
        "project_config": ProjectConfig(
            project.dbt_project_path, manifest_path=project.manifest_path, copy_dbt_packages=True
        ),
        "execution_config": ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER),
        "render_config": RenderConfig(load_method=LoadMode.DBT_MANIFEST, emit_datasets=False),
        "operator_args": {
            "dbt_cmd_flags": {"run": ["--event-time-start", "{{ ds }}"], "seed": ["--show"]},
            "full_refresh": True,
        },
    }

    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, on_warning_callback=notify, **manifest_arguments)

    tasks: dict[str, Any] = dag.task_dict
    run, test, seed = (tasks[task_id] for task_id in ("stg_ports.run", "stg_ports.test", "raw_ports.seed"))
    assert run.build_cmd({})[0][-3:] == ["--full-refresh", "--event-time-start", "{{ ds }}"]
    assert seed.build_cmd({})[0][-2:] == ["--full-refresh", "--show"]
    assert "--full-refresh" not in test.build_cmd({})[0]
    assert test.on_warning_callback is notify
    assert not hasattr(run, "on_warning_callback")
    assert (run.invocation_mode, run.emit_datasets, run.copy_dbt_packages) == (InvocationMode.DBT_RUNNER, False, True)


def test_an_invocation_mode_among_operator_args_counts_where_the_configuration_says_none(
    manifest_arguments: dict[str, Any],
) -> None:
    manifest_arguments |= {
        "execution_config": ExecutionConfig(),
        "operator_args": {"invocation_mode": InvocationMode.DBT_RUNNER},
    }

    dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)

    task: Any = dag.get_task("stg_ports.run")
    assert task.invocation_mode is InvocationMode.DBT_RUNNER


def test_a_schema_among_operator_args_is_that_of_the_profile(manifest_arguments: dict[str, Any]) -> None:
    mapping = PostgresUserPasswordProfileMapping("harbor", {"schema": "public", "threads": 4})
    manifest_arguments["profile_config"] = ProfileConfig("harbor_ops", "dev", profile_mapping=mapping)
    manifest_arguments["operator_args"]["schema"] = "of_tasks"

    with pytest.warns(DeprecationWarning, match="use profile_args of the profile mapping"):
        dag = DbtDag(dag_id="harbor", schedule=None, start_date=START, **manifest_arguments)

    task: Any = dag.get_task("stg_ports.run")
    assert task.profile_config.profile_mapping.profile_args == {"schema": "of_tasks", "threads": 4}
    assert mapping.profile_args == {"schema": "public", "threads": 4}


def test_flags_of_a_command_that_dbt_does_not_have_are_refused_in_a_group_too(
    manifest_arguments: dict[str, Any],
) -> None:
    manifest_arguments["operator_args"]["dbt_cmd_flags"] = {"runs": ["--empty"]}

    with (
        DAG("harbor", schedule=None, start_date=START),
        pytest.raises(CosmosValueError, match=r"dbt_cmd_flags names the command 'runs'; Did you mean 'run'"),
    ):
        DbtTaskGroup(group_id="dbt", **manifest_arguments)
