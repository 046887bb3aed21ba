"""Tasks of Cosmos in one ``virtualenv_dir``, explored in its own environment, from outside.

A task is an operator's ``run_command``. Nothing is installed: Airflow's ``prepare_virtualenv`` and the operator's
``run_subprocess``, both public, begin and end a span. Collected by ``test_explorer__cosmos.py`` alone.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule

HOME = Path(os.environ["AIRFLOW_HOME"])
NO_PROCESS = 2**22 + 1  # beyond the largest number that Linux gives to a process
WORK = ExitStack()
ERRORS = (ValueError, FileNotFoundError)
logging.disable()  # lines for nobody, which take a third of the time
os.environ["AIRFLOW__COSMOS__VIRTUALENV_MAX_RETRIES_LOCK"] = "3"


def prepare_virtualenv(*, venv_directory: str, **_: Any) -> str:
    WORK.enter_context(tasks[0].span("work"))
    return f"{venv_directory}/bin/python"


tasks: list[Contender] = []
# Before Cosmos is imported, which takes the function from there.
python_virtualenv: Any = import_module("airflow.providers.standard.utils.python_virtualenv")
python_virtualenv.prepare_virtualenv = prepare_virtualenv
operators: Any = import_module("cosmos.operators.virtualenv")
config: Any = import_module("cosmos.config")
subprocesses: Any = import_module("cosmos.hooks.subprocess")


class Run(operators.DbtRunVirtualenvOperator):  # type: ignore[misc] # Cosmos is in another environment
    def run_subprocess(self, *_: Any, **__: Any) -> Any:
        WORK.close()
        return subprocesses.FullOutputSubprocessResult(exit_code=0, output="", full_output=[])


def task(contender: Contender) -> None:
    tasks[:] = [contender]
    operator = Run(
        task_id="run",
        project_dir=HOME / "project",
        profile_config=config.ProfileConfig(
            profile_name="p", target_name="t", profiles_yml_filepath=HOME / "project" / "profiles.yml"
        ),
        virtualenv_dir=contender.folder,
        py_requirements=["dbt-core"],
        emit_datasets=False,
    )
    operator.run_command(["dbt", "run"], {}, {"run_id": "r"})


def dead_owner(folder: Path) -> None:
    (folder / "cosmos_virtualenv.lock").write_text(str(NO_PROCESS))


def one_at_a_time(run: Schedule) -> None:
    if run.timeline.count("work"):
        run.timeline.assert_max_concurrent("work", 1)


CASES: dict[str, dict[str, Any]] = {
    "two tasks find no lock": {"preemptions": 2, "may_raise": ERRORS},
    "two tasks find the lock of a dead process": {"preemptions": 2, "fresh": dead_owner, "may_raise": ERRORS},
    "a task reads a half-written lock": {"preemptions": 1},
    "a task opens a lock that the other task removes": {"preemptions": 1, "fresh": dead_owner},
    "the owner is killed before it writes its PID": {"preemptions": 0, "kills": 1, "after": task},
}


@pytest.mark.parametrize("case", CASES)
def test_explored(cosmos_race: CosmosRace, case: str) -> None:
    given = {"kills": 0, "check": one_at_a_time, **CASES[case]}
    tasks = [task] if "after" in given else [task, task]

    with pytest.raises(FailingSchedule) as found:
        # Of two who find the lock of a dead process, the 96th schedule fails: it came after the default of 60 s.
        cosmos_race.explore(tasks, **given, at_most=200, seconds=400)

    seed = json.loads((HOME / "seeds.json").read_text()).get(case, found.value.seed)
    bounds = ("preemptions", "kills")
    with pytest.raises(FailingSchedule) as failure:
        cosmos_race.replay(seed, tasks, **{name: value for name, value in given.items() if name not in bounds})
    seen = {
        "found": str(found.value).partition("\n")[0],
        "seed": found.value.seed,
        "replayed": str(failure.value).partition("\n")[0],
        "diverged": failure.value.run.divergence,
        "table": failure.value.run.table(),
    }
    (HOME / f"{case}.json").write_text(json.dumps(seen))
