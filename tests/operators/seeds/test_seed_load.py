"""A task that loads its seed only if it has changed: what it does, leaves alone, remembers and says."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.local import DbtSeedLocalOperator
from cosmos_venv.operators.virtualenv import DbtSeedVirtualenvOperator
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import MakeTask
from tests.operators.seeds.seed_task import seed_arguments

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Load(Protocol):
    """Run the task of the seed once more, in a run of this name, and return the context."""

    def __call__(self, run_id: str = "night", cls: type[Any] = ..., **arguments: Any) -> dict[str, Any]: ...


@pytest.fixture
def make_task(dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow) -> MakeTask:
    """The task of the seed."""

    assert not cosmos_airflow.variables.values

    def make_task(of: Any = DbtSeedLocalOperator, **arguments: Any) -> Any:
        own = {} if of is DbtSeedVirtualenvOperator else {"dbt_executable_path": cosmos_fake_venv.dbt}
        return of(**seed_arguments(dbt_project, **own) | arguments)

    return make_task


@pytest.fixture
def load(make_task: MakeTask) -> Load:
    def load(run_id: str = "night", cls: type[Any] = DbtSeedLocalOperator, **arguments: Any) -> dict[str, Any]:
        context = {"run_id": run_id}
        make_task(cls, **arguments).execute(context)
        return context

    return load


def digest(project: Path) -> str:
    return hashlib.sha256((project / "seeds" / "piers.csv").read_bytes()).hexdigest()


def test_a_task_says_in_one_line_why_it_does_what(
    load: Load, dbt_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, before = dbt_project / "seeds" / "piers.csv", digest(dbt_project)

    def said() -> list[str]:
        return re.findall(r"\] (dbt .*?) +\[", capsys.readouterr().out)

    load("first")
    assert said() == [f"dbt runs: {path} has the SHA-256 {before}, and no earlier one is remembered."]
    load("second")
    (line,) = said()
    assert line.startswith(f"dbt does not run: {path} has the SHA-256 {before}, unchanged since run first (20")
    path.write_text("id\n2\n")
    load("third")
    (line,) = said()
    assert line.startswith(f"dbt runs: {path} has the SHA-256 {digest(dbt_project)}, and had {before} since run f")
    load("fourth", full_refresh=True)
    assert said() == ["dbt loads seed.harbor.piers, whatever is remembered of it: this is a full refresh."]


def test_what_interceptors_change_counts(load: Load, cosmos_fake_venv: FakeVenv) -> None:
    def refresh(context: Any, operator: Any) -> None:
        operator.full_refresh = True

    load()

    load(interceptors=[refresh])

    assert len(cosmos_fake_venv.calls) == 2


def test_a_skip_makes_no_environment_and_takes_no_lock(load: Load, tmp_path: Path, monkeypatch: Any) -> None:
    load()
    monkeypatch.setenv("PATH", "")

    load(cls=DbtSeedVirtualenvOperator, py_requirements=["dbt-core==404"], virtualenv_dir=tmp_path / "environments")

    assert not (tmp_path / "environments").exists()


@pytest.mark.parametrize("exit_code", [1, 99])
def test_what_dbt_did_not_load_is_not_remembered(
    exit_code: int, load: Load, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    cosmos_fake_venv.script("seed", exit_code=exit_code)

    with pytest.raises(AirflowException):
        load()

    assert not cosmos_airflow.variables.values


def test_a_full_refresh_does_not_read_the_seed(
    load: Load, dbt_project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__UNREPORTED_NODES", "warn")
    (dbt_project / "seeds" / "piers.csv").unlink()
    (dbt_project / "models" / "staging.sql").unlink()  # dbt refuses a project whose model reads a missing seed
    (dbt_project / "models" / "mart.sql").unlink()
    load()
    said_of_a_load = capsys.readouterr().out
    load(full_refresh=True)

    assert "cannot be read" in said_of_a_load
    assert "cannot be read" not in capsys.readouterr().out


class Changing(DbtSeedLocalOperator):
    """Its seed is changed while dbt runs."""

    def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        Path(self.project_dir, "seeds", "piers.csv").write_text("id\n3\n")
        return super().run_subprocess(command, env, cwd, **kwargs)


@pytest.mark.parametrize("later", ["id\n1\n", "id\n2\n", "id\n3\n"], ids=["before", "hashed", "meanwhile"])
def test_after_a_change_in_the_middle_of_dbt_any_content_is_loaded(
    later: str, load: Load, dbt_project: Path, cosmos_fake_venv: FakeVenv, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table may hold what was hashed or what came then, and surely not what was remembered before."""
    path = dbt_project / "seeds" / "piers.csv"
    path.write_text("id\n1\n")
    load("first")
    path.write_text("id\n2\n")
    load("second", Changing)
    assert f"{path} was changed while dbt ran: the next run loads it again." in capsys.readouterr().out
    path.write_text(later)

    load("third")
    load("fourth")

    assert len(cosmos_fake_venv.calls) == 3


def airflows_stats() -> Any:
    try:
        return import_module("airflow.sdk.observability.stats").Stats
    except ImportError:  # before Airflow 3.2
        return import_module("airflow.stats").Stats


def test_loads_and_skips_are_counted_in_airflows_metrics(
    load: Load, dbt_project: Path, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(airflows_stats(), "incr", lambda name, tags: counted.append((name, tags)))

    load()
    load()
    load(full_refresh=True)
    cosmos_fake_venv.script("seed", exit_code=1)
    with pytest.raises(AirflowException):
        load(full_refresh=True)

    tags = {"dag_id": "adhoc_airflow", "task_id": "piers_seed"}
    assert counted == [(f"cosmos_venv.seeds.{what}", tags) for what in ("run", "skipped", "run")]
