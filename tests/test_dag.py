"""A dbt project as a DAG or as a group: loaded by the fake dbt of a managed environment, or from a manifest."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import (
    DbtDag,
    ExecutionConfig,
    ExecutionMode,
    InvocationMode,
    LoadMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
)
from cosmos_venv.compat import EmptyOperator
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator, DbtTestVirtualenvOperator
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.kit import harbor_profile
from tests.rendering.recorded_project import RECORDED, START, copy_of_project, manifest_arguments


@pytest.fixture
def from_manifest(tmp_path: Path) -> dict[str, Any]:
    """The arguments of a project that is loaded from its manifest: nothing is installed or started."""
    return manifest_arguments(
        copy_of_project(tmp_path / RECORDED.name),
        execution_config=ExecutionConfig(
            execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=tmp_path / "environments"
        ),
    )


@pytest.fixture
def by_dbt_ls(fake_dbt_wheels: Wheelhouse, kept_directory: Path, dbt_project: Path) -> dict[str, Any]:
    """The arguments of a project that the fake dbt of a kept environment lists."""
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


def made(arguments: dict[str, Any]) -> DbtDag:
    return DbtDag(dag_id="harbor", schedule=None, start_date=START, **arguments)


def test_a_dag_has_the_tasks_of_the_manifest_in_dbts_order(from_manifest: dict[str, Any]) -> None:
    dag = DbtDag(dag_id="harbor", schedule="@daily", start_date=START, default_args={"retries": 2}, **from_manifest)

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


def test_a_dag_from_a_manifest_touches_no_directory_and_starts_no_process(
    from_manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *arguments, **_: started.append(arguments))

    made(from_manifest)

    assert not (tmp_path / "environments").exists()
    assert not started


def test_dbt_ls_runs_in_the_managed_environment(
    by_dbt_ls: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))  # no test before has asked dbt
    dag = made(by_dbt_ls)

    assert sorted(dag.task_ids) == ["mart_run", "piers_seed", "staging_run"]
    assert dag.dbt_graph.load_method is LoadMode.DBT_LS


def test_what_dbt_ls_needs_and_cannot_be_installed_is_told_while_parsing(
    by_dbt_ls: dict[str, Any], tmp_path: Path
) -> None:
    by_dbt_ls["operator_args"]["py_requirements"] = ["dbt-core==1.10.0", "dbt-nosuchwarehouse"]

    with pytest.raises(CosmosLoadDbtException, match="dbt-nosuchwarehouse"):
        made(by_dbt_ls)


def test_empty_requirements_are_an_error_in_the_log_and_leave_the_dag_standing(
    from_manifest: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    from_manifest["operator_args"] = {}

    dag = made(from_manifest)

    assert dag.task_ids
    assert "require the `py_requirements` parameter" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("py_requirments", r"no dbt operator takes 'py_requirments'\. Did you mean 'py_requ", id="unknown"),
        pytest.param("task_id", r"operator_args\['task_id'\] is decided for each task", id="task-id"),
    ],
)
def test_an_operator_argument_that_no_task_can_be_given_is_refused_by_name(
    from_manifest: dict[str, Any], name: str, words: str
) -> None:
    from_manifest["operator_args"][name] = "x"

    with pytest.raises(CosmosValueError, match=words):
        made(from_manifest)


def test_arguments_of_another_mode_are_left_out(from_manifest: dict[str, Any]) -> None:
    from_manifest["execution_config"] = ExecutionConfig(dbt_executable_path="/opt/dbt/bin/dbt")

    dag = made(from_manifest)

    task = dag.get_task("port_calls.run")
    assert isinstance(task, DbtRunLocalOperator)
    assert not hasattr(task, "py_requirements")
    assert task.dbt_executable_path == "/opt/dbt/bin/dbt"


def test_the_old_name_of_the_schedule_is_taken_with_a_warning(from_manifest: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="schedule_interval"):
        dag = DbtDag(dag_id="harbor", schedule_interval="@daily", start_date=START, **from_manifest)

    assert "0 0 * * *" in repr(dag.timetable)


def test_what_configurations_say_of_tasks_reaches_those_that_take_it(from_manifest: dict[str, Any]) -> None:
    """The rest of the arguments that all tasks share: tests/rendering."""

    def notify(context: dict[str, Any]) -> None: ...

    project = from_manifest["project_config"]
    from_manifest |= {
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

    dag = made({"on_warning_callback": notify, **from_manifest})

    tasks: dict[str, Any] = dag.task_dict
    run, test, seed = (tasks[task_id] for task_id in ("stg_ports.run", "stg_ports.test", "raw_ports.seed"))
    assert run.build_cmd({})[0][-3:] == ["--full-refresh", "--event-time-start", "{{ ds }}"]
    assert seed.build_cmd({})[0][-2:] == ["--full-refresh", "--show"]
    assert "--full-refresh" not in test.build_cmd({})[0]
    assert test.on_warning_callback is notify
    assert not hasattr(run, "on_warning_callback")
    assert (run.invocation_mode, run.emit_datasets, run.copy_dbt_packages) == (InvocationMode.DBT_RUNNER, False, True)


def test_an_invocation_mode_among_operator_args_counts_where_the_configuration_says_none(
    from_manifest: dict[str, Any],
) -> None:
    from_manifest |= {
        "execution_config": ExecutionConfig(),
        "operator_args": {"invocation_mode": InvocationMode.DBT_RUNNER},
    }

    dag = made(from_manifest)

    task: Any = dag.get_task("stg_ports.run")
    assert task.invocation_mode is InvocationMode.DBT_RUNNER


def test_a_schema_among_operator_args_is_that_of_the_profile(from_manifest: dict[str, Any]) -> None:
    mapping = PostgresUserPasswordProfileMapping("harbor", {"schema": "public", "threads": 4})
    from_manifest["profile_config"] = ProfileConfig("harbor_ops", "dev", profile_mapping=mapping)
    from_manifest["operator_args"]["schema"] = "of_tasks"

    with pytest.warns(DeprecationWarning, match="use profile_args of the profile mapping") as caught:
        dag = made(from_manifest)

    task: Any = dag.get_task("stg_ports.run")
    assert task.profile_config.profile_mapping.profile_args == {"schema": "of_tasks", "threads": 4}
    assert mapping.profile_args == {"schema": "public", "threads": 4}
    assert caught[0].filename == __file__, "the warning names the line of the DAG file"
