"""From which process do contenders fork? One that has imported what they need and done nothing else.

It has no thread and no open connection, which a fork would break. For each race it forks a marshal.
``multiprocessing``'s fork server cannot stand in: it settles on environment and standard streams at its start, passes
over a failing import, hands on no ``sys.path`` before Python 3.13, and cannot end what its children leave behind.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path

from pytest_cosmos_venv.races.marshal import Marshal
from pytest_cosmos_venv.races.orders import ModuleAt, RaceOrder

START_SERVER = (
    "import sys; sys.path[:] = sys.argv[2:]; from pytest_cosmos_venv.races.server import serve; serve(int(sys.argv[1]))"
)


def serve(descriptor: int) -> None:
    """Prepare once, then fork a marshal for each connection that is handed over, until the test's process is gone."""
    connection = Connection(descriptor)
    try:
        connection.send(_prepare(connection.recv()))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a marshal: its own connection tells its end
        while True:
            order: RaceOrder = connection.recv()
            _fork_marshal(connection, recv_handle(connection), order)
    except (EOFError, ConnectionError):
        # Without what the imports have registered for the end: Airflow takes two seconds over it.
        os._exit(0)


def _prepare(modules: Sequence[ModuleAt]) -> str | None:
    """Import them; returns what is wrong with this process now, in words."""
    before = _descriptors()
    for module in modules:
        try:
            module.load()
        except BaseException as error:  # noqa: BLE001 - also what pytest raises to skip
            traceback.print_exc()
            return f"importing {module.name} failed with {type(error).__name__}: {error}"
    _settle()
    return _forbids_fork(before)


def _settle() -> None:
    """Looking for rubbish among the imports would copy all their pages into each contender."""
    gc.collect()
    gc.freeze()


def _fork_marshal(connection: Connection, handle: int, order: RaceOrder) -> None:
    if os.fork():
        os.close(handle)
        return
    code = 1
    try:
        connection.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        Marshal(Connection(handle), order).run()
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def _forbids_fork(before: dict[int, str]) -> str | None:
    """Threads do not survive a fork, and what they had locked stays locked; a connection would be used by several."""
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(list(threads.iterdir())) > 1:
        return "the imports have started a thread, which no fork survives"
    opened = [target for number, target in _descriptors().items() if number not in before and _is_connection(number)]
    return f"the imports have opened {opened[0]}, which contenders would share" if opened else None


def _descriptors() -> dict[int, str]:
    folder = Path("/proc/self/fd")
    found = {}
    for entry in folder.iterdir() if folder.is_dir() else []:
        try:
            found[int(entry.name)] = str(entry.readlink())
        except OSError:  # the one that was open for listing the folder
            continue
    return found


def _is_connection(descriptor: int) -> bool:
    """A socket, or a file that is read and written as SQLite does it."""
    import fcntl
    import stat

    mode = os.fstat(descriptor).st_mode
    is_writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    return stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and is_writable)
