"""One process, watched to its end: its output is passed on and kept, signals and its end stay what they would be."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import NoReturn

_CHUNK = 65536
_LOOK_AGAIN = 0.02
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# Of these the kernel refuses even the default.
_NEVER_HANDLED = (signal.SIGKILL, signal.SIGSTOP)
_PR_SET_PDEATHSIG = 1
STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class ProcessEnd:
    """What a process has said, and how it ended.

    :param exit_code: the exit code; negative: the number of the signal that ended it.
    :param seconds: seconds from its start to its end.
    :param output: stream (1 or 2) -> all its bytes; where both went to one place, all stand under 1.
    """

    exit_code: int
    seconds: float
    output: Mapping[int, bytes]


def run_observed(command: Sequence[str], environment: Mapping[str, str]) -> ProcessEnd:
    """Run a command with this process's input and output, and return what it said.

    The command has a process group of its own, and this process passes on each signal that it gets: so a signal reaches
    the command once, whether it was sent to this process or to its group.

    :param command: the command line.
    :param environment: all its environment variables.
    :raises OSError: it cannot be started.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        list(command),
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if _is_one_place() else subprocess.PIPE,
        bufsize=0,
        # Descriptors that the caller hands to dbt go on to dbt.
        close_fds=False,
        start_new_session=True,
        # This process has one thread.
        preexec_fn=_die_with_the_parent,  # noqa: PLW1509
    )
    for number in _PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: process.send_signal(number))
    output = {stream: bytes(text) for stream, text in _pass_on_until_the_end(process).items()}
    return ProcessEnd(process.wait(), time.monotonic() - began, output)


def end_like(exit_code: int) -> NoReturn:
    """End this process as another one ended.

    :param exit_code: as in ``ProcessEnd``.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if exit_code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -exit_code not in _NEVER_HANDLED:
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
        signal.pause()
    os._exit(exit_code)


def _pass_on_until_the_end(process: subprocess.Popen[bytes]) -> dict[int, bytearray]:
    """Pass on what a process says until it ends, and return it. What its children say later is theirs.

    :param process: the process, with pipes.
    """
    output = {STDOUT: bytearray(), STDERR: bytearray()}
    with DefaultSelector() as selector:
        for stream, pipe in ((STDOUT, process.stdout), (STDERR, process.stderr)):
            if pipe is not None:
                selector.register(pipe, EVENT_READ, stream)
        while True:
            # Asked before each look: what the process has said is in the pipes by then, which a child may keep open.
            has_ended = process.poll() is not None
            ready = selector.select(0 if has_ended else _LOOK_AGAIN)
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                output[key.data] += chunk
                if not (chunk and _is_written(key.data, chunk)):
                    # Closed, so that dbt meets a closed pipe itself where nobody reads it any more.
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            if has_ended and not ready:
                return output


def _is_written(stream: int, chunk: bytes) -> bool:
    """Write to a stream of this process; False where nobody reads it any more."""
    try:
        while chunk:
            chunk = chunk[os.write(stream, chunk) :]
    except OSError:
        return False
    return True


def _die_with_the_parent() -> None:
    """Where this process's parent is killed, let it be killed too (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _is_one_place() -> bool:
    try:
        out, err = os.fstat(STDOUT), os.fstat(STDERR)
    except OSError:
        return False
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
