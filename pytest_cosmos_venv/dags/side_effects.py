"""The side effects of a piece of code: processes it starts, connections it opens, files it changes, and by which line.

Python's audit events report them. An audit hook cannot be removed, so the process has one hook, added on first use,
which does nothing without a watch. Work of C libraries without audit events is not seen; nor are changes relative to an
open folder (``dir_fd``), except by ``shutil.rmtree``.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_cosmos_venv.dags.dag_files import NAME_OF_DAG_FILE

_TOOLKIT = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - compared with the names of code objects as they are
_OWN = (os.path.join(_TOOLKIT, "dags"), os.path.join(_TOOLKIT, "dag_checks"), os.path.join(_TOOLKIT, "environments"))  # noqa: PTH118
_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)})  # noqa: PTH120
_INSTALLED = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")
"""The audit events of lookups, first argument: the host. ``gethostbyname_ex`` has the event of ``gethostbyname``.
"""
SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")
"""The audit events with a socket and the target address."""
THROUGH = ", through "
"""The separator between the lines that ``caller`` returns."""
PROCESS, CONNECTION, FILE = "process", "connection", "file"
_watches: list[Watch] = []


def caller() -> str:
    """Return the lines that cause a side effect: ``dags/daily.py:5, through library/module.py:12``.

    The lines are the innermost one of the DAG file that is being built, the innermost outside all installed libraries,
    and the innermost outside Python's own. Files are relative to the current folder.
    """
    frames = [frame for frame in _frames() if not _is_ours_or_pythons(frame)]
    if not frames:
        return "a place that is not known"
    of_file = (frame for frame in frames if frame.f_globals.get("__name__") == NAME_OF_DAG_FILE)
    own = (frame for frame in frames if not frame.f_code.co_filename.startswith(_INSTALLED))
    to_blame = (next(of_file, None), next(own, None), frames[0])
    return THROUGH.join(dict.fromkeys(_line(frame) for frame in to_blame if frame is not None))


def host_looked_up(host: Any) -> str | None:
    """Return the host that a name server is asked about; None where a lookup needs none.

    :param host: the first argument of one of ``LOOKUPS``.
    """
    name = os.fsdecode(host) if isinstance(host, (str, bytes)) else ""
    if not name or name == "localhost":
        return None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    return None


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_ours_or_pythons(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file.startswith(("<", *_OWN)):
        return True
    return file.startswith(_STANDARD) and not file.startswith(_INSTALLED)


def _line(frame: FrameType) -> str:
    file = os.path.relpath(frame.f_code.co_filename)
    return f"{frame.f_code.co_filename if file.startswith('..') else file}:{frame.f_lineno}"


@dataclass(frozen=True)
class SideEffect:
    """One side effect.

    :param kind: ``process``, ``connection`` or ``file``.
    :param what: the side effect in words.
    :param place: the path of a file, a socket or a database; or the host; empty for a process.
    :param where: file and line, as ``caller`` returns them when it is made.
    """

    kind: str
    what: str
    place: str = ""
    where: str = field(default_factory=caller)


@dataclass(kw_only=True, eq=False)
class Watch:
    """The side effects during a block, by the watching thread and by threads that start during the block.

    :param bystanders: ids of threads that were there before; their side effects do not count.
    :param side_effects: the side effects so far.
    """

    bystanders: frozenset[int] = field(default_factory=lambda: frozenset(_other_threads()))
    side_effects: list[SideEffect] = field(default_factory=list)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record the side effect of an audit event, if it is one.

        :param event: the name of the audit event.
        :param arguments: the arguments of the event.
        """
        if threading.get_ident() in self.bystanders:
            return
        try:
            seen = _READERS[event](*arguments)
        except Exception:  # noqa: BLE001 - an error would be raised in the watched code
            seen = SideEffect(PROCESS, f"did {event} with {arguments!r}")
        if seen is not None:
            self.side_effects.append(seen)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch what is done inside; the side effects stay in ``.side_effects``."""
    _install()
    watch = Watch()
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


@cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Python calls the hook for every audit event until the process ends: the cheap exit comes first.
    if _watches and event in _READERS:
        for watch in _watches:
            watch.see(event, arguments)


def _other_threads() -> Iterator[int]:
    for thread in threading.enumerate():
        if thread.ident is not None and thread.ident != threading.get_ident():
            yield thread.ident


def _popen(_: Any, arguments: Sequence[Any], *__: Any) -> SideEffect:
    return SideEffect(PROCESS, f"started a process: {shlex.join(map(os.fsdecode, arguments))}")


def _system(command: Any) -> SideEffect:
    return SideEffect(PROCESS, f"started a process: {os.fsdecode(command)}")


def _fork(*_: Any) -> SideEffect:
    return SideEffect(PROCESS, "forked this process")


def _connect(_: Any, address: Any) -> SideEffect | None:
    if address is None:  # recorded when the socket was connected
        return None
    if not isinstance(address, tuple):
        place = os.fsdecode(address)
        return SideEffect(CONNECTION, f"opened a connection to {place}", place)
    host, port = address[:2]
    return SideEffect(CONNECTION, f"opened a connection to {host}:{port}", str(host))


def _lookup(host: Any, *_: Any) -> SideEffect | None:
    name = host_looked_up(host)
    return None if name is None else SideEffect(CONNECTION, f"asked for the address of {name}", name)


def _sqlite(database: Any) -> SideEffect | None:
    place = os.fsdecode(database)
    if place in ("", ":memory:"):
        return None
    return SideEffect(CONNECTION, f"opened the SQLite database {place}", place)


def _open(path: Any, _: Any, flags: Any) -> SideEffect | None:
    return _changed("wrote", path) if flags & _WRITES else None


def _mkdir(path: Any, *_: Any) -> SideEffect | None:
    return None if _exists(path) else _changed("made the folder", path)


def _remove(path: Any, *_: Any) -> SideEffect | None:
    frame = next((frame for frame in _frames() if not frame.f_code.co_filename.startswith(_OWN)), None)
    code = None if frame is None else frame.f_code
    if code and code.co_filename.endswith("/shutil.py") and code.co_name.startswith("_rmtree"):
        return None  # the own event of shutil.rmtree came before
    return _remove_tree(path)


def _remove_tree(path: Any, *_: Any) -> SideEffect | None:
    return _changed("removed", path) if _exists(path) else None


def _move(source: Any, target: Any, *_: Any) -> SideEffect | None:
    return _changed(f"moved {source} to", target)


def _link(source: Any, target: Any, *_: Any) -> SideEffect | None:
    # The source of a symbolic link is relative to the link, not to the current directory.
    return _changed(f"linked {source} as", target)


def _changed(verb: str, path: Any) -> SideEffect | None:
    if isinstance(path, int):  # recorded when the descriptor was opened
        return None
    place = os.path.realpath(os.fsdecode(path))
    # Devices are no files, and Python itself writes compiled modules at each first import.
    if place.startswith(("/dev/", "/proc/")) or "__pycache__" in Path(place).parts:
        return None
    return SideEffect(FILE, f"{verb} {place}", place)


def _exists(path: Any) -> bool:
    return isinstance(path, int) or os.path.lexists(path)


_READERS: Mapping[str, Callable[..., SideEffect | None]] = {
    "os.fork": _fork,
    "os.link": _move,
    "os.mkdir": _mkdir,
    "os.remove": _remove,
    "os.rename": _move,
    "os.rmdir": _remove,
    "os.symlink": _link,
    "os.system": _system,
    "os.truncate": lambda path, *_: _changed("wrote", path),
    "open": _open,
    "shutil.rmtree": _remove_tree,
    "socket.connect": _connect,
    "socket.getaddrinfo": _lookup,
    "socket.gethostbyname": _lookup,
    "socket.sendmsg": _connect,
    "socket.sendto": _connect,
    "sqlite3.connect": _sqlite,
    "subprocess.Popen": _popen,
}
