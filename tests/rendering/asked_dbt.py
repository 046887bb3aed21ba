"""A real dbt that is asked which nodes a command would run: dbt 1 in one process, dbt 2 by commands."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread
from typing import Protocol

from tests.engines import Engine
from tests.rendering.dbt_answers import ERROR, list_command

PROGRAM = Path(__file__).with_name("dbt_answers.py")
# The dbt that a DAG file asks: it lets the process that has parsed the project answer, and starts as fast as a shell.
_CLIENT = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    connection.sendall(json.dumps([sys.argv[1:], os.environ["DBT_TARGET_PATH"]]).encode() + b"\\n")
    answer = json.loads(connection.makefile().readline())
print("\\n".join(answer))
sys.exit(any(line.startswith({error!r}) for line in answer))
"""


class ProjectRefused(Exception):
    """dbt reports an error in the project."""


class AskedDbt(Protocol):
    """:ivar executable: the dbt that a DAG file asks for the nodes of the project that was parsed.
    :raises ProjectRefused: the methods raise it where dbt reports an error in the project.
    """

    executable: Path

    def parse(self, folder: Path) -> None:
        """Write the project's manifest.

        :param folder: a project with its profiles.yml.
        """

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        """Return the unique ids of the nodes that each command would run.

        :param folder: a project that was parsed.
        :param commands: words behind ``dbt``, such as ``["run", "--select", "orders"]``; ``all`` stands for each type.
            Of ``ls`` the answer is its lines.
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
        asked = DbtInOneProcess(process, folder / "bin" / "listing_dbt")
        with asked.listening():
            yield asked
        assert process.stdin is not None
        process.stdin.close()


class DbtInOneProcess:
    """dbt 1: a process parses each project once, and selects in the manifest that it keeps.

    :param process: of ``dbt_answers``.
    :param executable: is written.
    """

    def __init__(self, process: subprocess.Popen[str], executable: Path) -> None:
        self.executable = executable
        self._process, self._one_at_a_time = process, Lock()
        self._parsed = Path()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer the executable within this block."""
        asked = self

        class Answer(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words, target = json.loads(self.rfile.readline())
                (lines,) = asked.ask(asked._parsed, [words])
                if "--write-json" in words:  # a dbt that keeps its manifest writes none
                    shutil.copy(asked._parsed / "target" / "manifest.json", target)
                self.wfile.write(json.dumps(lines).encode() + b"\n")

        with tempfile.TemporaryDirectory() as short:
            address = str(Path(short, "dbt"))
            self.executable.write_text(
                f"#!{sys.executable} -IS\n{_CLIENT.format(address=address, error=ERROR)}", encoding="utf-8"
            )
            self.executable.chmod(0o755)
            with socketserver.ThreadingUnixStreamServer(address, Answer) as server:
                Thread(target=server.serve_forever, daemon=True).start()
                yield
                server.shutdown()

    def parse(self, folder: Path) -> None:
        self._parsed = folder
        self.ask(folder, [])

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
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
        self.executable = dbt

    def parse(self, folder: Path) -> None:
        for words in (["parse"], list_command(["all"])):  # a circle of nodes is found later
            done = self._run(folder, words)
            if done.returncode:
                raise ProjectRefused(f"{done.stdout}{done.stderr}")

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda words: self._answer(folder, words), commands))

    def _answer(self, folder: Path, words: list[str]) -> list[str]:
        is_listing = words[0] == "ls"
        command = ["--quiet", *words] if is_listing else list_command(words)
        # Two dbt 2 with one target folder read the generic tests there that the other one is writing: tests were
        # missing in one of a hundred answers.
        with tempfile.TemporaryDirectory() as target:
            done = self._run(folder, [*command, "--target-path", target])
        if done.returncode:
            return [f"{ERROR}{done.stdout}{done.stderr}"]
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        return lines if is_listing else sorted(json.loads(line)["unique_id"] for line in lines)

    def _run(self, folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
        places = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
        command = [str(self.executable), *words, *places]
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
