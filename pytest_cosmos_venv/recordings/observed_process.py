"""One process, watched to its end: its output is passed on and kept, signals and its end stay what they would be."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import NoReturn

_CHUNK = 65536
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# Of these the kernel refuses even the default.
_NEVER_HANDLED = (signal.SIGKILL, signal.SIGSTOP)
_SENT_TO_ALL_WITHIN = 0.25
_PR_SET_PDEATHSIG = 1
STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class ProcessEnd:
    """What a process has said, and how it ended.

    :param exit_code: the exit code; negative: the number of the signal that ended it.
    :param seconds: seconds from its start to its end.
    :param output: stream (1 or 2) -> all its bytes; where both went to one place, all stand under 1.
    :param times: ``(stream, seconds since the start)`` of each line, in the order in which they came.
    """

    exit_code: int
    seconds: float
    output: Mapping[int, bytes]
    times: tuple[tuple[int, float], ...]


def run_observed(command: Sequence[str], environment: Mapping[str, str]) -> ProcessEnd:
    """Run a command with this process's input and output, and return what it said.

    A signal that this process gets reaches the command once: whoever signals a process group or a whole tree has
    reached it already, whoever signals one process has not.

    :param command: the command line.
    :param environment: all its environment variables.
    :raises OSError: it cannot be started.
    """
    return _Observer(command, environment).run()


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
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._output = {STDOUT: bytearray(), STDERR: bytearray()}
        self._times: list[tuple[int, float]] = []
        self._came: list[tuple[int, float]] = []
        self._reached: list[tuple[int, float]] = []

    def run(self) -> ProcessEnd:
        ignored = [number for number in _PASSED_ON if signal.getsignal(number) == signal.SIG_IGN]
        ears, mouth = os.pipe()
        os.set_blocking(mouth, False)
        os.set_blocking(ears, False)
        handled = [number for number in (*_PASSED_ON, signal.SIGCHLD) if number not in ignored]
        bell = _Sentinel(handled)
        for number in handled:
            signal.signal(number, self._take)
        signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
        is_one = _is_one_place()
        self._began = time.monotonic()
        try:
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if is_one else subprocess.PIPE,
                bufsize=0,
                # Descriptors that the caller hands to dbt go on to dbt.
                close_fds=False,
                restore_signals=True,
                # This process has one thread.
                preexec_fn=_prepared(handled),  # noqa: PLW1509
            )
            self._watch(process, ears, bell)
        finally:
            bell.end()
            signal.set_wakeup_fd(-1)
        seconds = time.monotonic() - self._began
        return ProcessEnd(
            process.returncode, seconds, {each: bytes(text) for each, text in self._output.items()}, tuple(self._times)
        )

    def _take(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._came.append((number, time.monotonic()))

    def _watch(self, process: subprocess.Popen[bytes], ears: int, bell: _Sentinel) -> None:
        ends = {STDOUT: process.stdout, STDERR: process.stderr}
        # Of their own: Popen would close its ones whenever it likes.
        pipes = {os.dup(pipe.fileno()): stream for stream, pipe in ends.items() if pipe is not None}
        for pipe in filter(None, ends.values()):
            pipe.close()
        with DefaultSelector() as selector:
            for descriptor in (ears, bell.heard, *pipes):
                selector.register(descriptor, EVENT_READ)
            while process.poll() is None:
                for key, _ in selector.select():
                    if key.fd == ears:
                        _drain(ears)
                    elif not self._take_ready(key.fd, bell, pipes):
                        selector.unregister(key.fd)
                self._forward(process, bell)
        for descriptor, stream in pipes.items():
            self._pass_on_the_rest(descriptor, stream)
            os.close(descriptor)

    def _take_ready(self, descriptor: int, bell: _Sentinel, pipes: dict[int, int]) -> bool:
        """Take what can be read; False where nothing more will come."""
        if descriptor == bell.heard:
            return self._hear(bell)
        if self._pass_on(descriptor, pipes[descriptor]):
            return True
        os.close(descriptor)
        del pipes[descriptor]
        return False

    def _pass_on_the_rest(self, descriptor: int, stream: int) -> None:
        """Pass on what is there. What children of dbt say later is theirs: whoever waits for dbt alone goes on now."""
        os.set_blocking(descriptor, False)
        with suppress(BlockingIOError):
            while self._pass_on(descriptor, stream):
                pass

    def _pass_on(self, descriptor: int, stream: int) -> bool:
        """Pass on what can be read at once; False at the end, and where nobody reads it any more."""
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return False
        seconds = round(time.monotonic() - self._began, 4)
        self._times += [(stream, seconds)] * chunk.count(b"\n")
        self._output[stream] += chunk
        left = chunk
        try:
            while left:
                left = left[os.write(stream, left) :]
        except OSError:
            # dbt is to meet the closed pipe itself.
            return False
        return True

    def _hear(self, bell: _Sentinel) -> bool:
        said = bell.hear()
        self._reached += [(number, time.monotonic()) for number in said]
        return bool(said)

    def _forward(self, process: subprocess.Popen[bytes], bell: _Sentinel) -> None:
        """Send dbt the signals that were meant for it alone."""
        while self._came:
            number, at = self._came.pop(0)
            end = time.monotonic() + _SENT_TO_ALL_WITHIN
            while not self._was_sent_to_all(number, at) and (left := end - time.monotonic()) > 0:
                if select.select([bell.heard], [], [], left)[0] and not self._hear(bell):
                    break
            if not self._was_sent_to_all(number, at) and process.poll() is None:
                process.send_signal(number)

    def _was_sent_to_all(self, number: int, at: float) -> bool:
        return any(each == number and abs(heard - at) < _SENT_TO_ALL_WITHIN for each, heard in self._reached)


class _Sentinel:
    """A process beside dbt that says which signals reach it: those were sent to all, so dbt has them too.

    :param numbers: the signals.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self.heard, said = os.pipe()
        ending, self._alive = os.pipe()
        signals = [number for number in numbers if number != signal.SIGCHLD]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        self._pid = os.fork()
        if not self._pid:
            os.close(self._alive)
            self._listen(signals, said, ending, before)
        os.close(said)
        os.close(ending)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def hear(self) -> bytes:
        """Return the numbers that were said; none where the process is gone."""
        return os.read(self.heard, _CHUNK)

    def end(self) -> None:
        """End the process."""
        os.close(self._alive)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self.heard)

    def _listen(self, signals: Sequence[int], said: int, ending: int, before: Iterable[int]) -> NoReturn:
        def say(number: int, _frame: object) -> None:
            os.write(said, bytes([number]))

        try:
            for stream in (0, 1, 2):  # nobody is to wait for this process's end of a pipe
                with suppress(OSError):
                    os.close(stream)
            for number in signals:
                signal.signal(number, say)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.read(ending, 1)  # until the parent closes its end, or is gone
        finally:
            os._exit(0)


def _drain(descriptor: int) -> None:
    with suppress(BlockingIOError):
        os.read(descriptor, _CHUNK)


def _prepared(handled: Sequence[int]) -> Callable[[], None]:
    """Return what the child does before it becomes dbt."""

    def prepare() -> None:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        _die_with_the_parent()

    return prepare


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
