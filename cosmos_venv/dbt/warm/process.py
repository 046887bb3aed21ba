"""One command run by a server, else by a plain process, once.

The worker finds the server or starts it, agrees with it, and says go. Before ``go`` everything may fail, and a plain
process takes over. After ``go`` no plain process takes over: no command runs twice.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.server import fork_conditions
from cosmos_venv.dbt.warm.servers import Program, ServerPaths, paths_of
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.processes import guard
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import GuardedProcess, WatchedProcess
from cosmos_venv.processes.inherited_environment import inherited_environment

__all__ = ["DBT", "Program", "WarmStart", "dbt_program"]

GO = b"g"
_LONGEST_LINE = 4096
_TRIES = 2
_ALIKE = "PATH, HOME, TZ, PYTHON… and locale variables"
"""The variables of ``fork_conditions.startup_variables``, in words for the task's log."""
# The modules that dbt's commands import when they begin; a release that lacks one does without.
_TASKS = ("run", "test", "seed", "build", "snapshot", "compile", "list", "freshness", "clone", "docs.generate")
_LATER = (
    *(f"dbt.task.{task}" for task in (*_TASKS, "run_operation", "deps", "retry", "show")),
    "dbt.adapters.factory",
    "dbt.parser.manifest",
    "dbt.adapters.duckdb.environments.local",
    "dbt_common.clients.agate_helper",
    "agate",
    "babel.dates",
    "google.protobuf.descriptor_pb2",
    "_strptime",
    "multiprocessing.dummy",
    "multiprocessing.resource_tracker",
    "multiprocessing.synchronize",
)
DBT: dict[str, bool] = {"dbt.cli.main": True, **dict.fromkeys(_LATER, False)}
"""The modules that a server of dbt imports, with whether each must be there."""


def dbt_program(environment: Path, script: Path) -> Program:
    """The dbt of an environment, with its adapters.

    :param environment: folder of the environment; a link is followed.
    :param script: its ``bin/dbt``.
    """
    return Program(
        environment=Path(os.path.realpath(environment)),
        script=script,
        modules=DBT,
        packages=("dbt.adapters",),
    )


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Starts commands of one program as a server's children where it can, and else as processes of their own.

    :param program: the program of the commands.
    :param idle: seconds without a command after which a server ends. A server is started only when another command ran
        within this time before.
    :param most: servers that this user may have on this host.
    :param cancellation: ends a wait for the server when it is requested.
    :param report: gets one line for the task's log.
    :param count: gets ``warm``, or the reason why not.
    :param refuses: why no server may be used, a word and a text; None: a server may be used.
    :param is_required: a command that cannot start warm fails; a server is started for the first one already.
    """

    program: Program
    idle: float
    most: int
    cancellation: Cancellation
    report: Callable[[str], None]
    count: Callable[[str], None]
    refuses: tuple[str, str] | None = None
    is_required: bool = False

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        keep_open: Sequence[int] = (),
        interrupts: bool = True,
    ) -> WatchedProcess:
        """Start one command; the parameters are those of ``GuardedProcess``.

        :param argv: the command line; its first word is replaced by the program's script.
        :param env: all environment variables of the command; None: ``inherited_environment``.
        :param cwd: the folder in which it runs; None: this process's.
        :param keep_open: descriptors that are held until the last process of the command is gone.
        :param interrupts: whether a kill begins with SIGINT, or with SIGTERM.
        :raises NotWarm: when a warm start is required and not possible.
        :raises CommandKilled: when ``cancellation`` was requested.
        """
        order = {
            "argv": [str(self.program.script), *argv[1:]],
            "env": inherited_environment() if env is None else dict(env),
            "cwd": str(cwd or ""),
            "interrupts": interrupts,
        }
        try:
            process = self._warm(order, keep_open)
        except NotWarm as error:
            self.cancellation.raise_if_requested()
            self.count(error.reason)
            if self.is_required:
                raise
            self.report(f"dbt starts as a plain process: {error}.")
            return GuardedProcess(argv, env=env, cwd=cwd, keep_open=keep_open, interrupts=interrupts)
        self.count("warm")
        return process

    def _warm(self, order: Mapping[str, Any], keep_open: Sequence[int]) -> WatchedProcess:
        if self.refuses is not None:
            raise NotWarm(*self.refuses)
        if not (sys.platform.startswith("linux") and hasattr(os, "pidfd_open")):
            raise NotWarm("system", "only Linux is served")
        try:
            order = {**order, "cwd": str(Path.cwd() / order["cwd"]), **_inherited()}
            place, identity = paths_of(self.program, order["env"])
            connection, word = self._connected(place, identity, order["env"])
            process = self._agreed(connection, word, order, keep_open)
        except OSError as error:
            raise NotWarm("connection", f"its server does not answer: {error}") from None
        _go(connection, process)
        return process

    def _connected(self, place: ServerPaths, identity: object, env: Mapping[str, str]) -> tuple[socket.socket, str]:
        """A connection to a keeper that awaits an order, and the keeper's first line."""
        was_seen = place.was_seen(self.idle)
        # The second try reaches the server that the first try has started.
        for _ in range(_TRIES):
            connection = servers.connect(place, within=servers.LONGEST_WORD)
            if connection is not None:
                return connection, self._greeting(connection, place)
            # Another start of the server would fail as before, and take seconds.
            if (refusal := place.refusal()) is not None:
                raise refusal
            if not (was_seen or self.is_required):
                seconds = f"{self.idle:.0f} s, with the same {_ALIKE}"
                raise NotWarm("first", f"no other command of this environment ran within the last {seconds}")
            self.cancellation.raise_if_requested()
            servers.start(place, self.program, identity, env, idle=self.idle, most=self.most)
        raise NotWarm("start", "its server ended at once")

    def _greeting(self, connection: socket.socket, place: ServerPaths) -> str:
        """The first line of the keeper. It may come only after the server's imports."""
        note = place.note()
        longest_import = servers.LONGEST_START if self.is_required else servers.LONGEST_IMPORT
        connection.settimeout(servers.LONGEST_WORD if note.get("is_ready") else longest_import)
        try:
            with self.cancellation.stopping(lambda: _hang_up(connection)):
                word = _line(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise _silence(note) from None
            raise
        if not word:
            connection.close()
            raise place.refusal() or NotWarm("ended", "its server has just ended")
        connection.settimeout(servers.LONGEST_WORD)
        return word

    def _agreed(
        self, connection: socket.socket, word: str, order: Mapping[str, Any], keep_open: Sequence[int]
    ) -> WatchedProcess:
        """Send the order. Returns the process, whose command is ready and waits for ``GO``."""
        try:
            keeper = int(word.removeprefix("hello "))
        except ValueError:
            connection.close()
            raise NotWarm("connection", "its server does not answer as one") from None
        read_end, write_end = os.pipe()
        output = open(read_end, "rb")  # noqa: PTH123, SIM115 - closed with the process
        try:
            try:
                with self.cancellation.stopping(lambda: _hang_up(connection)):
                    # The keeper may have refused before it has read all. Its answer has the reason.
                    with suppress(BrokenPipeError, ConnectionResetError):
                        _send(connection, json.dumps(order).encode(), [write_end, *keep_open])
                    _refuse_refusal(_line(connection))
            finally:
                os.close(write_end)
            self.cancellation.raise_if_requested()
            connection.settimeout(None)
            return WatchedProcess(order["argv"][0], leader=keeper, control=connection, output=output)
        except BaseException:
            connection.close()
            output.close()
            raise


def _go(connection: socket.socket, process: WatchedProcess) -> None:
    """Send ``GO``. From here on the command runs. It is started anew only where the keeper has not received ``GO``.

    A handler of signals can raise any error, an OSError too.
    """
    try:
        connection.sendall(GO)
    except BaseException as error:
        connection.close()
        process.output.close()
        if isinstance(error, (BrokenPipeError, ConnectionResetError)):
            raise NotWarm("connection", f"its server does not answer: {error}") from None
        raise


def _silence(note: Mapping[str, Any]) -> NotWarm:
    """The error for a server that has said nothing.

    :param note: the server's note from before the wait: by now the server may have become ready.
    """
    if note.get("is_ready") is False:
        age = time.time() - note.get("started", 0.0)
        return NotWarm("importing", f"its server, started {age:.0f} s ago, still imports it")
    return NotWarm("hung", "its server does not answer in time")


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)


def _inherited() -> dict[str, Any]:
    """All that a plain process would inherit from this process, except environment variables and folder."""
    return {
        "umask": _umask(),
        "ignored": sorted(n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "situation": fork_conditions.situation(),
    }


def _umask() -> int:
    """The umask as the kernel shows it. ``os.umask`` would change the umask for a moment, for all threads: a race."""
    shown = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").partition("\nUmask:")[2]
    return int(shown.split(None, 1)[0], 8)


def _send(connection: socket.socket, text: bytes, descriptors: Sequence[int]) -> None:
    # Descriptors go with the first byte; the rest may need more than one call.
    message = len(text).to_bytes(guard.LENGTH_BYTES, "big") + text
    sent = socket.send_fds(connection, [message], list(descriptors))
    connection.sendall(message[sent:])


def _line(connection: socket.socket) -> str:
    """The next line, without reading on; empty when the connection ends before."""
    deadline = time.monotonic() + (connection.gettimeout() or 0.0)
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
        try:
            # Byte by byte: what follows the line is read by ``WatchedProcess``.
            byte = connection.recv(1)
        except ConnectionResetError:  # the server has ended before it accepted this connection
            byte = b""
        if not byte or time.monotonic() > deadline:
            return ""
        line += byte
    return line.decode("utf-8", "replace").strip()


def _refuse_refusal(line: str) -> None:
    """Raise NotWarm unless the keeper has said that all is ready."""
    word, _, text = line.partition(" ")
    if word == "ready":
        return
    reason, _, text = text.partition(" ")
    raise NotWarm(reason or "ended", text or "its keeper has just ended")
