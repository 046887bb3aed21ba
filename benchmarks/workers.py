"""Workers of an implementation for benchmarks: processes that have imported everything and run the tasks given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT

WORKER = Path(__file__).with_name("worker.py")
OURS = Path(sys.executable)
COSMOS = ROOT / ".cache" / "envs" / "cosmos" / "bin" / "python"
PYTHONS = {"cosmos_venv": OURS, "cosmos": COSMOS}
"""Import root -> the Python of its environment."""
PROJECT = {
    "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
    "models/piers.sql": "select 1 as id\n",
    "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}\n",
}


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One implementation in its own environment, with one installer.

    :param root: what is imported.
    :param python: the interpreter that has the implementation and Airflow.
    """

    root: str
    installer: str
    python: Path

    @property
    def name(self) -> str:
        """The implementation as the table names it."""
        return f"{self.root} with {self.installer}"


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """One task; times in seconds since the epoch.

    :param cpu: seconds that the task and all below it computed.
    :param alone, cpu_alone: the same of a dbt that ran alone right after the task.
    :param installers: processes of installers that the task's own process started.
    """

    began: float
    ended: float
    cpu: float
    installers: int
    error: str | None = None
    alone: float = 0.0
    cpu_alone: float = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class TaskFailed(Exception):
    """A task failed, so that there is nothing to measure; with what it said."""


class Worker:
    """One process that runs tasks. ``start`` returns at once, ``finish`` waits."""

    def __init__(self, implementation: Implementation, variables: Mapping[str, str], home: Path) -> None:
        reading, writing = os.pipe()
        path = f"{implementation.python.parent}{os.pathsep}{os.environ['PATH']}"
        settings = {"AIRFLOW__STANDARD__VENV_INSTALL_METHOD": implementation.installer, "AIRFLOW_HOME": str(home)}
        self._log = (home / f"worker-{reading}.log").open("w+")
        try:
            self._process = subprocess.Popen(
                [str(implementation.python), str(WORKER), implementation.root, str(writing)],
                env={**os.environ, "PATH": path, "DO_NOT_TRACK": "1", **settings, **variables},
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[writing],
                text=True,
            )
        finally:
            os.close(writing)
        self._answers = os.fdopen(reading)

    def wait_until_ready(self) -> None:
        """Wait until the process has imported everything."""
        self._answer()

    def start(
        self, project: Path, arguments: Mapping[str, Any], *, alone: Path | None = None, mode: str = "virtualenv"
    ) -> None:
        """Begin a task.

        :param alone: a dbt that is run alone afterwards.
        :param mode: ``virtualenv`` or ``local``.
        """
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
        words = {"project": str(project), "arguments": arguments, "alone": None if alone is None else str(alone)}
        order = {**words, "mode": mode}
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def finish(self) -> TaskRun:
        """The result of the task that was begun.

        :raises TaskFailed: when it failed.
        """
        run = TaskRun(**self._answer())
        if run.error is not None:
            raise TaskFailed(run.error)
        return run

    def run(
        self, project: Path, arguments: Mapping[str, Any], *, alone: Path | None = None, mode: str = "virtualenv"
    ) -> TaskRun:
        """One task from begin to end."""
        self.start(project, arguments, alone=alone, mode=mode)
        return self.finish()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._answers.close()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            self._log.seek(0)
            raise TaskFailed(f"The worker has died:\n{self._log.read()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def workers(
    implementation: Implementation, variables: Mapping[str, str], folder: Path, count: int = 1
) -> Iterator[Sequence[Worker]]:
    """``count`` worker processes that are ready.

    :param folder: an existing one, for Airflow's homes.
    """
    with ExitStack() as stack:
        made = []
        for number in range(count):
            home = folder / f"{implementation.root}-{implementation.installer}-{number}"
            home.mkdir(exist_ok=True)
            made.append(Worker(implementation, variables, home))
            stack.callback(made[-1].close)
        for worker in made:
            worker.wait_until_ready()
        yield made


def write_project(folder: Path) -> Path:
    """A dbt project with one model; returns its folder."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
