"""A real dbt that is asked which nodes a command would run: dbt 1 in one process, dbt 2 by commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.engines import Engine
from tests.rendering.dbt_answers import list_command

PROGRAM = Path(__file__).with_name("dbt_answers.py")


class ProjectRefused(Exception):
    """dbt reports an error in the project."""


class AskedDbt(Protocol):
    """:raises ProjectRefused: the methods raise it where dbt reports an error in the project."""

    def parse(self, folder: Path) -> None:
        """Write the project's manifest.

        :param folder: a project with its profiles.yml.
        """

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        """Return the unique ids of the nodes that each command would run.

        :param folder: a project that was parsed.
        :param commands: words behind ``dbt``, such as ``["run", "--select", "orders"]``; ``all`` stands for each type.
        """


@contextmanager
def asked_dbt(engine: Engine, folder: Path) -> Iterator[AskedDbt]:
    """Install a release of dbt, and give the dbt to ask.

    :param engine: the release.
    :param folder: does not exist; for the environment.
    """
    environment = _installed(engine, folder)
    if engine.is_native:
        yield DbtOfCommands(environment / "bin" / "dbt")
        return
    command = [environment / "bin" / "python", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield DbtInOneProcess(process)
        assert process.stdin is not None
        process.stdin.close()


class DbtInOneProcess:
    """dbt 1: a process parses each project once, and selects in the manifest that it keeps.

    :param process: of ``dbt_answers``.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def parse(self, folder: Path) -> None:
        self.ask(folder, [])

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), commands]) + "\n")
        self._process.stdin.flush()
        answer: list[list[str]] | str = json.loads(self._process.stdout.readline())
        if isinstance(answer, str):
            raise ProjectRefused(answer)
        return answer


class DbtOfCommands:
    """Each question is a command, such as a task would start.

    :param dbt: the executable.
    """

    def __init__(self, dbt: Path) -> None:
        self._dbt = dbt

    def parse(self, folder: Path) -> None:
        for words in (["parse"], list_command(["all"])):  # a circle of nodes is found later
            done = self._run(folder, words)
            if done.returncode:
                raise ProjectRefused(f"{done.stdout}{done.stderr}")

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda words: self._answer(folder, words), commands))

    def _answer(self, folder: Path, words: list[str]) -> list[str]:
        # Two dbt 2 with one target folder read the generic tests there that the other one is writing: tests were
        # missing in one of a hundred answers.
        with tempfile.TemporaryDirectory() as target:
            done = self._run(folder, [*list_command(words), "--target-path", target])
        if done.returncode:
            return [f"error: {done.stdout}{done.stderr}"]
        return sorted(json.loads(line)["unique_id"] for line in done.stdout.splitlines() if line.startswith("{"))

    def _run(self, folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
        places = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
        command = [str(self._dbt), *words, *places]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=_ENVIRONMENT)


_ENVIRONMENT = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


def _installed(engine: Engine, folder: Path) -> Path:
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    options = ["--quiet", "--compile-bytecode", "--no-index", "--find-links", str(engine.wheels)]
    subprocess.run([uv, "pip", "install", "--python", python, *options, *engine.requirements], check=True)
    for driver in engine.drivers:
        shutil.copy(driver, folder / "lib")
    return folder
