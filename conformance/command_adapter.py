"""An implementation in an environment of its own: a program that reads a line of JSON and writes a line of JSON.

The program and pytest have different environments. A process of the program gets one message on its standard input, and
answers it on its standard output:

- ``{"message": "describe", "protocol": 1}``: ``{"protocol": 1, "name": "my-operators", "version": "2.1.0"}``;
- ``{"message": "run", "protocol": 1, "command": "run", "profile": {...}, "arguments": {...}}``, with the values of a
  ``Task``: ``{"state": "success"}``, or ``{"state": "failed", "exception": "ValueError: what was wrong"}``.

Standard input ends when the answer was read, or when the process of the task has died: then the program has to end,
with all processes that it has started. SIGTERM tells it to end a task. Its standard error is the log of the task.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shlex
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, ClassVar

from pytest_cosmos_venv.real_time import wait_until

from .adapter import Adapter, AdapterError, Outcome, Task, plain

PROTOCOL = 1
DESCRIPTION = '{"protocol": 1, "name": "my-operators", "version": "2.1.0"}'
RESULTS = '{"state": "success"}, or {"state": "failed", "exception": "ValueError: what was wrong"}'
SECONDS = 60.0
"""Seconds for the answer to ``describe``: a slow machine imports Airflow in 20."""
_SHARE = 0.9
"""Share of a task's time for the answer to ``run``: in the rest the suite reports that there was no answer."""
_SHOWN = 2000
"""Characters of an answer, or of the standard error, that an error shows."""


class _NoAnswerError(Exception):
    """A process has ended, or was ended, without an answer. The text names the message and the way out."""


class CommandAdapter(Adapter):
    """An adapter that starts a program for each message. A class derived from it has ``command``, and declares the rest
    like any adapter.
    """

    import_root = __name__
    command: ClassVar[Sequence[str]] = ()
    """The words of its command line, such as ``("/opt/mine/bin/python", "-I", "-m", "mine.conformance")``."""

    def modules(self) -> Sequence[str]:
        """The module of the adapter: nothing of the implementation is imported."""
        return [type(self).__module__]

    def describe(self) -> dict[str, str]:
        """The name and the version of the implementation, as the program tells them.

        :raises AdapterError: the program does not tell them; the text says what happened instead.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                told = self._answer("describe", seconds=SECONDS, errors=errors)
            except _NoAnswerError as error:
                errors.seek(0)
                said = errors.read().decode(errors="backslashreplace").strip()[-_SHOWN:]
                raise AdapterError(f"{error} It wrote: {said or 'nothing'}") from None
        kinds = {name: type(value) for name, value in told.items()}
        if kinds != {"protocol": int, "name": str, "version": str} or told["protocol"] != PROTOCOL:
            raise AdapterError(f"{self._asked('describe')} was answered by {json.dumps(told)}: give {DESCRIPTION}.")
        return {"name": told["name"], "version": told["version"]}

    def perform(self, task: Task) -> Outcome:
        """Have the program run a task. Where it ends without an answer, or gives none in time, the task has failed.

        :param task: what to run.
        :raises AdapterError: the program cannot be started, or its answer is no outcome.
        """
        fields: dict[str, Any] = {"command": task.command, "profile": task.profile, "arguments": task.arguments}
        try:
            told = self._answer("run", seconds=_SHARE * self.seconds, unread=task.standard_input or "", **fields)
        except _NoAnswerError as error:
            return Outcome(state="failed", exception=str(error))
        try:
            return Outcome.from_plain({**plain(Outcome(state="")), **told})
        except AdapterError:
            said = json.dumps(told)[:_SHOWN]
            raise AdapterError(f"{self._asked('run')} was answered by {said}: give {RESULTS}.") from None

    def _words(self) -> list[str]:
        return [self.command] if isinstance(self.command, str) else list(self.command)

    def _asked(self, message: str) -> str:
        return f"{type(self).__name__}.command, {shlex.join(self._words())}: the message {message}"

    def _answer(
        self, message: str, *, seconds: float, errors: IO[bytes] | None = None, unread: str = "", **fields: object
    ) -> dict[str, Any]:
        """The answer of the program, in a process of its own, which has ended when this returns.

        :param message: its name.
        :param seconds: for the answer, and the end of the process.
        :param errors: the standard error of the process; None: the standard error of this process.
        :param unread: a text on its standard input behind the message, which nothing should read.
        :param **fields: what the message says beside its name.
        """
        asked = self._asked(message)
        request = json.dumps({"message": message, "protocol": PROTOCOL, **fields}, default=str)
        try:
            process = subprocess.Popen(
                self._words(), bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except (OSError, IndexError) as error:
            way_out = "give the words of its command line, the first of them an absolute path"
            raise AdapterError(
                f"{asked} was not sent, since the program cannot be started ({error}): {way_out}."
            ) from None
        end = time.monotonic() + seconds
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        with process:
            try:
                _write(process, f"{request}\n", unread, until=end)
                line = _line(process, until=end)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(end - time.monotonic(), 0))
                code = process.poll()
            finally:
                process.kill()
        if code is None:
            what = "ended, though it has answered" if line.endswith(b"\n") else "answered"
            raise _NoAnswerError(f"{asked}: within {seconds:.0f} s the program has not {what}. Let it answer, and end.")
        if not line:
            raise _NoAnswerError(f"{asked}: the program ended with {code} before it answered. Let it answer first.")
        with suppress(ValueError):
            if isinstance(told := json.loads(line), dict):
                return told
        raise AdapterError(
            f"{asked} was answered by what is no line with a JSON object: {line[:_SHOWN]!r}. Let the program write "
            "nothing else to standard output: its children, and what it prints, belong to standard error."
        )


def _write(process: subprocess.Popen[bytes], request: str, unread: str, *, until: float) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # the program has ended: the missing answer says so
        process.stdin.write(request.encode())
        if unread:
            # Wait until the request is read: else the program may read both, and no check could see that a child reads.
            pipe, none = process.stdin.fileno(), bytes(4)
            wait_until(
                lambda: fcntl.ioctl(pipe, termios.FIONREAD, none) == none or process.poll() is not None,
                timeout=until - time.monotonic(),
            )
            process.stdin.write(unread.encode())


def _line(process: subprocess.Popen[bytes], *, until: float) -> bytes:
    """The output of the process up to the end of a line, of the output or of the time. Then its input is closed."""
    assert process.stdout is not None
    assert process.stdin is not None
    line = b""
    while not line.endswith(b"\n") and select.select([process.stdout], [], [], max(until - time.monotonic(), 0))[0]:
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            break
        line += chunk
    process.stdin.close()
    return line
