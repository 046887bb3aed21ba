"""A Python that has imported what a command needs, and is forked for each call of the command."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from select import select

LONGEST = 120
"""Seconds that a command may take."""
_SOURCE = """
import atexit, gc, importlib, json, os, sys, tempfile, threading
{imports}
at_first = os.environ.get("PYTHONPATH", "").split(os.pathsep)
gc.freeze()
print("ready", flush=True)
while line := sys.stdin.buffer.raw.readline():
    asked = json.loads(line)
    if not (pid := os.fork()):
        break
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    os._exit(0)
for number, (place, flags) in enumerate(asked["files"]):
    os.dup2(os.open(place, flags), number)
os.environ.clear()
os.environ.update(asked["environment"])
os.chdir(asked["directory"])
# As at the start of a Python, which reads these once.
named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
first = [asked["directory"]] if asked["is_on_path"] else []
sys.path[:] = [*first, *named, *(each for each in sys.path[1:] if each not in at_first)]
importlib.invalidate_caches()
tempfile.tempdir = None
sys.argv = [{name!r}, *asked["words"]]
try:
    code = {call}
except SystemExit as end:
    code = end.code
if isinstance(code, str):
    print(code, file=sys.stderr)
# As at the end of a Python, but for taking apart what was imported, which takes longer than most commands.
threading._shutdown()
atexit._run_exitfuncs()
sys.stdout.flush()
sys.stderr.flush()
os._exit(1 if isinstance(code, str) else code or 0)
"""


class PreparedPython:
    """A process that starts at the first call and ends with this process.

    Its standard input is a pipe from this process, so it also ends when this process is killed.

    :param name: the name of the command, as in ``sys.argv[0]``.
    :param imports: statements that import what the command needs.
    :param call: the expression whose value is the exit code of the command.
    """

    def __init__(self, *, name: str, imports: str, call: str) -> None:
        self._name = name
        self._source = _SOURCE.format(name=name, imports=imports, call=call)
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        words: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        is_on_path: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end in a process of its own.

        :param words: the arguments of the command.
        :param environment: all its environment variables; None: the variables of this process. Variables that the
            imports read have their values from the start of the prepared process.
        :param directory: its current directory; None: the directory of this process.
        :param is_on_path: whether the command can import modules from its directory, as with ``python -m``.
        :raises subprocess.TimeoutExpired: the command has not ended in ``LONGEST`` seconds.
        """
        with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
            asked = {
                "words": list(words),
                "files": [(os.devnull, os.O_RDONLY), (output.name, os.O_WRONLY), (errors.name, os.O_WRONLY)],
                "environment": dict(os.environ if environment is None else environment),
                "directory": str(directory or Path.cwd()),
                "is_on_path": is_on_path,
            }
            try:
                code = self._answer(asked)
            except BaseException:  # also a test's timeout: the next call would read the answer to this call
                self._end()
                raise
            told = [Path(each.name).read_text(encoding="utf-8") for each in (output, errors)]
        return subprocess.CompletedProcess(words, code, *told)

    def _answer(self, asked: Mapping[str, object]) -> int:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = self._started()
            assert self._line(process) == "ready"
        assert process.stdin is not None
        process.stdin.write(f"{json.dumps(asked)}\n")
        return int(self._line(process))

    def _started(self) -> subprocess.Popen[str]:
        # A new process group, so that _end kills a hanging command together with the prepared process.
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", self._source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            bufsize=1,
        )
        atexit.register(process.communicate)
        return process

    def _line(self, process: subprocess.Popen[str]) -> str:
        """Return the next line of the process.

        :raises RuntimeError: the process has ended.
        """
        assert process.stdout is not None
        if not select([process.stdout], [], [], LONGEST)[0]:
            raise subprocess.TimeoutExpired(self._name, LONGEST)
        if not (line := process.stdout.readline()):
            raise RuntimeError(f"The prepared Python {self._name} has ended ({process.wait()}).")
        return line.strip()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
