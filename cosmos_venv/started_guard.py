"""How does a worker start a guard, and hand it a command? The guard may be started before the command is known.

A guard takes some milliseconds to start. Who knows that commands will follow has them started meanwhile
(``started_ahead``).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from cosmos_venv import guard

_BYTECODE_HEADER = 16
_LONGEST_END = 5.0


class StartedGuard:
    """A guard that waits for its command. It ends when this process does, or lets go of it.

    ``control`` is the connection to it, ``output`` what its command will write.

    :raises OSError: when it cannot be started.
    """

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard_program(), str(theirs.fileno()), str(os.getpid())],
                # A task's descriptor 0 is Airflow 3's own request channel.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # Airflow 3.3 kills the task's process group; the guard must survive that to do its work.
                start_new_session=True,
            )
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()
        assert self.process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        self.output = self.process.stdout

    def order(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | Path | None,
        keep_open: Sequence[int],
        interrupts: bool,
        umask: int,
    ) -> None:
        """Hand over the command; parameters as for ``GuardedProcess``. A guard that has died says nothing here."""
        variables = os.environb if env is None else {os.fsencode(name): os.fsencode(env[name]) for name in env}
        words = [os.fsencode(word) for word in argv]
        fields = [
            os.fsencode(cwd or ""),
            b"1" if interrupts else b"0",
            f"{umask:o}".encode(),
            str(len(words)).encode(),
            *words,
            *(name + b"=" + value for name, value in variables.items()),
        ]
        for text in fields:
            if b"\0" in text:
                raise ValueError(f"embedded null byte in {os.fsdecode(text)!r}")
        text = b"\0".join(fields)
        message = len(text).to_bytes(guard.LENGTH_BYTES, "big") + text
        try:
            sent = socket.send_fds(self.control, [message], list(keep_open))
            self.control.sendall(message[sent:])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def close(self) -> None:
        """Let go of a guard that got no command: it ends."""
        # Closing alone would leave the connection to a child that was forked meanwhile.
        with suppress(OSError):
            self.control.shutdown(socket.SHUT_WR)
        self.control.close()
        self.output.close()
        try:
            self.process.wait(_LONGEST_END)
        except subprocess.TimeoutExpired:
            self.process.kill()  # collected when this process starts its next one


class _Ahead:
    """Guards that a block of work will want: one is started now, each other when the one before it has its command.

    Starting one costs this process milliseconds that a command would wait for; while a command runs they are free.
    """

    def __init__(self, count: int) -> None:
        self._missing = count
        self.waiting: list[StartedGuard] = []

    def start_next(self) -> None:
        if not self._missing or self.waiting:
            return
        self._missing -= 1
        try:
            self.waiting.append(StartedGuard())
        except OSError:
            self._missing = 0  # told when a command wants one


_blocks: ContextVar[tuple[_Ahead, ...]] = ContextVar("cosmos_venv_guards_ahead", default=())


@contextmanager
def started_ahead(count: int = 1) -> Iterator[None]:
    """Within this block so many commands find their guard started. One that got no command ends with the block."""
    ahead = _Ahead(count)
    token = _blocks.set((*_blocks.get(), ahead))
    try:
        ahead.start_next()
        yield
    finally:
        _blocks.reset(token)
        while ahead.waiting:
            ahead.waiting.pop().close()


def take_guard() -> StartedGuard:
    """One that was started ahead, else a new one.

    :raises OSError: when it cannot be started.
    """
    for ahead in reversed(_blocks.get()):
        if ahead.waiting:
            return ahead.waiting.pop()
    return StartedGuard()


def start_next_guard() -> None:
    """For the next command of the block of work that this one belongs to, if it will have one."""
    for ahead in reversed(_blocks.get()):
        ahead.start_next()


def guard_program() -> str:
    """The file to start a guard from: its bytecode, where Python itself would take that for its source now."""
    source, compiled = Path(guard.__file__), getattr(guard, "__cached__", None)
    try:
        made_from = source.stat()
        with open(compiled or "", "rb") as bytecode:  # noqa: PTH123 - each task comes by here
            header = bytecode.read(_BYTECODE_HEADER)
    except OSError:
        return str(source)
    # PEP 552: magic number, flags (0: judged by time and size), time, size.
    expected = (0, int(made_from.st_mtime) & 0xFFFFFFFF, made_from.st_size & 0xFFFFFFFF)
    is_current = header == MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in expected)
    return str(compiled) if is_current else str(source)
