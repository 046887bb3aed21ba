"""A project that a dbt of the tests lists, with a cache of its own, and processes that load it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.project.graph import DbtGraph

DATA = Path(__file__).parent.parent / "data" / "rendering-project"
NODES = 32


def writing(manifest: Path) -> str:
    """The command of a dbt that writes this manifest."""
    return f'mkdir -p "$DBT_TARGET_PATH"; cp \'{manifest}\' "$DBT_TARGET_PATH/manifest.json"'


SAY = writing(DATA / "manifest.json")
DEADLINE = 60.0


class Place:
    """A project, a dbt that writes its recorded manifest and notes each call, and a cache of their own."""

    profiles_yml: Path | None = None  # the project's

    def __init__(self, folder: Path) -> None:
        self.project = Path(shutil.copytree(DATA, folder / "project"))
        self.write("models/ports.sql", "select 1")
        self.write("models/berths.yml", "models: []")
        self.write("seeds/raw_ports.csv", "id\n1\n")
        self.cache = folder / "cache"
        self._calls = folder / "calls"
        self.dbt = folder / "bin" / "dbt"
        self.dbt.parent.mkdir()
        self.let_dbt(SAY)

    def write(self, name: str, text: str) -> None:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def let_dbt(self, command: str) -> None:
        """Let dbt be another program that looks the same: another time or size would be another dbt."""
        at = self.dbt.stat().st_mtime if self.dbt.exists() else time.time()
        text = f"#!/bin/sh\necho x >> '{self._calls}'\n{command}\n"
        self.dbt.write_text(f"{text:<500}\n", encoding="utf-8")
        self.dbt.chmod(0o755)
        os.utime(self.dbt, (at, at))

    @property
    def calls(self) -> int:
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0

    def graph(
        self, *, target: str = "dev", given: dict[str, str] | None = None, has_deps: bool = True, **render: Any
    ) -> DbtGraph:
        profiles_yml = self.profiles_yml or self.project / "profiles.yml"
        return DbtGraph(
            project=ProjectConfig(self.project, env_vars=given, install_dbt_deps=has_deps),
            render_config=RenderConfig(dbt_executable_path=self.dbt, **render),
            profile_config=ProfileConfig("harbor", target, profiles_yml_filepath=profiles_yml),
        )

    def load(self, *, seconds: float | None = None, **more: Any) -> DbtGraph:
        """Load the project.

        :param seconds: that are left of Airflow's import time-out; None: none runs.
        """
        made = self.graph(**more)
        with seconds_left(seconds):
            made.load()
        return made


@contextmanager
def seconds_left(seconds: float | None) -> Iterator[None]:
    """Within this block so much is left of what looks like Airflow's time-out; without this it is pytest-timeout's."""
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.signal(signal.SIGALRM, _import_is_over)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds or 0)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *left)


def _import_is_over(*_: object) -> None:
    raise TimeoutError("Airflow's import time-out")


LOAD = """
import faulthandler, logging, sys
from pathlib import Path
faulthandler.dump_traceback_later(120, exit=True)
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
from tests.project.ls_place import Place
import cosmos_venv.compat, cosmos_venv.processes.detached_process
import cosmos_venv.project.ls_answer, cosmos_venv.project.dbt_ls_runner
place = Place.__new__(Place)
place.project, place.dbt = Path(sys.argv[1]), Path(sys.argv[2])
try:
    print("nodes:", len(place.load(seconds=float(sys.argv[3]) if len(sys.argv) > 3 else None).nodes), flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def loading(place: Place, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOAD, str(place.project), str(place.dbt), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return line
    pytest.fail(f"it ended without a word of {words!r}: {''.join(said)}")
