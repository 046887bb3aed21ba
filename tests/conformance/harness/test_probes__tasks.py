"""A task of the suite is told to end as Airflow tells a task: on Airflow 2 and 3, as their own handlers do it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.conformance.adapter import Adapter, AdapterError, Outcome, Task
from pytest_cosmos_venv.conformance.harness.probes import performed

ROOT = Path(__file__).resolve().parents[3]
AIRFLOW_2 = ROOT / ".cache" / "envs" / "cosmos2" / "bin" / "python"

TOLD = """
import os, signal
from functools import partial
from pytest_cosmos_venv.conformance.cosmos_layout import obey

TASK = os.getpid()
print = partial(print, "seen:", flush=True)

class Operator:
    def on_kill(self):
        print("on_kill of", "the task" if os.getpid() == TASK else "its child")

obey(Operator())
is_there, goes_on = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.write(is_there[1], b".")  # Python forgets a signal that comes while it forks
    os.read(goes_on[0], 1)
    os._exit(7)
os.read(is_there[0], 1)
os.kill(child, signal.SIGTERM)
os.write(goes_on[1], b".")
print("child left with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    os.kill(TASK, signal.SIGTERM)
    print("went on")
except Exception as error:
    print("may catch", type(error).__name__)
except BaseException as error:
    print("was ended by", type(error).__name__)
"""


@pytest.mark.parametrize(
    ("python", "child", "then"),
    [
        pytest.param(Path(sys.executable), 7, "went on", id="airflow-3"),
        pytest.param(
            AIRFLOW_2,
            1,
            "was ended by AirflowTaskTerminated",
            marks=pytest.mark.skipif(
                not AIRFLOW_2.exists() and os.environ.get("CI") != "true",
                reason="no Airflow 2.11 at .cache/envs/cosmos2: make test makes it",
            ),
            id="airflow-2",
        ),
    ],
)
def test_a_task_is_told_to_end_as_airflow_does_it(tmp_path: Path, python: Path, child: int, then: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}

    done = subprocess.run(
        [str(python), "-c", TOLD],
        env={**kept, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )

    seen = [line.removeprefix("seen: ") for line in done.stdout.splitlines() if line.startswith("seen: ")]
    assert seen == [f"child left with {child}", "on_kill of the task", then]


class Answers(Adapter):
    """Performs a task by an answer, or by raising it."""

    import_root = "another"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def perform(self, task: Task) -> Outcome:  # noqa: ARG002 - it answers all alike
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return] # whatever it is


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(None, "must return an Outcome, not NoneType", id="nothing"),
        pytest.param(OSError("no dbt"), r"raised OSError: no dbt\. A task that fails is told by what it", id="raised"),
    ],
)
def test_what_an_adapter_says_of_a_task_is_read_with_its_name(answer: Any, said: str) -> None:
    with pytest.raises(AdapterError, match=rf"Answers\.perform .*{said}"):
        performed(Answers(answer), Task(command="run", profile={}, arguments={}))
