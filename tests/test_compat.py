"""Facts that only Airflow's own commands and releases show: the command that runs, and the file that is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import airflow
import pytest

from cosmos_venv import compat
from cosmos_venv.compat import import_time_out_paused, is_typed_command
from tests.installed import AIRFLOW_2
from tests.operators.whole_airflow import DEADLINE, WholeAirflow
from tests.project.ls_place import writing

AIRFLOWS = {"3": Path(sys.executable), "2": AIRFLOW_2}
RELEASE = tuple(map(int, compat.AIRFLOW_VERSION.split(".")[:2]))
MODULE = str(Path(airflow.__file__).with_name("__main__.py"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("/bin/airflow dags test harbor", True, id="dags-test"),
        pytest.param("airflow dags test harbor 2026-01-01 --show-dagrun", True, id="with-more-words"),
        pytest.param(f"{MODULE} tasks test harbor piers_seed", True, id="as-a-module"),
        pytest.param("airflow tasks run harbor piers_seed manual --local", False, id="by-an-executor"),
        pytest.param("airflow dags list", True, id="all-dags"),
        pytest.param("airflow dags", False, id="only-a-group"),
        pytest.param("airflow scheduler", False, id="scheduler"),
        pytest.param("airflow dag-processor", False, id="dag-processor"),
        pytest.param("/usr/bin/celery worker", False, id="another-program"),
        pytest.param("/opt/dags/test harbor", False, id="a-script"),
    ],
)
def test_a_command_that_somebody_types_is_known(words: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", words.split())

    assert is_typed_command() is expected


@pytest.fixture
def start_timer() -> Iterator[Callable[[str], None]]:
    """Starts the timer of this process, with a handler of the module of that name."""
    before, (left, interval) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()

    def start(module: str) -> None:
        def handler(*_: object) -> None:
            raise AssertionError("the timer has run out")

        handler.__module__ = module
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 60.0)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    if left:  # that of pytest-timeout
        signal.setitimer(signal.ITIMER_REAL, max(0.1, left - (time.monotonic() - began)), interval)


@pytest.mark.parametrize(
    ("module", "for_task", "is_paused"),
    [
        ("airflow.utils.timeout", True, True),
        ("airflow.sdk.timeout", True, True),
        ("pytest_timeout", True, False),
        ("airflow.sdk.timeout", False, False),
    ],
)
def test_only_the_timer_of_airflow_is_paused_and_it_runs_on_after_a_failure_too(
    start_timer: Callable[[str], None], module: str, for_task: bool, is_paused: bool
) -> None:
    start_timer(module)

    with suppress(ValueError), import_time_out_paused(for_task=for_task):
        within, _ = signal.getitimer(signal.ITIMER_REAL)
        raise ValueError

    assert (within == 0) is is_paused
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60.0


def test_no_timer_is_started_where_none_ran(start_timer: Callable[[str], None]) -> None:
    start_timer("airflow.utils.timeout")
    signal.setitimer(signal.ITIMER_REAL, 0)

    with import_time_out_paused(for_task=True):
        pass

    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


SLOW_DBT = "#!/bin/sh\nsleep 8\n{answer}\n"
MANIFEST: dict[str, Any] = {
    "metadata": {"project_name": "harbor"},
    "nodes": {
        "model.harbor.mart": {
            "name": "mart",
            "unique_id": "model.harbor.mart",
            "resource_type": "model",
            "package_name": "harbor",
            "original_file_path": "models/mart.sql",
            "fqn": ["harbor", "mart"],
            "depends_on": {"nodes": []},
            "tags": [],
            "config": {},
        }
    },
}
DAG_FILE = """
# airflow
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv import InvocationMode, LoadMode
from cosmos_venv.compat import parsed_file

print("PARSED", parsed_file())
harbor = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig({project!r}),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
)
"""


# As a worker imports the file: under the import time-out, with the task in its environment variables.
CONTEXT = {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "harbor", "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "mart_run"}
WORKER_IMPORT = """
import sys
from airflow.models.dagbag import DagBag

try:
    from airflow.sdk.execution_time import task_runner
    task_runner.SUPERVISOR_COMMS = object()  # as in a process that Airflow 3 has started for a task
except ImportError:
    pass
bag = DagBag(sys.argv[1])
print(*bag.import_errors.values(), *(task.task_id for dag in bag.dags.values() for task in dag.tasks), sep="\\n")
"""


@pytest.mark.long
@pytest.mark.parametrize("is_for_a_task", [pytest.param(False, id="typed"), pytest.param(True, id="for-a-task")])
@pytest.mark.parametrize("release", AIRFLOWS)
def test_a_typed_command_and_a_task_wait_although_airflow_ends_imports_sooner(
    release: str, is_for_a_task: bool, tmp_path: Path, dbt_project: Path
) -> None:
    python = AIRFLOWS[release]
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no Airflow {release} at {python}")
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    dbt = tmp_path / "dbt"
    dbt.write_text(SLOW_DBT.format(answer=writing(tmp_path / "manifest.json")))
    dbt.chmod(0o755)
    whole = WholeAirflow(python=python, folder=tmp_path, variables={"AIRFLOW__CORE__LOAD_EXAMPLES": "False"})
    whole.dag_file.parent.mkdir(parents=True)
    whole.make_database()
    whole.dag_file.write_text(DAG_FILE.format(project=str(dbt_project), dbt=str(dbt)))

    words = ("-c", WORKER_IMPORT, whole.dag_file) if is_for_a_task else ("-m", "airflow", "tasks", "list", "harbor")
    done = subprocess.run(
        [python, *words],
        # Enough for all that this file imports on a busy machine, and less than dbt takes.
        env={
            **whole.environment,
            **(CONTEXT if is_for_a_task else {}),
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "7",
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "mart_run" in done.stdout
    assert "Traceback" not in output
    assert f"PARSED {whole.dag_file}" in output


@pytest.mark.skipif(RELEASE < (3, 3), reason="this Airflow has no task state store")
def test_airflow_shows_a_task_s_state_to_no_other_task_and_to_no_triggerer() -> None:
    """Else tasks that watch a producer could read its state, as docs/explanation/decisions.md says that they cannot."""
    triggerer: Any = import_module("airflow.jobs.triggerer_job_runner")
    api: Any = import_module("airflow.api_fastapi.execution_api.routes.task_state_store")

    assert "GetTaskStates" in str(triggerer.ToTriggerSupervisor)
    assert "GetTaskStateStore" not in str(triggerer.ToTriggerSupervisor)
    assert [each.scopes for each in api.router.dependencies] == [["ti:self"]]


def test_the_time_at_which_a_try_was_asked_for_is_in_the_id_of_the_task_instance() -> None:
    # As Airflow 3.3.2 has made it for a task that was cleared at 01:00:21.585, and whose trigger has begun at 01:00:23.
    ti = SimpleNamespace(id=UUID("01a21037-c951-7370-b2a6-fc925a75f9cc"))

    assert compat.try_requested_at({"ti": ti}) == pytest.approx(1795568421.2, abs=0.5)
    assert compat.try_requested_at({"ti": SimpleNamespace(id=str(ti.id))}) == compat.try_requested_at({"ti": ti})


@pytest.mark.parametrize("found", [None, "", 5, UUID("0b2e0c44-8a5f-4a86-9a6e-6b1a1c1d1e1f")])
def test_an_id_without_a_time_leaves_a_minute_before_the_begin(found: object) -> None:
    begun = datetime(2026, 1, 1, tzinfo=timezone.utc)

    assert compat.try_requested_at({"ti": SimpleNamespace(id=found, start_date=begun)}) == begun.timestamp() - 60
