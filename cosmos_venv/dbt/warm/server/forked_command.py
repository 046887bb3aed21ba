"""STDLIB ONLY. From the fork to the end of one command: the keeper, which is forked in place of a plain command's
guard, and the child, which becomes dbt.

A child looks like a started process. It takes over all that a plain start inherits, and runs the script as
``python script …`` does. It ends as Python ends, except that an interrupt ends it with exit code 1.

A keeper tells the worker, line by line: ``hello PID``; after the order ``ready PID`` or ``refused WORD TEXT``; after
the worker's ``g`` what a guard tells. Before that ``g`` dbt's entry point is not called, and the worker may give up.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NoReturn

from cosmos_venv.dbt.warm.server import fork_conditions
from cosmos_venv.processes import guard

_COMM = 15
_FLUSH_FAILED = 120  # Python's own exit code
# A parsed project has hundreds of thousands of objects that all live to the end. Garbage collection with Python's own
# thresholds takes a quarter of the time of a large project.
_COLLECT_AT = (50_000, 20, 100)
# A guard puts these back for a plain command, and so does Python when it starts.
_PUT_BACK = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGCHLD: signal.SIG_DFL,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}
_NOT_OURS = frozenset({signal.SIGKILL, signal.SIGSTOP})

Handlers = Mapping[Any, Any]


def become(order: Mapping[str, Any], *, output: int, handlers: Handlers) -> None:
    """Take over streams, environment variables, umask, signals and folder of a command.

    :param order: the order of the worker.
    :param output: becomes standard output and standard error.
    :param handlers: signal handlers, as the imports have left them.
    :raises OSError: when the folder cannot be entered.
    """
    for stream in (1, 2):
        os.dup2(output, stream)
    if output > 2:
        os.close(output)
    # Python's resource tracker, a process that dbt needs, is started before the command's variables are set. Else its
    # /proc/<pid>/environ would show all variables of dbt, secrets too, as long as it runs.
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        tracker.ensure_running()
    os.environ.clear()
    os.environ.update(order["env"])
    # The server has set a umask of its own, for its own files.
    os.umask(order["umask"])
    _take_signals(order, handlers)
    os.chdir(order["cwd"])
    _reseed()
    gc.set_threshold(*_COLLECT_AT)


def _take_signals(order: Mapping[str, Any], handlers: Handlers) -> None:
    signal.set_wakeup_fd(-1)
    # As a plain start inherits them: ignored signals stay ignored, blocked ones blocked.
    ignored = set(order["ignored"])
    for number in sorted(signal.valid_signals() - _NOT_OURS):
        handler = handlers.get(number, signal.SIG_DFL)
        if handler is None or (callable(handler) and handler is not signal.default_int_handler):
            wanted = handler  # dbt's own imports have set it
        else:
            wanted = _PUT_BACK.get(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        if wanted is not None and signal.getsignal(number) != wanted:
            signal.signal(number, wanted)
    signal.pthread_sigmask(signal.SIG_SETMASK, order["blocked"])


def _reseed() -> None:
    """Seed random generators after a fork. Python's own does so itself; others would repeat their numbers."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)


def run(order: Mapping[str, Any], code: types.CodeType) -> NoReturn:
    """Run the script as the main program of this process, which ends with it.

    :param order: the order of the worker.
    :param code: of the script.
    """
    script = order["argv"][0]
    take_name(Path(script).name)
    sys.argv = list(order["argv"])
    # Python has it from 3.10 on, and this may run on 3.9.
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [sys.executable, *sys.argv]
    for name in [name for name in sys.modules if name.partition(".")[0] == "cosmos_venv"]:
        del sys.modules[name]  # this code is no part of that environment
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=script, __builtins__=builtins, __cached__=None, __loader__=SourceFileLoader("__main__", script)
    )
    sys.modules["__main__"] = main
    _finish(_status_of(code, main))


def take_name(name: str) -> None:
    """Set the name of this process in lists of processes.

    :param name: the name. The kernel keeps its first 15 bytes.
    """
    with suppress(OSError):  # only for people who look at a list of processes
        Path("/proc/self/comm").write_text(name[:_COMM], encoding="utf-8")


def _status_of(code: types.CodeType, main: types.ModuleType) -> int:
    """The exit status of a main program. An exception of the program is shown as Python shows it."""
    try:
        exec(code, main.__dict__)  # noqa: S102 - a script of the environment
    except SystemExit as request:
        if request.code is None or isinstance(request.code, int):
            return (request.code or 0) & 0xFF
        print(request.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001 - as Python does
        # The first frame is this function, and no part of the script.
        traceback.print_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        return 1
    return 0


def _finish(status: int) -> NoReturn:
    """End as Python ends, with threads, exit handlers and streams, but do not clear modules."""
    # Clearing modules would write to every page that is shared with the server.
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing's own children do it
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:  # noqa: BLE001 - the disk is full, or the reader is gone
            status = _FLUSH_FAILED
    os._exit(status)


NAME = "dbt-warm-keeper"
"""The name of a keeper's process until its command begins; then it has the name of the command."""
GO = b"g"
_PREPARED = b"prepared"
_LONGEST_REFUSAL = 4096


@dataclass(frozen=True)
class ServerParts:
    """The parts of a server that each keeper needs.

    :param code: of the script.
    :param handlers: signal handlers, as the imports have left them.
    :param read: environment variables that the imports have read, with their values then.
    :param used: a pipe to the server: one byte for each command that begins.
    :param close: closes the descriptors that only the server needs.
    """

    code: types.CodeType
    handlers: Handlers
    read: Mapping[str, str | None]
    used: int
    close: Callable[[], None]


def serve_worker(control: socket.socket, worker: int, parts: ServerParts) -> None:
    """Serve one worker; returns when nothing of its command is left. Called in a process that was forked for it.

    :param control: the connection to the worker.
    :param worker: the worker's PID, as the kernel gives it.
    :param parts: of the server.
    """
    parts.close()
    take_name(NAME)
    os.setsid()  # as the guard of a plain command leads one
    wakeup, write_end = guard.stand_guard()
    try:
        # The connection alone does not tell that the task is gone: a child that it forked may hold it open.
        alive = os.pidfd_open(worker)
    except OSError:
        return  # it is gone
    guard.send(control.fileno(), f"hello {os.getpid()}\n")
    text, handed_over = guard.receive(control.fileno())
    if text is None:
        return
    order = json.loads(text)
    reason = why_not(order, parts.read)
    if reason is not None:
        guard.send(control.fileno(), f"refused {reason}\n")
        return
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        for descriptor in (wakeup, write_end, alive, *handed_over[1:]):
            os.close(descriptor)
        for connection in (control, ours):
            connection.close()
        os.close(parts.used)
        _become_dbt(theirs, os.getppid(), order, handed_over[0], parts)
    theirs.close()
    # The keeper holds the leases, handed_over[1:], until all processes of dbt are gone. With the output open, the
    # worker would wait for the keeper's end too.
    os.close(handed_over[0])
    _run(pid, ours, control, order, parts, alive=alive, wakeup=wakeup)


def why_not(order: Mapping[str, Any], read: Mapping[str, str | None]) -> str | None:
    """Why the command must not be forked, as a word and a sentence; None when it may be forked.

    :param order: the order of the worker.
    :param read: environment variables that the imports have read, with their values then.
    """
    name = fork_conditions.difference(order["situation"], fork_conditions.situation())
    if name is not None:
        return f"situation the task and the server of its environment differ in their {name}"
    for name, value in read.items():
        if order["env"].get(name) != value:
            return f"variable the environment variable {name} is read while dbt is imported, and has another value"
    return None


def _become_dbt(step: socket.socket, keeper: int, order: Mapping[str, Any], output: int, parts: ServerParts) -> None:
    try:
        # A keeper that is killed takes its dbt along. The worker finds the processes that dbt has started.
        guard.prctl(guard.PR_SET_PDEATHSIG, signal.SIGKILL)
        # The keeper may have been killed before that call.
        if os.getppid() != keeper:
            return
        become(order, output=output, handlers=parts.handlers)
        step.sendall(_PREPARED)
        # A worker that says nothing has given up, and starts the command as a plain process.
        if step.recv(1) != GO:
            return
        step.close()
        run(order, parts.code)
    except OSError as error:
        step.sendall(f"folder {error}".encode())
    finally:
        os._exit(127)


def _run(
    pid: int,
    step: socket.socket,
    control: socket.socket,
    order: Mapping[str, Any],
    parts: ServerParts,
    *,
    alive: int,
    wakeup: int,
) -> None:
    prepared = step.recv(_LONGEST_REFUSAL)
    if prepared != _PREPARED:
        words = prepared.decode("utf-8", "replace").replace("\n", " ") or "died the forked process ended at once"
        guard.send(control.fileno(), f"refused {words}\n")
        return
    guard.send(control.fileno(), f"ready {pid}\n")
    if _is_told_to_go(control, alive):
        guard.send(parts.used, "u")
        step.sendall(GO)
        # Lists of servers show this name for the command. Further words of the command line may be secret.
        take_name(" ".join([Path(order["argv"][0]).name, *order["argv"][1:2]]))
    step.close()  # without GO the child ends by itself
    os.close(parts.used)
    first_step = guard.INTERRUPT_AT if order["interrupts"] else guard.TERMINATE_AT
    guard.watch(
        pid,
        control.fileno(),
        wakeup,
        is_worker_gone=lambda: bool(guard.readable([alive], 0)),
        ladder=guard.Ladder(first_step),
    )


def _is_told_to_go(control: socket.socket, alive: int) -> bool:
    while True:
        ready = guard.readable([control.fileno(), alive], guard.PARENT_CHECK)
        if control.fileno() in ready:
            try:
                return control.recv(1) == GO
            except OSError:
                return False
        if alive in ready:
            return False
