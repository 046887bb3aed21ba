"""How does a forked process become one that looks like a started one? It takes over all that a plain start inherits.

Then it runs the script as ``python script …`` does, and ends as Python ends.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import os
import resource
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

FLUSH_FAILED = 120  # as Python itself says it
_COMM = 15
# A parsed project is hundreds of thousands of objects that all live to the end: looking through them for rubbish at
# Python's own pace is a quarter of the time of a large one.
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


class CannotBecome(Exception):
    """This process cannot be given what the command shall have. The text says what."""


def become(order: Mapping[str, Any], *, output: int, handlers: Handlers) -> None:
    """Take over limits, streams, environment variables, umask, signals and folder of a command.

    :param order: what the worker has said.
    :param output: becomes standard output and standard error.
    :param handlers: of signals, as they were when the imports were done and nothing else was.
    :raises CannotBecome: when the system does not allow it.
    :raises OSError: when the folder cannot be entered.
    """
    _take_limits(order["limits"])
    for stream in (1, 2):
        os.dup2(output, stream)
    if output > 2:
        os.close(output)
    _start_resource_tracker()
    _take_environment(order["env"])
    os.umask(order["umask"])
    _take_signals(order, handlers)
    os.chdir(order["cwd"])
    _shake_dice()
    gc.set_threshold(*_COLLECT_AT)


def _take_limits(limits: Mapping[str, Sequence[int]]) -> None:
    for number, wanted in limits.items():
        kind, pair = int(number), (wanted[0], wanted[1])
        try:
            if resource.getrlimit(kind) != pair:
                resource.setrlimit(kind, pair)
        except (OSError, ValueError) as error:
            raise CannotBecome(f"resource limit {number} cannot be {pair}: {error}") from None


def _start_resource_tracker() -> None:
    """Start the process in which Python counts semaphores, which dbt wants, while the server's variables are set.

    It is a program of its own, so ``/proc/<pid>/environ`` shows what it was started with: started by dbt, all that dbt
    has got, secrets too, for as long as the command runs.
    """
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        tracker.ensure_running()


def _take_environment(env: Mapping[str, str]) -> None:
    os.environ.clear()
    for name, value in env.items():
        os.environ[name] = value


def _take_signals(order: Mapping[str, Any], handlers: Handlers) -> None:
    signal.set_wakeup_fd(-1)
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


def _shake_dice() -> None:
    """Python's own generator does it after a fork; others would give every command the same numbers."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)


def run(order: Mapping[str, Any], code: types.CodeType) -> NoReturn:
    """Run the script as the main program of this process, which ends with it."""
    script, python = order["argv"][0], order["python"]
    take_name(Path(script).name)
    sys.argv = list(order["argv"])
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [python, *sys.argv]
    for name in [name for name in sys.modules if name.partition(".")[0] == "cosmos_venv"]:
        del sys.modules[name]  # this code is no part of that environment
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=script, __builtins__=builtins, __cached__=None, __loader__=SourceFileLoader("__main__", script)
    )
    sys.modules["__main__"] = main
    _finish(_status_of(lambda: exec(code, main.__dict__)))  # noqa: S102 - a script of the environment


def take_name(name: str) -> None:
    """Let a list of processes call this one so."""
    try:
        Path("/proc/self/comm").write_text(name[:_COMM], encoding="utf-8")
    except OSError:
        pass  # only for people who look at a list of processes


def _status_of(program: Callable[[], object]) -> int | None:
    """The exit status of a main program; None for one that was interrupted."""
    try:
        program()
    except SystemExit as request:
        return _requested(request.code)
    except KeyboardInterrupt as interrupt:
        _print_exception(interrupt)
        return None
    except BaseException as error:  # noqa: BLE001 - as Python does
        _print_exception(error)
        return 1
    return 0


def _requested(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _print_exception(error: BaseException) -> None:
    """As Python shows what a script has raised: from its own first line on."""
    begins = error.__traceback__
    while begins is not None and begins.tb_frame.f_code.co_filename == __file__:
        begins = begins.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(begins), begins)
    except Exception:  # noqa: BLE001 - somebody's own hook
        traceback.print_exc()


def _finish(status: int | None) -> NoReturn:
    """As Python ends, but for taking its modules apart: threads, what waits for the end, streams."""
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing's own children do it
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:  # noqa: BLE001 - nobody reads it any more
            status = FLUSH_FAILED if status is not None else None
    if status is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(FLUSH_FAILED if status is None else status)
