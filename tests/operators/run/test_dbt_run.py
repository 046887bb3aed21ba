"""One run of a local operator: which dbt it starts, where that writes, what is kept of it, who is told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.invocation import which_dbt
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.operators.memory_tracking import XCOM_KEY, memory_tracked
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import MakeTask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class ParsingRun(DbtRunLocalOperator):
    """dbt run, as if the fake wrote a parse file."""

    def run_subprocess(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        result = super().run_subprocess(command, env, cwd, **kwargs)
        Path(cwd, "target").mkdir(exist_ok=True)
        Path(cwd, "target", "partial_parse.msgpack").write_bytes(msgspec.msgpack.encode({"parsed": True}))
        return result


@pytest.mark.parametrize("exit_code", [0, 1], ids=["success", "failure"])
def test_the_parse_file_is_kept_where_it_is_said_after_a_failure_too(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, tmp_path: Path, exit_code: int
) -> None:
    """A failing test or model has been parsed like any other."""
    if exit_code:
        cosmos_fake_venv.script("run", exit_code=exit_code)
    operator = make_here(ParsingRun, cache_dir=tmp_path / "cache")

    with pytest.raises(AirflowException, match="exit code 1") if exit_code else nullcontext():
        operator.execute({})

    (kept,) = (tmp_path / "cache").rglob("*.msgpack")
    assert msgspec.msgpack.decode(kept.read_bytes()) == {"parsed": True}


def test_another_dbt_at_the_same_path_has_a_parse_file_of_its_own(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, tmp_path: Path
) -> None:
    """An upgrade in place makes such a dbt."""
    make_here(ParsingRun, cache_dir=tmp_path / "cache").execute({})
    (core,) = cosmos_fake_venv.dbt.parents[1].glob("lib/python3*/site-packages/dbt_core-*.dist-info")
    core.rename(core.with_name("dbt_core-99.0.dist-info"))
    make_here(ParsingRun, cache_dir=tmp_path / "cache").execute({})

    assert len(list((tmp_path / "cache").rglob("*.msgpack"))) == 2


def test_a_dbt_in_the_worker_is_told_from_one_that_stands_elsewhere(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though one path may have been given for both: what is kept of the one is no use to the other."""
    elsewhere = str(cosmos_fake_venv.dbt)
    as_process, in_worker = (which_dbt(elsewhere, mode) for mode in InvocationMode)
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(cosmos_fake_venv.dbt.parent))

    assert as_process.startswith(elsewhere)
    assert in_worker.startswith("in this Python")
    assert which_dbt(elsewhere, InvocationMode.DBT_RUNNER) == as_process


@pytest.mark.parametrize("by", ["env", "variable", "flag"])
def test_artifacts_are_found_where_the_user_has_dbt_write_them(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, tmp_path: Path, by: str
) -> None:
    cosmos_fake_venv.script("run", nodes={"mart": "error"})
    mine = tmp_path / "mine"
    ways: dict[str, dict[str, Any]] = {
        "env": {"env": {"DBT_TARGET_PATH": str(mine)}},
        "variable": {"env": {"DBT_ENGINE_TARGET_PATH": str(mine)}},
        "flag": {"dbt_cmd_flags": ["--target-path", str(mine)]},
    }

    with pytest.raises(AirflowException, match=r"model\.harbor\.mart: error"):
        make_here(**ways[by]).execute({})

    assert (mine / "run_results.json").exists()


@pytest.mark.parametrize("executable", [None, "dbt", "bin/dbt"])
def test_dbt_is_the_one_that_the_worker_finds_although_its_path_is_not_handed_on(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    folder = cosmos_fake_venv.dbt.parent
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.chdir(folder.parent)

    make_here(dbt_executable_path=executable, append_env=False).execute({})

    (call,) = cosmos_fake_venv.calls
    assert "PATH" not in call.env


def test_callbacks_are_called_when_dbt_deps_has_failed(
    make_here: MakeTask, cosmos_fake_venv: FakeVenv, dbt_project: Path
) -> None:
    """It is a failure like any other: who notifies somebody of one wants this told too."""
    (dbt_project / "packages.yml").write_text("packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n")
    cosmos_fake_venv.script("deps", exit_code=2, stdout=["Could not resolve host"])
    called: list[str] = []

    with pytest.raises(AirflowException, match=r"(?s)exit code 2.*Could not resolve host"):
        make_here(callback=lambda project_dir, **_: called.append(project_dir)).execute({})

    assert len(called) == 1
    assert [call.command for call in cosmos_fake_venv.calls] == ["deps"]


def test_the_most_that_the_task_and_all_below_it_took_counts_also_when_it_is_given_back(make_here: MakeTask) -> None:
    pushed: dict[str, float] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    hungry = "import sys; block = b'x' * 200_000_000; sys.stdin.read()"
    before = psutil.Process().memory_info().rss / 1024**2
    deadline = time.monotonic() + 60

    with (
        memory_tracked(make_here().log, {"ti": ti}, interval=0.01) as most,
        subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE) as process,
    ):
        while most() < before + 180 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert process.stdin is not None
        process.stdin.close()

    assert pushed[XCOM_KEY] > before + 180


@pytest.mark.parametrize("exit_code", [0, 1], ids=["success", "failure"])
def test_the_memory_of_a_task_is_told_where_the_debug_mode_asks(
    make_here: MakeTask,
    cosmos_fake_venv: FakeVenv,
    cosmos_airflow: CosmosAirflow,
    monkeypatch: pytest.MonkeyPatch,
    exit_code: int,
) -> None:
    if exit_code:
        cosmos_fake_venv.script("run", exit_code=exit_code)
    assert XCOM_KEY not in cosmos_airflow.run(make_here()).xcoms
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_DEBUG_MODE", "True")
    monkeypatch.setenv("AIRFLOW__COSMOS__DEBUG_MEMORY_POLL_INTERVAL_SECONDS", "0.01")

    ran = cosmos_airflow.run(make_here())

    assert ran.xcoms[XCOM_KEY] > 10
    assert f"Max memory usage (RSS, incl. children): {ran.xcoms[XCOM_KEY]:.2f} MB" in ran.log
