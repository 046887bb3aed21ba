"""One process, watched to its end: its output is passed on and kept, signals and its end stay what they would be."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import NoReturn

_CHUNK = 65536
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
    observer = _Observer()
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
    observer.watch(process)
    output = {stream: bytes(text) for stream, text in observer.output.items()}
    return ProcessEnd(process.wait(), time.monotonic() - observer.began, output)


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


class _Observer:
    def __init__(self) -> None:
        self.output = {STDOUT: bytearray(), STDERR: bytearray()}
        self.began = time.monotonic()

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Pass on and keep what a process says, until it ends. What its children say later is theirs.

        :param process: the process, with pipes.
        """
        # The end of the process is an event like any other: its output may stay open in the hands of a child.
        ended, end = os.pipe()
        threading.Thread(target=_close_at_the_end, args=(process, end), daemon=True).start()
        with DefaultSelector() as selector:
            for stream, pipe in ((STDOUT, process.stdout), (STDERR, process.stderr)):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe, EVENT_READ, stream)
            selector.register(ended, EVENT_READ)
            is_over = False
            while not is_over:
                for key, _ in selector.select():
                    if key.fd == ended:
                        is_over = True
                    elif not self._pass_on(key.fd, key.data):
                        # Closed, so that dbt meets a closed pipe itself where nobody reads it any more.
                        selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
            for key in list(selector.get_map().values()):
                with suppress(BlockingIOError):
                    while key.fd != ended and self._pass_on(key.fd, key.data):
                        pass
        os.close(ended)

    def _pass_on(self, descriptor: int, stream: int) -> bool:
        """Pass on what can be read at once; False at the end, and where nobody reads it any more."""
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return False
        self.output[stream] += chunk
        try:
            while chunk:
                chunk = chunk[os.write(stream, chunk) :]
        except OSError:
            return False
        return True


def _close_at_the_end(process: subprocess.Popen[bytes], descriptor: int) -> None:
    process.wait()
    os.close(descriptor)


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
