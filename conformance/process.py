"""How does the suite run a command? To its end or to a deadline, and nothing of it is left either way."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEADLINE = 180.0
"""Seconds that any single command may take: far more than a sound one needs on a slow machine."""
_LONGEST_ANSWER = 0.5
"""Seconds after which nobody waits for a stack any more."""
_NOT_STARTED = 127
"""As a shell has it of a command that is not there."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What came of a command.

    :param exit_code: negative: ended by that signal; None: still running at the deadline, and killed.
    :param output: stdout and stderr in order.
    """

    command: Sequence[str]
    exit_code: int | None
    output: str

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0

    def __str__(self) -> str:
        ending = "no end before the deadline, killed" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"{' '.join(self.command)}\n  {ending}; its output:\n{self.output}"


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path,
    deadline: float = DEADLINE,
) -> Finished:
    """Run a command with the null device as its input.

    :param environment: added to this process's variables.
    :param deadline: seconds after which it is killed.
    """
    # Into a file: whatever the command leaves running may hold a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:  # what an implementation should have left there, say
            return Finished(command=command, exit_code=_NOT_STARTED, output=str(error))
        exit_code = _wait(process, deadline)
        output.seek(0)
        text = output.read().decode(errors="backslashreplace")
    return Finished(command=command, exit_code=exit_code, output=text)


def _wait(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    try:
        return process.wait(timeout=deadline)
    except subprocess.TimeoutExpired:
        _ask_where(process)
        return None
    finally:  # also when the user interrupts the suite, whose terminal does not reach this session
        _kill_group(process.pid)
        process.wait()


def _ask_where(process: subprocess.Popen[bytes]) -> None:
    """Let it write its stack, if it is prepared to do so at this signal; others end by it, which they would anyway."""
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(timeout=_LONGEST_ANSWER)
    except subprocess.TimeoutExpired:
        pass


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing is left, as it should be
