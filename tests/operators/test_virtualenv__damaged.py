"""An environment that lost files after it was published: the task whose dbt fails for it has another one built."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import ExecutionMode, LoadMode
from cosmos_venv.project.graph import DbtGraph
from tests.kit import DbtCalls, MakeOperator, published_build
from tests.operators.conftest import BEGUN_VARIABLE


def main_of(build: Path) -> Path:
    return next(build.glob("lib/python*/site-packages/dbt/cli/main.py"))


def let_write(folder: Path) -> None:
    for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        each.chmod(0o755)


def lose_the_module(build: Path) -> None:
    shutil.rmtree(main_of(build).parent)


def lose_the_package(build: Path) -> None:
    for path in [main_of(build).parent, *build.glob("lib/*/*/dbt_core*")]:
        shutil.rmtree(path)


def spoil_the_module(build: Path) -> None:
    """Spoil it as a disk does: size and time stay. So does the byte code; another task's Python would write it anew."""
    main = main_of(build)
    main.write_bytes(bytes(main.stat().st_size))
    shutil.rmtree(main.parent / "__pycache__")


def spoil_the_byte_code(build: Path) -> None:
    (compiled,) = (main_of(build).parent / "__pycache__").glob("main.*.pyc")
    compiled.write_bytes(compiled.read_bytes()[:100])


def cut_the_command(build: Path) -> None:
    """Python runs what is left, and all is well."""
    command = build / "bin" / "dbt"
    command.write_bytes(command.read_bytes().splitlines(keepends=True)[0])


def spoil_the_entry_points(build: Path) -> None:
    """The check itself read them, and each task failed with an error of Python's."""
    (entry_points,) = build.glob("lib/*/*/dbt_core*/entry_points.txt")
    entry_points.write_bytes(b"\xff\xfe[cut")
    (build / "bin" / "dbt").unlink()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no command": (lambda build: (build / "bin" / "dbt").unlink(), "bin/dbt is missing"),
    "an empty command": (lambda build: (build / "bin" / "dbt").write_bytes(b""), "bin/dbt is empty"),
    "a command without permission": (
        lambda build: (build / "bin" / "dbt").chmod(0o644),
        "bin/dbt may not be executed",
    ),
    "a command of one line": (cut_the_command, "bin/dbt has another content than was installed"),
    "a module that is gone": (lose_the_module, "dbt/cli/__init__.py is missing"),
    "a module of zeros": (spoil_the_module, "dbt/cli/main.py has another content than was installed"),
    "byte code that is cut": (spoil_the_byte_code, "main.cpython-"),
    "entry points that are no text, and no command": (spoil_the_entry_points, "entry_points.txt has"),
    "a package that is gone with its record": (
        lose_the_package,
        "dbt-core is not installed instead of 1.10.0",
    ),
}


@pytest.fixture
def kept_directory(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def warned(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """The warnings about damaged environments since they were last asked for."""
    return lambda: re.findall(r"The virtualenv \S+ is damaged.*", "".join(capfd.readouterr()))


@pytest.fixture
def build(make_operator: MakeOperator, kept_directory: Path) -> Path:
    """One that a task has used, of which anything may be taken away."""
    make_operator().execute({})
    made = published_build(kept_directory)
    let_write(made)
    return made


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_environment_is_built_anew_that_lost_what_starts_dbt_and_dbt_runs_once(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    build: Path,
    kept_directory: Path,
    warned: Callable[[], list[str]],
    damage: str,
) -> None:
    break_it, fault = DAMAGES[damage]
    break_it(build)
    before = len(dbt_calls())

    make_operator(warm_dbt="off").execute({})

    (line,) = warned()
    assert line.startswith(f"The virtualenv {build} is damaged: ")
    assert fault in line
    assert "It is built anew." in line
    assert len(dbt_calls()) == before + 1
    assert published_build(kept_directory) != build


def test_a_dbt_that_had_begun_is_not_started_again_and_the_next_try_has_a_whole_environment(
    make_operator: MakeOperator, kept_directory: Path, tmp_path: Path, warned: Callable[[], list[str]]
) -> None:
    begun = tmp_path / "begun"
    operator = make_operator(py_requirements=["dbt-core==9.5"], env={BEGUN_VARIABLE: str(begun)})
    operator.execute({})
    build = published_build(kept_directory)
    let_write(build)
    for path in main_of(build).parent.parent.glob("**/later*"):
        path.unlink()

    with pytest.raises(AirflowException, match=r"No module named 'dbt\.later'"):
        operator.execute({})
    after_the_failure = begun.read_text().count("begun")
    operator.execute({})

    (line,) = warned()
    assert "dbt/later.py is missing" in line
    assert "had begun its work" in line
    assert (after_the_failure, begun.read_text().count("begun")) == (2, 3)
    assert published_build(kept_directory) != build


def test_an_error_of_the_users_own_is_told_as_ever(
    make_operator: MakeOperator, kept_directory: Path, warned: Callable[[], list[str]]
) -> None:
    for _ in range(2):
        with pytest.raises(AirflowException, match="column yesterdya does not exist"):
            make_operator(py_requirements=["dbt-core==9.1"]).execute({})

    assert warned() == []
    assert published_build(kept_directory).name.endswith("-1")


@pytest.mark.parametrize("damage", ["no command", "a command of one line", "a module that is gone"])
def test_a_parse_whose_environment_lost_files_has_another_one_built_and_asks_that(
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
    graph = DbtGraph(
        project=ProjectConfig(operator.project_dir, install_dbt_deps=False),
        profile_config=operator.profile_config,
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=kept_directory),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args={name: getattr(operator, name) for name in ("py_requirements", "pip_install_options")},
    )

    graph.load()

    assert graph.nodes
    assert [call.arguments[0] for call in dbt_calls()[1:]] == ["ls"]
    assert published_build(kept_directory) != build


def test_where_building_is_forbidden_both_reasons_are_told(
    make_operator: MakeOperator, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_BUILD", "never")
    (build / "bin" / "dbt").unlink()

    with pytest.raises(AirflowException, match=r"(?s)is damaged: bin/dbt is missing.*virtualenv_build is never"):
        make_operator().execute({})


def test_a_command_that_requirements_do_not_bring_is_told_so(make_operator: MakeOperator) -> None:
    with pytest.raises(AirflowException, match=r"bin/dbt: No such file.*Nothing in py_requirements brings it"):
        make_operator(py_requirements=["dbt-core==9.6"]).execute({})
