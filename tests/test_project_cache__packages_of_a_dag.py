"""A DAG of a project with packages: what parsing has installed is what its tasks run with."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProjectConfig, RenderConfig, project_cache
from cosmos_venv.compat import AirflowException
from cosmos_venv.managed import resolve
from cosmos_venv.operators.local import DbtDepsLocalOperator, DbtRunLocalOperator
from pytest_cosmos_venv import CosmosDbt, FakeVenv
from tests.kit import SetUmask, harbor_profile, operator_arguments


@pytest.fixture
def harbor(dbt_project: Path) -> Path:
    (dbt_project / "packages.yml").write_text("packages:\n  - package: port/cranes\n")
    return dbt_project


def load(project: Path, environments: Path) -> DbtDag:
    return DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project, dbt_vars={"day": "Monday"}),
        profile_config=harbor_profile(project),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=environments),
        render_config=RenderConfig(load_method=LoadMode.DBT_LS),
        operator_args={"py_requirements": ["dbt-core", "dbt-duckdb"]},
    )


def test_parsing_installs_and_tasks_and_later_parses_use_it(
    harbor: Path, cosmos_dbt: CosmosDbt, tmp_path: Path
) -> None:
    dag: Any = load(harbor, tmp_path / "environments")
    load(harbor, tmp_path / "environments")
    for task in dag.tasks:
        task.execute({})

    assert [call.command for call in cosmos_dbt.calls] == ["deps", "ls", "seed", "run", "run"]


@pytest.mark.parametrize(("setting", "value"), [("ENABLE_CACHE", "False"), ("PACKAGES_MAX_AGE", "0")])
@pytest.mark.usefixtures("own_cache")
def test_the_settings_decide_how_long_packages_are_used(
    harbor: Path, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{setting}", value)

    for _ in range(2):
        DbtRunLocalOperator(**operator_arguments(harbor, dbt_executable_path=cosmos_fake_venv.dbt)).execute({})

    assert [call.command for call in cosmos_fake_venv.calls].count("deps") == 2


def test_the_cache_folder_is_this_users_alone_whoever_makes_it(
    harbor: Path, cosmos_fake_venv: FakeVenv, own_cache: Path, set_umask: SetUmask
) -> None:
    """The kept files of a parse are not read where others can write."""
    set_umask(0o002)

    DbtRunLocalOperator(**operator_arguments(harbor, dbt_executable_path=cosmos_fake_venv.dbt)).execute({})

    made = [own_cache, *own_cache.glob("*")]
    assert len(made) == 2
    assert [path for path in made if path.stat().st_mode & 0o077] == []


@pytest.mark.usefixtures("own_cache")
def test_packages_are_looked_for_where_environments_are_and_built_where_they_are_built(
    harbor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_SEARCH_PATH", str(tmp_path / "image"))

    def folders(virtualenv_dir: Path | None) -> list[str]:
        packages = project_cache.project_packages(harbor, virtualenv_dir, variables=None, env={}, which_dbt="1")
        return [store.folder.parent.name for store in packages.stores if not store.is_read_only]

    assert folders(None) == ["cache"]
    assert folders(tmp_path / "mine") == ["mine", "cache"]
    with resolve.foreground_imports(resolve.Foreground(directory=tmp_path / "image")):
        assert folders(tmp_path / "mine") == ["image", "cache"]
    searched = project_cache.project_packages(harbor, tmp_path / "mine", variables=None, env={}, which_dbt="1").stores[
        0
    ]
    assert (searched.folder, searched.is_read_only) == (tmp_path / "image" / "packages-v1", True)


@pytest.mark.parametrize(
    "flags", [{}, {"partial_parse": False, "dbt_cmd_global_flags": ["--no-use-colors"]}], ids=["plain", "global-flags"]
)
@pytest.mark.usefixtures("own_cache")
def test_a_task_of_dbt_deps_installs_for_the_tasks_behind_it(
    flags: dict[str, Any], harbor: Path, cosmos_fake_venv: FakeVenv
) -> None:
    arguments = operator_arguments(harbor, dbt_executable_path=cosmos_fake_venv.dbt)

    for _ in range(2):
        DbtDepsLocalOperator(**arguments, **flags, install_deps=False, dbt_cmd_flags=["--upgrade"]).execute({})
    DbtRunLocalOperator(**arguments).execute({})
    (harbor / "packages.yml").unlink()
    DbtDepsLocalOperator(**arguments).execute({})

    assert [call.command for call in cosmos_fake_venv.calls] == ["deps", "run"]
    assert "--upgrade" in cosmos_fake_venv.calls[0].arguments
    assert not (harbor / "dbt_packages").exists()


def test_a_task_of_dbt_deps_fails_where_no_packages_are_kept(
    harbor: Path, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE", "False")
    task = DbtDepsLocalOperator(**operator_arguments(harbor, dbt_executable_path=cosmos_fake_venv.dbt))

    with pytest.raises(AirflowException, match=r"\[cosmos\] enable_cache is False, so packages are not kept"):
        task.execute({})

    assert not cosmos_fake_venv.calls
