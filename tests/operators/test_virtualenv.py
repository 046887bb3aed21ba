"""dbt in a managed environment, as a task runs it. Every environment is installed for real."""

from __future__ import annotations

import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.cli import main
from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.constants import InvocationMode
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator, DbtVirtualenvBaseOperator
from cosmos_venv.profiles import PostgresUserPasswordProfileMapping
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.kit import DbtCalls, MakeOperator, operator_arguments

MEETING_VARIABLE = "DBT_MEETING"  # see MISBEHAVIOUR in conftest.py


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_dbt_of_the_environment_runs_on_links_to_the_project(
    make_operator: MakeOperator, dbt_calls: DbtCalls, dbt_project: Path, kept_directory: Path
) -> None:
    operator = make_operator(select=["staging", "mart"], vars={"day": "Monday"}, full_refresh="True")

    result = operator.run_command(*operator.build_cmd({}), {})

    (call,) = dbt_calls()
    place = call.arguments[call.arguments.index("--project-dir") + 1]
    assert result.exit_code == 0
    assert any("Completed successfully" in line for line in result.full_output)
    assert call.argv[0].startswith(f"{kept_directory.resolve()}/envs-v2/")
    assert call.arguments == (
        "run",
        "--select",
        "staging mart",
        "--vars",
        "day: Monday\n",
        "--full-refresh",
        "--project-dir",
        place,
        "--profiles-dir",
        str(dbt_project),
        "--profile",
        "harbor",
        "--target",
        "dev",
    )
    assert str(call.cwd) == place != str(dbt_project)
    assert not Path(place).exists()


def test_tasks_of_one_directory_run_dbt_at_the_same_time(make_operator: MakeOperator, tmp_path: Path) -> None:
    (tmp_path / "meeting").mkdir()
    env = {MEETING_VARIABLE: str(tmp_path / "meeting")}
    operators = [make_operator(task_id=name, py_requirements=["dbt-core==9.4"], env=env) for name in ("one", "other")]

    with ThreadPoolExecutor() as pool:
        done = [pool.submit(operator.execute, {}) for operator in operators]

    assert [each.result() for each in done] == [None, None]


def test_without_a_directory_the_environment_is_temporary_every_time(
    make_operator: MakeOperator, dbt_calls: DbtCalls
) -> None:
    operator = make_operator(virtualenv_dir=None)

    operator.execute({})
    operator.execute({})

    prefixes = [call.prefix for call in dbt_calls()]
    assert len(set(prefixes)) == 2
    assert all(prefix.relative_to(tempfile.gettempdir()).parts[0].startswith("cosmos-venv") for prefix in prefixes)
    assert not [prefix for prefix in prefixes if prefix.exists()]
    assert operator.virtualenv_dir is None


class Announced(DbtRunVirtualenvOperator):
    """An operator of a user, around ours."""

    def execute(self, context: Any, **kwargs: Any) -> Any:
        vars(self)["announced"] = ["begun"]
        super().execute(context, **kwargs)
        vars(self)["announced"].append("done")


class AnnouncedLocal(DbtRunLocalOperator):
    """An operator of a user, which a virtual environment is added to."""

    def execute(self, context: Any, **kwargs: Any) -> Any:
        vars(self)["announced"] = ["begun"]
        super().execute(context, **kwargs)
        vars(self)["announced"].append("done")


class AnnouncedBehind(DbtVirtualenvBaseOperator, AnnouncedLocal):
    """The same with one."""


@pytest.mark.usefixtures("make_operator")
@pytest.mark.parametrize("kind", [Announced, AnnouncedBehind])
def test_an_execute_of_a_subclass_runs_around_that_of_the_operator(
    kind: type[DbtVirtualenvBaseOperator],
    misbehaving_wheelhouse: Wheelhouse,
    dbt_project: Path,
    dbt_calls: DbtCalls,
) -> None:
    installed: Any = {
        "py_requirements": ["dbt-core==1.10.0", "dbt-duckdb"],
        "pip_install_options": misbehaving_wheelhouse.pip_install_options,
    }
    operator = kind(**operator_arguments(dbt_project, **installed))

    operator.execute({})

    (call,) = dbt_calls()
    assert vars(operator)["announced"] == ["begun", "done"]
    assert not call.prefix.exists(), "a temporary environment is gone"


def test_a_directory_that_is_called_temporary_is_left_alone(
    make_operator: MakeOperator, dbt_calls: DbtCalls, tmp_path: Path
) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "notes.txt").write_text("keep me")

    make_operator(virtualenv_dir=directory, is_virtualenv_dir_temporary="True").execute({})

    assert [path.name for path in directory.iterdir()] == ["notes.txt"]
    assert len(dbt_calls()) == 1


def test_the_workers_python_path_does_not_reach_dbt(
    make_operator: MakeOperator, dbt_calls: DbtCalls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    make_operator(env={"DBT_PIER": 'a "b"\nc é'}).execute({})

    (call,) = dbt_calls()
    assert "PYTHONPATH" not in call.env
    assert call.env["DBT_PIER"] == 'a "b"\nc é'


def test_where_building_is_forbidden_the_error_names_the_command_that_builds(
    make_operator: MakeOperator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_BUILD", "never")

    operator = make_operator(virtualenv_dir=tmp_path / "new")
    with pytest.raises(AirflowException, match="Build it beforehand: cosmos-venv env warm DAGFILE") as raised:
        operator.execute({})

    assert not (tmp_path / "new").exists()
    words = shlex.split(str(raised.value).rpartition("beforehand: cosmos-venv ")[2])
    given = [f"--requirement={each}" for each in operator.py_requirements]
    given += [f"--pip-option={each}" for each in operator.pip_install_options]
    assert main([*words[:-1], f"--dir={tmp_path / 'new'}", *given]) == 0
    operator.execute({})


def test_a_rendered_directory_is_used(make_operator: MakeOperator, dbt_calls: DbtCalls, tmp_path: Path) -> None:
    operator = make_operator(virtualenv_dir="{{ base }}/envs", is_virtualenv_dir_temporary="{{ base is none }}")

    operator.render_template_fields({"base": str(tmp_path)})  # type: ignore[typeddict-unknown-key] # any context will do
    operator.execute({})

    assert (tmp_path / "envs" / "envs-v2").is_dir()
    assert dbt_calls()[0].prefix.is_relative_to(tmp_path)


def test_the_invocation_mode_is_always_a_subprocess_and_another_is_not_ignored_in_silence(
    make_operator: MakeOperator,
) -> None:
    with pytest.warns(UserWarning, match=r"invocation_mode=.*DBT_RUNNER is ignored.*take the local operator"):
        operator = make_operator(invocation_mode=InvocationMode.DBT_RUNNER)

    assert operator.invocation_mode is InvocationMode.SUBPROCESS


def test_a_dbt_of_ones_own_is_not_ignored_in_silence(make_operator: MakeOperator) -> None:
    with pytest.warns(UserWarning, match=r"dbt_executable_path=/opt/dbt is ignored"):
        make_operator(dbt_executable_path="/opt/dbt")


@pytest.mark.parametrize(
    ("name", "value"),
    [("py_requirements", "dbt-duckdb"), ("pip_install_options", "--pre"), ("virtualenv_dir", "")],
)
def test_a_text_that_is_no_list_and_an_empty_one_are_refused(
    make_operator: MakeOperator, name: str, value: str
) -> None:
    with pytest.raises(CosmosValueError, match=name):
        make_operator(**{name: value})


def test_what_is_wrong_beside_the_environment_is_told_before_one_is_built(
    make_operator: MakeOperator, tmp_path: Path
) -> None:
    profile = ProfileConfig("harbor", "dev", profile_mapping=PostgresUserPasswordProfileMapping("no_such_conn"))

    with pytest.raises(AirflowException, match="conn_id='no_such_conn': Airflow has no connection"):
        make_operator(profile_config=profile, virtualenv_dir=tmp_path / "new").execute({})

    assert not (tmp_path / "new").exists()
