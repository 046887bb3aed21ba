"""A task that loads its seed only if it has changed: what it does, leaves alone, remembers and says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pytest

from cosmos_venv.compat import DAG, AirflowException
from cosmos_venv.managed import caches
from cosmos_venv.operators.local import DbtSeedLocalOperator
from cosmos_venv.operators.seeds.seed_state import Scope, SeedLoads
from cosmos_venv.operators.virtualenv import DbtSeedVirtualenvOperator
from pytest_cosmos_venv import FakeVenv, RunDag, Variables
from tests.kit import MakeTask
from tests.operators.seeds.seed_task import SEED, seed_arguments

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Load(Protocol):
    """Run the task of the seed once more, in a run of this name, and return the context."""

    def __call__(self, run_id: str = "night", cls: type[Any] = ..., **arguments: Any) -> dict[str, Any]: ...


@pytest.fixture
def make_task(dbt_project: Path, cosmos_fake_venv: FakeVenv, cosmos_variables: Variables) -> MakeTask:
    """The task of the seed."""

    def make_task(cls: type[Any] = DbtSeedLocalOperator, **arguments: Any) -> Any:
        own = {} if cls is DbtSeedVirtualenvOperator else {"dbt_executable_path": cosmos_fake_venv.dbt}
        return cls(**seed_arguments(dbt_project, **own) | arguments)

    return make_task


@pytest.fixture
def load(make_task: MakeTask) -> Load:
    def load(run_id: str = "night", cls: type[Any] = DbtSeedLocalOperator, **arguments: Any) -> dict[str, Any]:
        context = {"run_id": run_id}
        make_task(cls, **arguments).execute(context)
        return context

    return load


def stored(variables: Variables) -> list[dict[str, Any]]:
    return [json.loads(value) for value in variables.values.values()]


def test_a_skip_does_not_import_what_runs_dbt(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load("first night")
    runs_dbt = "cosmos_venv.operators.run.dbt_run"
    monkeypatch.delitem(sys.modules, runs_dbt)  # it takes 30 ms, and a skip 4

    load("second night")

    assert runs_dbt not in sys.modules


def loads_of(operator: Any) -> SeedLoads:
    return SeedLoads(
        cache_dir=caches.cache_dir(),
        key=Scope.of(operator.dag_id, operator.task_group, {}, SEED).key,
    )


def digest(project: Path) -> str:
    return hashlib.sha256((project / "seeds" / "piers.csv").read_bytes()).hexdigest()


def test_what_was_loaded_is_remembered_with_its_run(load: Load, dbt_project: Path, cosmos_variables: Variables) -> None:
    load("first")

    (value,) = stored(cosmos_variables)
    assert (value["checksum"], value["run_id"], value["seed"]) == (digest(dbt_project), "first", SEED)


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


@pytest.mark.parametrize(
    "arguments",
    [
        {"full_refresh": True},
        {"full_refresh": " True "},
        {"dbt_cmd_flags": ["--full-refresh"]},
        {"dbt_cmd_flags": ["-f"]},
        {"dbt_cmd_flags": {"seed": ["-f"]}},
        {"env": {"DBT_FULL_REFRESH": "1"}},
    ],
    ids=str,
)
def test_a_full_refresh_runs_and_leaves_what_is_remembered_alone(
    arguments: dict[str, Any], load: Load, cosmos_fake_venv: FakeVenv, cosmos_variables: Variables
) -> None:
    load()
    before = dict(cosmos_variables.values)

    load("later", **arguments)

    assert len(cosmos_fake_venv.calls) == 2
    assert dict(cosmos_variables.values) == before


def test_what_interceptors_change_counts(load: Load, cosmos_fake_venv: FakeVenv) -> None:
    def refresh(context: Any, operator: Any) -> None:
        operator.full_refresh = True

    load()

    load(interceptors=[refresh])

    assert len(cosmos_fake_venv.calls) == 2


def test_flags_of_other_commands_are_no_full_refresh(load: Load, cosmos_fake_venv: FakeVenv) -> None:
    load()

    load(dbt_cmd_flags={"run": ["--full-refresh"]})

    assert len(cosmos_fake_venv.calls) == 1


def test_a_skip_makes_no_environment_and_takes_no_lock(load: Load, tmp_path: Path, monkeypatch: Any) -> None:
    load()
    monkeypatch.setenv("PATH", "")

    load(cls=DbtSeedVirtualenvOperator, py_requirements=["dbt-core==404"], virtualenv_dir=tmp_path / "environments")

    assert not (tmp_path / "environments").exists()


def test_a_task_that_was_not_told_so_always_runs(
    load: Load, cosmos_fake_venv: FakeVenv, cosmos_variables: Variables
) -> None:
    for _ in range(2):
        load(extra_context={})

    assert len(cosmos_fake_venv.calls) == 2
    assert not cosmos_variables.values


@pytest.mark.parametrize("exit_code", [1, 99])
def test_what_dbt_did_not_load_is_not_remembered(
    exit_code: int, load: Load, make_task: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_variables: Variables
) -> None:
    cosmos_fake_venv.script("seed", exit_code=exit_code)

    with pytest.raises(AirflowException):
        load()

    assert not cosmos_variables.values
    assert not loads_of(make_task()).broken_off(), "nobody has to be told"


def fail(project_dir: str, **_: Any) -> None:
    raise LookupError("the callback is at fault")


@pytest.mark.parametrize(
    ("exit_code", "arguments"),
    [pytest.param(1, {}, id="dbt-fails"), pytest.param(0, {"callback": fail}, id="the-task-fails-after-dbt")],
)
def test_after_a_failure_the_content_before_is_loaded_again(
    exit_code: int, arguments: dict[str, Any], load: Load, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    """The content of a table that a dbt has begun to load is unknown."""
    path = dbt_project / "seeds" / "piers.csv"
    before = path.read_text()
    load("first")
    path.write_text("id\n2\n")
    cosmos_fake_venv.script("seed", nth=1, exit_code=exit_code)
    with pytest.raises((AirflowException, LookupError)):
        load("second", **arguments)
    path.write_text(before)

    load("third")
    load("fourth")

    assert len(cosmos_fake_venv.calls) == 3


def test_what_cannot_be_read_is_loaded_and_the_content_before_again(
    load: Load, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    path = dbt_project / "seeds" / "piers.csv"
    load("first")
    path.rename(path.with_suffix(".away"))
    load("second")
    path.with_suffix(".away").rename(path)

    load("third")

    assert len(cosmos_fake_venv.calls) == 3


def test_a_cleared_task_is_skipped_as_that_of_any_later_run(load: Load, cosmos_fake_venv: FakeVenv) -> None:
    load("night")

    load("night")

    assert len(cosmos_fake_venv.calls) == 1


def test_a_task_that_is_tried_again_loads_what_its_first_try_did_not(
    make_task: MakeTask, cosmos_run_dag: RunDag, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("seed", nth=1, exit_code=1)
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        make_task(retries=1)

    nights = [cosmos_run_dag(dag), cosmos_run_dag(dag)]

    assert [(night.states, night.tasks["piers_seed"].tries) for night in nights] == [
        ({"piers_seed": "success"}, tries) for tries in (2, 1)
    ]
    assert len(cosmos_fake_venv.calls) == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("full_refresh", [False, True])
def test_dbt_is_not_started_on_a_named_pipe(
    full_refresh: bool, load: Load, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    (dbt_project / "seeds" / "piers.csv").unlink()
    os.mkfifo(dbt_project / "seeds" / "piers.csv")

    with pytest.raises(AirflowException, match=r"piers\.csv is a named pipe, which dbt would wait for. Put a CSV"):
        load(full_refresh=full_refresh)

    assert not cosmos_fake_venv.calls


def test_a_directory_in_its_place_is_a_warning_and_runs_dbt(
    load: Load,
    dbt_project: Path,
    cosmos_fake_venv: FakeVenv,
    cosmos_variables: Variables,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (dbt_project / "seeds" / "piers.csv").unlink()
    (dbt_project / "seeds" / "piers.csv").mkdir()

    load()

    assert len(cosmos_fake_venv.calls) == 1
    assert not cosmos_variables.values
    assert re.search(r"\[warning *\] The seed .*piers\.csv cannot be read: ", capsys.readouterr().out)


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


class Overtaken(DbtSeedLocalOperator):
    """Another run loads other content while this one's dbt runs, and the file comes back."""

    other: Callable[[], object]

    def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        self.other()
        return super().run_subprocess(command, env, cwd, **kwargs)


OvertakenBy = Callable[[Callable[[], object]], None]


@pytest.fixture
def overtaken_by(load: Load, monkeypatch: pytest.MonkeyPatch) -> OvertakenBy:
    """Run the task of the seed, during whose dbt something else happens."""

    def run(other: Callable[[], object]) -> None:
        monkeypatch.setattr(Overtaken, "other", staticmethod(other), raising=False)
        load("one", Overtaken)

    return run


def write_other_content(csv: Path) -> None:
    csv.write_text("id\n2\n")


@pytest.mark.parametrize(
    "change", [pytest.param(write_other_content, id="different"), pytest.param(Path.unlink, id="unknown")]
)
def test_of_two_runs_at_once_with_other_content_neither_is_believed(
    change: Callable[[Path], object],
    load: Load,
    overtaken_by: OvertakenBy,
    dbt_project: Path,
    cosmos_fake_venv: FakeVenv,
    tmp_path: Path,
) -> None:
    """Which of them wrote the table last is not known. Here the other worker has another copy of the project."""
    other = Path(shutil.copytree(dbt_project, tmp_path / "other"))
    change(other / "seeds" / "piers.csv")

    overtaken_by(lambda: load("other", project_dir=other))
    load("next")
    load("last")

    assert len(cosmos_fake_venv.calls) == 3


@pytest.mark.parametrize("before", [None, "id\n0\n"], ids=["nothing", "other-content"])
def test_what_another_run_has_loaded_is_forgotten_by_one_that_fails_after_it(
    before: str | None,
    load: Load,
    overtaken_by: OvertakenBy,
    dbt_project: Path,
    cosmos_fake_venv: FakeVenv,
    cosmos_variables: Variables,
) -> None:
    """Both have the same content. Of the table one half may be of the one that failed."""
    path = dbt_project / "seeds" / "piers.csv"
    now = path.read_text()
    if before is not None:
        path.write_text(before)
        load("before")
        path.write_text(now)
    calls = len(cosmos_fake_venv.calls)
    cosmos_fake_venv.script("seed", nth=2, exit_code=1)

    with pytest.raises(AirflowException):
        overtaken_by(lambda: load("other"))
    assert not cosmos_variables.values
    load("next")
    load("last")

    assert len(cosmos_fake_venv.calls) == calls + 3


def test_a_run_during_which_another_one_fails_is_not_believed(
    load: Load,
    overtaken_by: OvertakenBy,
    cosmos_fake_venv: FakeVenv,
    cosmos_variables: Variables,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        with pytest.raises(AirflowException):
            load("other")

    cosmos_fake_venv.script("seed", nth=1, exit_code=1)

    overtaken_by(fail)
    assert not cosmos_variables.values
    assert (
        "Another load of seed.harbor.piers has broken off meanwhile: the next run loads it" in capsys.readouterr().out
    )
    load("next")
    load("last")

    assert len(cosmos_fake_venv.calls) == 3


def test_a_load_that_broke_off_is_why_dbt_runs(
    load: Load, make_task: MakeTask, cosmos_fake_venv: FakeVenv, capsys: pytest.CaptureFixture[str]
) -> None:
    load("first")
    with loads_of(make_task()).own():
        pass

    load("second")
    load("third")

    assert "unchanged, but a load of it has broken off since." in capsys.readouterr().out
    assert len(cosmos_fake_venv.calls) == 2


def test_packages_that_are_installed_anew_meanwhile_are_loaded_again(
    make_task: MakeTask,
    dbt_project: Path,
    cosmos_fake_venv: FakeVenv,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """dbt may have run with either of the two."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    (dbt_project / "packages.yml").write_text("packages:\n  - package: port/ports\n")
    (tmp_path / "installed" / "ports" / "seeds").mkdir(parents=True)
    (tmp_path / "installed" / "ports" / "dbt_project.yml").write_text("name: ports\n")
    (tmp_path / "installed" / "ports" / "seeds" / "piers.csv").write_text("id\n1\n")
    node = {"unique_id": "seed.ports.piers", "original_file_path": "seeds/piers.csv"}
    of_package = {"dbt_node_config": node, "package_name": "ports", "should_run_if_seed_changed": True}

    def publish() -> None:
        packages = operator.packages_before_dbt(str(cosmos_fake_venv.dbt), {})
        store = packages.stores[-1]
        assert store.is_usable()
        store.publish(packages.digest, tmp_path / "installed", tmp_path / "no-lock-file", {})

    monkeypatch.setattr(Overtaken, "other", staticmethod(publish), raising=False)
    operator = make_task(Overtaken, extra_context=of_package)
    publish()

    operator.execute({"run_id": "first"})
    said = capsys.readouterr().out
    assert re.search(
        r"The installed packages that have .*piers\.csv were replaced or got too old while dbt ran: ", said
    )
    assert "was changed while dbt ran" not in said
    for run_id in ("second", "third"):
        make_task(extra_context=of_package).execute({"run_id": run_id})

    assert [call.command for call in cosmos_fake_venv.calls] == ["seed", "seed"]


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


def test_a_backend_of_metrics_that_fails_fails_no_task(
    load: Load, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError("no such host")

    monkeypatch.setattr(airflows_stats(), "incr", fail)

    load()

    assert len(cosmos_fake_venv.calls) == 1
