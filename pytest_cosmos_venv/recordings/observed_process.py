"""One observed child process: its output is passed on and kept, signals are forwarded, and its exit is repeated."""

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
# The kernel refuses to set even the default handler of these signals.
_NEVER_HANDLED = (signal.SIGKILL, signal.SIGSTOP)
_PR_SET_PDEATHSIG = 1
STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class ProcessEnd:
    """The output and the exit of a process.

    :param exit_code: the exit code; negative: the number of the signal that ended the process.
    :param seconds: seconds from its start to its end.
    :param output: stream (1 or 2) -> all its bytes; where both streams are the same file, all output is under 1.
    """

    exit_code: int
    seconds: float
    output: Mapping[int, bytes]


def run_observed(command: Sequence[str], environment: Mapping[str, str]) -> ProcessEnd:
    """Run a command with this process's input and output, and return its output and exit.

    The command runs in a process group of its own, and this process forwards each signal. So a signal reaches the
    command once, whether it was sent to this process or to its group.

    :param command: the command line.
    :param environment: all environment variables of the command.
    :raises OSError: the command cannot be started.
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
        # preexec_fn is unsafe beside other threads; this process has only one.
        preexec_fn=_die_with_the_parent,  # noqa: PLW1509
    )
    for number in _PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: process.send_signal(number))
    output = {stream: bytes(text) for stream, text in _pass_on_until_the_end(process).items()}
    return ProcessEnd(process.wait(), time.monotonic() - began, output)


def end_like(exit_code: int) -> NoReturn:
    """End this process with the exit code or the signal of the observed process.

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
    """Pass on the output of a process until the process ends, and return it. Later output of its children is ignored.

    :param process: the process, with pipes.
    """
    output = {STDOUT: bytearray(), STDERR: bytearray()}
    with DefaultSelector() as selector:
        for stream, pipe in ((STDOUT, process.stdout), (STDERR, process.stderr)):
            if pipe is not None:
                selector.register(pipe, EVENT_READ, stream)
        while True:
            # Polled before select: once the process has ended, all its output is in the pipes. EOF is no sign of the
            # end, because a child may keep the pipes open.
            has_ended = process.poll() is not None
            ready = selector.select(0 if has_ended else _LOOK_AGAIN)
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                output[key.data] += chunk
                if not (chunk and _is_written(key.data, chunk)):
                    # Where our reader is gone, the pipe is closed, so that dbt itself gets EPIPE.
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
    """Let the kernel kill this process when its parent dies (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _is_one_place() -> bool:
    try:
        out, err = os.fstat(STDOUT), os.fstat(STDERR)
    except OSError:
        return False
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
