"""STDLIB ONLY. The server: one process for each environment, user and host that imports dbt once and forks for each
command.

Started by ``servers.start`` on the environment's own Python. It holds no connection, file or lock of a command: it
hands each accepted connection, unread, to a keeper that it forks. It forks from its main thread, in a process without
other threads than those that are proven harmless.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from cosmos_venv.dbt.warm.server import fork_conditions, forked_command, warm_up
from cosmos_venv.dbt.warm.server.listener import Listener, Refused
from cosmos_venv.dbt.warm.server.warm_up import import_all, variables_read
from cosmos_venv.processes import guard

HARMLESS_THREADS = frozenset({"jemalloc_bg_thd"})  # it is stopped before a fork and started anew after it
_LONGEST_END = 1.0  # seconds from the end of a thread until the kernel shows it no longer
_LOOK_AGAIN = 0.01


def fork() -> int:
    """Fork as os.fork does, without Python's warning about threads (3.12): the threads were checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def unproven_threads() -> list[str]:
    """Names of the threads, beside the main thread, that are not known to be harmless in a fork.

    Some libraries end a thread before a fork, and start it again on demand. A test fork shows such threads. OpenBLAS,
    which numpy and pandas load, has them (``blas_thread_shutdown`` is its handler of pthread_atfork).
    """
    if not _threads():
        return []
    pid = fork()
    if pid == 0:
        # Without handlers of exit: they are the server's.
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + _LONGEST_END
    while (left := _threads()) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN)
    return left


def close_default_connection() -> bool:
    """Close the default connection of DuckDB; return False where no ``duckdb`` with a ``close`` is imported.

    Importing DuckDB 1.4 or 1.5 opens it, with a thread that does not live on in a fork (seen with 1.4.0 to 1.5.6; 1.3.2
    and 2.0.1 start none), and DuckDB opens a new one when it is used. DuckDB 1.2 does not, so this is called only where
    a thread was found.
    """
    close = getattr(sys.modules.get("duckdb"), "close", None)
    if close is None:
        return False
    with suppress(Exception):  # a second look at the threads shows whether it has helped
        close()
    return True


def _threads() -> list[str]:
    python = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
    native = []
    for entry in Path("/proc/self/task").iterdir():
        if int(entry.name) != os.getpid():
            with suppress(OSError):  # it has just ended
                native.append((entry / "comm").read_text(encoding="utf-8", errors="replace").strip())
    return python or [name for name in native if name and name not in HARMLESS_THREADS]


def freeze() -> None:
    """Collect garbage, and take all remaining objects out of later collections."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # else garbage collection would copy all pages of the imports into each child


NAME = "dbt-warm-server"
"""The name of the server's process, as ``ps -e`` shows it. Forks of the server have other names."""
LOOK_AGAIN = 5.0  # seconds within which a server ends when its environment or socket is gone
_CREDENTIALS = struct.Struct("iII")


def main(text: str) -> None:
    """Become a server of its own; returns in the process that was started, at once.

    :param text: the configuration, as ``servers.start`` writes it.
    """
    # The starter waits for a child that ends at once: so the server is no child of a task, and no zombie of a worker.
    if os.fork():
        return
    os.setsid()
    # Its files are for this user alone, whatever the umask of the task that starts it.
    os.umask(0o077)
    forked_command.take_name(NAME)
    # The thread that starts it may have blocked signals, and a new process inherits that.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    status = 1
    try:
        config = json.loads(text)
        try:
            listener = Listener(config)
        except Refused as refused:
            _tell_starter(f"refused {refused.word} {refused}")
            return
        _tell_starter("listening")
        server = Server(config, listener)
        try:
            server.prepare()
            server.serve()
            status = 0
        except Refused as refused:
            listener.refuse(refused.word, str(refused))
    finally:
        os._exit(status)


def _tell_starter(text: str) -> None:
    """Say one line to the task that waits for it; nothing of that task is held afterwards."""
    guard.send(1, text + "\n")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


class Server:
    """One server, from its imports to its end.

    :param config: ``environment``, ``script``, ``identity``, ``modules`` and ``packages`` say what is imported,
        ``idle`` after how many seconds without a command it ends.
    :param listener: its files.
    """

    def __init__(self, config: Mapping[str, Any], listener: Listener) -> None:
        self.config = config
        self.listener = listener
        self.last_used = time.monotonic()
        self.commands = 0
        self.children: set[int] = set()
        self.is_asked_to_end = False
        self.steps: Iterator[warm_up.Step] | None = None

    def prepare(self) -> None:
        """Import all that commands need.

        :raises Refused: for an error of an import, and for a thread that prevents a fork.
        """
        try:
            self._prepare()
        except Refused:
            raise
        except BaseException as error:  # a package may raise anything, SystemExit too
            raise Refused("import", f"{type(error).__name__}: {error}") from error
        self.handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._open_waiting_ends()
        freeze()
        self.steps = warm_up.steps()
        self._note()
        # Stderr was the log of the start, which is removed when nothing went wrong.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)
        self.listener.drop_log()

    def _prepare(self) -> None:
        script = self.config["script"]
        try:
            self.code = compile(Path(script).read_bytes(), script, "exec")
        except (SyntaxError, ValueError):
            raise Refused("binary", f"{script} is no Python program") from None
        # Python puts the folder of a script there, unless -P forbids it (3.11).
        if not getattr(sys.flags, "safe_path", False):
            sys.path.insert(0, str(Path(script).resolve().parent))
        with variables_read() as self.read:
            import_all(self.config["modules"], self.config["packages"])
            # dbt's packages call this function. It starts a program, which would get a command's variables, and caches
            # the result.
            platform.processor()
        warm_up.patch_json_encoder()
        _refuse_threads()

    def _open_waiting_ends(self) -> None:
        self.wakeup, write_end = os.pipe()
        self.used, self.use = os.pipe()
        for descriptor in (self.wakeup, write_end, self.used, self.use):
            os.set_blocking(descriptor, False)
        # A handler alone would not end the wait: Python resumes the wait after a handler (PEP 475).
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        # Any handler: without one the kernel drops the signal, and nothing comes through the pipe.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

        def close() -> None:
            signal.set_wakeup_fd(-1)
            for descriptor in (self.listener.lock, self.wakeup, write_end, self.used):
                os.close(descriptor)
            self.listener.socket.close()

        self.parts = forked_command.ServerParts(self.code, self.handlers, self.read, self.use, close)

    def _on_terminate(self, *_: object) -> None:
        self.is_asked_to_end = True

    def serve(self) -> None:
        """Fork for each connection, until the server has to end.

        :raises Refused: when a warm-up step has started a thread.
        """
        while not self._has_served():
            pause = min(LOOK_AGAIN, self.last_used + self.config["idle"] - time.monotonic())
            pause = 0.0 if self._take_step() else max(pause, 0.0)
            ready = guard.readable([self.listener.socket.fileno(), self.wakeup, self.used], pause)
            if self.wakeup in ready:
                os.read(self.wakeup, 4096)
            self._collect()
            if self.used in ready:
                # One byte for each command that has begun.
                self.commands += len(os.read(self.used, 4096))
                self.last_used = time.monotonic()
                self._note()
            # A task that connects after an installation must not get the dbt from before.
            if self.listener.socket.fileno() in ready and not self._are_files_changed():
                self._accept()
        self.listener.leave()
        # A task that has connected meanwhile sees the end of the connection.
        self.listener.socket.close()

    def _take_step(self) -> bool:
        """Run one warm-up step. Steps run between commands: else the first command would wait for all of them."""
        if self.steps is None:
            return False
        with variables_read() as read:
            step = next(self.steps, None)
            if step is not None:
                warm_up.run_step(step)
        # As for the imports: a command with another value of such a variable is started, not forked.
        self.read.update(read)
        _refuse_threads()
        if step is None:
            self.steps = None
            freeze()
            self._note()
        return step is not None

    def _has_served(self) -> bool:
        return (
            self.is_asked_to_end
            or time.monotonic() >= self.last_used + float(self.config["idle"])
            or not self.listener.is_there
            or self._are_files_changed()
        )

    def _are_files_changed(self) -> bool:
        try:
            now = fork_conditions.identity(self.config["environment"], self.config["script"])
        except OSError:
            return True
        return bool(now != self.config["identity"])

    def _collect(self) -> None:
        while self.children:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.children.clear()
                return
            if pid == 0:
                return
            self.children.discard(pid)

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.socket.accept()
        except OSError:
            return  # the worker has given up
        with connection:
            connection.setblocking(True)
            size = _CREDENTIALS.size
            pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
            try:
                child = fork()
            except OSError:
                return  # the worker sees the end of the connection
            if child:
                self.children.add(child)
                return
            self._become_keeper(connection, pid)

    def _become_keeper(self, connection: socket.socket, worker: int) -> NoReturn:
        status = 1
        try:
            forked_command.serve_worker(connection, worker, self.parts)
            status = 0
        finally:
            os._exit(status)

    def _note(self) -> None:
        """Note what this server has done, for ``cosmos-venv server status``."""
        last_used = time.time() - (time.monotonic() - self.last_used)
        done = {"commands": self.commands, "last_used": last_used, "is_prepared": self.steps is None}
        self.listener.note(is_ready=True, done=done)


def _refuse_threads() -> None:
    threads = unproven_threads()
    if threads and close_default_connection():
        threads = unproven_threads()
    if threads:
        raise Refused("threads", f"importing dbt starts threads ({', '.join(threads)}), which do not live on in a fork")
