"""An environment that lost files after it was published: the task whose dbt fails for it retires it, and the next try
builds another one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph
from tests.kit import DbtCalls, MakeOperator, published_build


def main_of(build: Path) -> Path:
    return next(build.glob("lib/python*/site-packages/dbt/cli/main.py"))


def lose_the_module(build: Path) -> None:
    shutil.rmtree(main_of(build).parent)


def lose_the_package(build: Path) -> None:
    for path in [main_of(build).parent, *build.glob("lib/*/*/dbt_core*")]:
        shutil.rmtree(path)


def spoil_the_entry_points(build: Path) -> None:
    """The check itself read them, and each task failed with an error of Python's."""
    (entry_points,) = build.glob("lib/*/*/dbt_core*/entry_points.txt")
    entry_points.write_bytes(b"\xff\xfe[cut")
    (build / "bin" / "dbt").unlink()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no command": (lambda build: (build / "bin" / "dbt").unlink(), "bin/dbt is missing"),
    "a command without permission": (
        lambda build: (build / "bin" / "dbt").chmod(0o644),
        "bin/dbt is empty or may not be executed",
    ),
    "a module that is gone": (lose_the_module, "dbt/cli/__init__.py is missing"),
    "entry points that are no text, and no command": (spoil_the_entry_points, "entry_points.txt has"),
    "a package that is gone with its record": (
        lose_the_package,
        "dbt-core is not installed instead of 1.10.0",
    ),
}


@pytest.fixture
def kept_directory(tmp_path: Path) -> Path:
    return tmp_path / "environments"


Told = Callable[[pytest.ExceptionInfo[AirflowException]], list[str]]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    """What the error and the log say about damaged environments, each sentence once."""

    def told(failure: pytest.ExceptionInfo[AirflowException]) -> list[str]:
        text = f"{failure.value}\n{''.join(capfd.readouterr())}"
        return list(dict.fromkeys(re.findall(r"The virtualenv \S+ is damaged.*", text)))

    return told


@pytest.fixture
def build(make_operator: MakeOperator, kept_directory: Path) -> Path:
    """One that a task has used, of which anything may be taken away."""
    make_operator().execute({})
    return published_build(kept_directory)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_environment_is_retired_and_the_next_try_runs_dbt_in_another_one(
    make_operator: MakeOperator, dbt_calls: DbtCalls, build: Path, kept_directory: Path, damage: str, told: Told
) -> None:
    break_it, fault = DAMAGES[damage]
    break_it(build)
    before = len(dbt_calls())
    operator = make_operator(warm_dbt="off", retries=1)

    with pytest.raises(AirflowException) as failure:
        operator.execute({})
    assert not list((kept_directory / "envs-v2").glob("*.json"))
    operator.execute({})

    (line,) = told(failure)
    assert line.startswith(f"The virtualenv {build} is damaged: ")
    assert fault in line
    assert "It is retired: the next try builds another one (where retries=0, clear the task)." in line
    assert len(dbt_calls()) == before + 1
    assert published_build(kept_directory) != build


def test_an_error_of_the_users_own_is_told_as_ever(
    make_operator: MakeOperator, kept_directory: Path, told: Told
) -> None:
    operator = make_operator(py_requirements=["dbt-core==9.1"])
    with pytest.raises(AirflowException, match="column yesterdya does not exist"):
        operator.execute({})
    with pytest.raises(AirflowException, match="column yesterdya does not exist") as failure:
        operator.execute({})

    assert told(failure) == []
    assert len(list((kept_directory / "envs-v2").glob("*-????????"))) == 1


@pytest.mark.parametrize("damage", ["no command", "a module that is gone"])
def test_a_parse_whose_environment_lost_files_fails_and_the_next_one_has_another(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    build: Path,
    kept_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE_DBT_LS", "False")
    DAMAGES[damage][0](build)
    operator = make_operator()

    def graph() -> DbtGraph:
        return DbtGraph(
            project=ProjectConfig(operator.project_dir, install_dbt_deps=False),
            profile_config=operator.profile_config,
            execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=kept_directory),
            render_config=RenderConfig(load_method=LoadMode.DBT_LS),
            operator_args={name: getattr(operator, name) for name in ("py_requirements", "pip_install_options")},
        )

    with pytest.raises(CosmosLoadDbtException, match=rf"The virtualenv {build} is damaged: .*It is retired"):
        graph().load()
    later = graph()
    later.load()

    assert later.nodes
    assert [call.arguments[0] for call in dbt_calls()[1:]] == ["ls"]
    assert published_build(kept_directory) != build


def test_a_damaged_environment_of_the_search_path_stays_and_the_way_out_is_told(
    make_operator: MakeOperator, build: Path, kept_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH", str(kept_directory))
    (build / "bin" / "dbt").unlink()

    with pytest.raises(
        AirflowException, match=r"damaged: bin/dbt is missing\. It stands in virtualenv_search_path, .*env warm"
    ):
        make_operator(virtualenv_dir=tmp_path / "own").execute({})

    assert published_build(kept_directory) == build


def test_a_command_that_requirements_do_not_bring_is_told_so(make_operator: MakeOperator) -> None:
    with pytest.raises(AirflowException, match=r"bin/dbt: No such file.*Nothing in py_requirements brings it"):
        make_operator(py_requirements=["dbt-core==9.6"]).execute({})
