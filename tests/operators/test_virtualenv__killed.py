"""A virtualenv task that is killed: dbt and what it started are ended, whatever they do about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from cosmos_venv.compat import AirflowException
from tests.kit import DbtCalls, DbtProcesses, MakeOperator

DEADLINE = 30.0


@pytest.mark.long
def test_on_kill_ends_a_dbt_that_ignores_signals_and_its_child(
    make_operator: MakeOperator, dbt_processes: DbtProcesses
) -> None:
    operator = make_operator(py_requirements=["dbt-core==9.2"])
    running: list[psutil.Process] = []

    def kill_once_it_runs() -> None:
        running.extend(dbt_processes())
        operator.on_kill()

    killer = threading.Thread(target=kill_once_it_runs)
    killer.start()
    with pytest.raises(AirflowException, match="Task run was killed"):
        operator.execute({})
    killer.join(DEADLINE)

    assert len(running) == 2
    assert not [process for process in running if process.is_running()]


def test_a_kill_before_the_command_begins_is_not_lost_and_counts_once(
    make_operator: MakeOperator, dbt_calls: DbtCalls
) -> None:
    """Airflow may kill while it still renders templates."""
    operator = make_operator()

    operator.on_kill()
    with pytest.raises(AirflowException, match="Task run was killed"):
        operator.execute({})
    operator.execute({})
    operator.on_kill()
    operator.execute({})

    assert len(dbt_calls()) == 2


@pytest.mark.long
@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGKILL], [signal.SIGKILL]], ids=["asked", "at-once"])
def test_a_killed_worker_takes_dbt_along(
    make_operator: MakeOperator, dbt_processes: DbtProcesses, signals: list[signal.Signals], tmp_path: Path
) -> None:
    """Airflow 3's supervisor sends SIGTERM to a handler that returns, then SIGKILL to the task's process group."""
    operator = make_operator(py_requirements=["dbt-core==9.2"])
    arguments = {
        "task_id": "run",
        "project_dir": str(operator.project_dir),
        "py_requirements": operator.py_requirements,
        "pip_install_options": operator.pip_install_options,
        "virtualenv_dir": operator.virtualenv_dir,
    }
    source = f"""
        import json, signal
        from cosmos_venv.config import ProfileConfig
        from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
        arguments = json.loads({json.dumps(arguments)!r})
        profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=arguments["project_dir"] + "/profiles.yml")
        operator = DbtRunVirtualenvOperator(profile_config=profile, **arguments)
        signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
        operator.execute({{}})
    """
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what a killed worker leaves there goes with the test
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    dbt = dbt_processes()
    for number in signals:
        os.killpg(worker.pid, number)
    worker.wait(DEADLINE)

    assert len(dbt) == 2
    assert not psutil.wait_procs(dbt, timeout=DEADLINE)[1]
