"""dbt in the worker's own process: a real one where Airflow and dbt share a Python, and one that waits for a kill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt import invocation
from cosmos_venv.dbt.native.program import MAGIC
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.exceptions import CosmosDbtRunError
from cosmos_venv.operators.local import DbtRunLocalOperator
from cosmos_venv.processes.cancellation import Cancellation
from tests.installed import DBT_111, ROOT, site_packages_of
from tests.kit import operator_arguments

DEADLINE = 200.0

# Ends itself as a task is ended, and answers as dbt does: whatever is raised becomes a part of the result.
WAITING = """
import os, signal, threading
from types import SimpleNamespace

class dbtRunner:
    def __init__(self, callbacks=None):
        pass

    def invoke(self, args):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        except BaseException as error:
            return SimpleNamespace(success=False, exception=error, result=None)
        return SimpleNamespace(success=True, exception=None, result=None)
"""


def run_child(project: Path, site_packages: Path, *scenarios: str) -> dict[str, Any]:
    """The child's Python is this one; what stands in the folder comes after its own packages."""
    start = f"import runpy, sys; sys.path.append({str(site_packages)!r}); sys.path[:0] = [{str(ROOT)!r}]; "
    words = [str(project), *scenarios]
    child = str(Path(__file__).resolve().parents[1] / "operators" / "runner_child.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{start}runpy.run_path({child!r}, run_name='__main__')", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        cwd=project,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.fixture(scope="module")
def waiting_dbt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("waiting")
    (folder / "dbt" / "cli").mkdir(parents=True)
    for name, text in {"dbt/__init__.py": "", "dbt/cli/__init__.py": "", "dbt/cli/main.py": WAITING}.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.long
@pytest.mark.skipif(site_packages_of(DBT_111) is None, reason="no dbt 1.11 of this Python at .cache/envs/dbt111")
def test_a_real_dbt_runs_in_the_worker_and_leaves_it_as_it_was(dbt_project: Path) -> None:
    models = dbt_project / "models"
    (models / "staging.sql").write_text("select 1 as id\n")
    (models / "broken.sql").write_text("select nothing from {{ ref('staging') }}\n")
    packages = site_packages_of(DBT_111)
    assert packages is not None

    done = run_child(dbt_project, packages, "chooses", "succeeds", "fails", "does_not_compile")

    assert done["chooses"] == {"mode": "DBT_RUNNER"}
    succeeded, failed, uncompiled = done["succeeds"], done["fails"], done["does_not_compile"]
    assert succeeded["said"] == ""
    assert {"MainReportVersion", "CommandCompleted"} <= set(succeeded["events"])
    assert succeeded["seen"] == ["yes"]
    assert "-- compiled/harbor/models/staging.sql\nselect 1 as id" in succeeded["sql"]
    head, node, *_ = failed["said"].splitlines()
    assert head == "CosmosDbtRunError: dbt invocation completed with errors:"
    assert node.startswith("model.harbor.broken: error: ")
    assert "compiled code at target/compiled/harbor/models/broken.sql" in failed["said"]
    assert failed["called"] == 1
    assert sum("'no_such_macro' is undefined" in line for line in uncompiled["said"].splitlines()) == 1
    assert all(each["worker_is_as_it_was"] for each in (succeeded, failed, uncompiled))
    assert not (dbt_project / "target").exists()


# Finds plugins as dbt does: each top-level module whose name begins with dbt_.
FINDING = """
import importlib, pkgutil
from types import SimpleNamespace

class dbtRunner:
    def __init__(self, callbacks=()):
        self.callbacks = callbacks

    def invoke(self, args):
        for _, name, _ in pkgutil.iter_modules():
            if name.startswith("dbt_"):
                importlib.import_module(name)
        for call_back in self.callbacks:
            call_back(SimpleNamespace(info=SimpleNamespace(name="", msg=""), data=None))
        return SimpleNamespace(success=True, exception=None, result=None)
"""


@pytest.mark.long
def test_no_module_of_the_users_folders_is_a_plugin_of_a_dbt_in_the_worker(
    dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague's DAG file dbt_hello.py failed each task. What a callback imports from there is still found."""
    (tmp_path / "packages" / "dbt" / "cli").mkdir(parents=True)
    for name, text in {"dbt/__init__.py": "", "dbt/cli/__init__.py": "", "dbt/cli/main.py": FINDING}.items():
        (tmp_path / "packages" / name).write_text(text)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(tmp_path / "plugins"))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))

    done = run_child(dbt_project, tmp_path / "packages", "finds_plugins")["finds_plugins"]

    assert done["said"] == ""
    assert done["late"] == ["imported_late"]
    assert done["path_is_as_it_was"]


def test_the_last_line_names_the_adapter_that_is_missing(tmp_path: Path) -> None:
    error = RuntimeError(
        'Runtime Error\n  Credentials in profile "harbor" invalid\n    Could not find adapter type trino!'
    )

    with pytest.raises(CosmosDbtRunError, match=r"type 'trino' of the profile: add dbt-trino to .* beside this dbt\.$"):
        invocation.raise_for(SimpleNamespace(success=False, exception=error, result=None), Artifacts(target=tmp_path))


@pytest.mark.long
@pytest.mark.skipif(site_packages_of(DBT_111) is None, reason="no dbt 1.11 of this Python at .cache/envs/dbt111")
def test_the_next_try_of_a_batch_in_the_worker_runs_what_is_not_done(
    dbt_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    target = f"{{type: duckdb, path: '{tmp_path}/harbor.duckdb'}}"
    (dbt_project / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{dev: {target}}}}}\n")
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id\n")
    (dbt_project / "models" / "broken.sql").write_text("select nothing from {{ ref('staging') }}\n")
    packages = site_packages_of(DBT_111)
    assert packages is not None

    done = run_child(dbt_project, packages, "runs_a_batch")["runs_a_batch"]

    first, second = done["said"]
    assert first["said"].startswith("CosmosDbtRunError: broken failed, 1 of 2 nodes done.")
    assert second["said"] == ""
    assert done["nodes"] == [
        {"model.harbor.staging": ["success", 1], "model.harbor.broken": ["error", 1]},
        {"model.harbor.staging": ["success", 1], "model.harbor.broken": ["success", 2]},
    ]
    assert first["worker_is_as_it_was"]
    assert second["worker_is_as_it_was"]
    assert not [*(tmp_path / "cache").glob("journals-v1/*")]


@pytest.mark.long
def test_a_kill_interrupts_dbt_and_a_time_out_reaches_the_task(dbt_project: Path, waiting_dbt: Path) -> None:
    done = run_child(dbt_project, waiting_dbt, "is_killed", "is_timed_out", "chooses_the_executable")

    assert done["is_killed"] == {
        "said": "AirflowException: Task task was killed; its dbt was ended.",
        "worker_is_as_it_was": True,
    }
    assert done["is_timed_out"] == {"said": "TimedOut: the time-out of the task", "worker_is_as_it_was": True}
    assert done["chooses_the_executable"] == {"mode": "SUBPROCESS"}


def test_without_a_dbt_in_the_worker_the_error_says_what_to_do(tmp_path: Path) -> None:
    assert not invocation.is_importable()
    with pytest.raises(CosmosDbtRunError) as refused:
        invocation.run_in_process(
            ["run"], env={}, cwd=tmp_path, user_code=(), callbacks=(), cancellation=Cancellation()
        )

    assert re.fullmatch(
        r"InvocationMode\.DBT_RUNNER needs dbt in Airflow's own environment, and it cannot be imported: No module "
        r"named 'dbt.*'\. dbt 2 is a native program, which nothing can import\. Install dbt-core 1 there, or give "
        r"InvocationMode\.SUBPROCESS or ExecutionMode\.VIRTUALENV\.",
        str(refused.value),
    )


@pytest.mark.parametrize(
    ("executable", "expected"),
    [
        pytest.param(None, True, id="there is no other"),
        pytest.param(str(Path(sys.executable).with_name("dbt")), True, id="of this Python"),
        pytest.param("/opt/dbt/bin/dbt", False, id="another one"),
    ],
)
def test_the_choice_never_changes_which_dbt_runs(executable: str | None, expected: bool) -> None:
    assert invocation.is_same_dbt(executable) is expected


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"invocation_mode": InvocationMode.DBT_RUNNER}, id="by-name"),
        pytest.param({"dbt_runner_callbacks": [print]}, id="by-callbacks"),
    ],
)
def test_a_native_dbt_is_not_run_by_the_runner_of_another_one(
    dbt_project: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    program = tmp_path / "dbt"
    program.write_bytes(MAGIC[0])
    program.chmod(0o755)
    task = DbtRunLocalOperator(**operator_arguments(dbt_project, dbt_executable_path=program, **given))

    with pytest.raises(AirflowException) as refused:
        task.execute({})

    assert str(refused.value) == (
        f"invocation_mode is DBT_RUNNER, and the dbt to run, {program}, is a native program, as dbt 2 is: nothing can "
        "import it. Give InvocationMode.SUBPROCESS, without dbt_runner_callbacks, or in dbt_executable_path the dbt 1 "
        "of Airflow's own environment."
    )
