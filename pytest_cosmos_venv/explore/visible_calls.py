"""Replacements for calls of ``os`` and ``fcntl`` that other processes can see: each stops before the real call.

The calls are replaced once, in the process from which contenders are forked, under every name that a module has for
them. In a process that is no contender, a replacement only calls the real function.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pytest_cosmos_venv.explore.stepping import BLOCKED, Stepper, reading, stepper
from pytest_cosmos_venv.explore.steps import ADD, EVERYTHING, READ, WRITE, Footprint

_Function = Callable[..., Any]
_Footprints = tuple[Footprint, Footprint]
_real_os = {name: getattr(os, name) for name in dir(os) if callable(getattr(os, name))}
_real_flock, _real_fcntl = fcntl.flock, fcntl.fcntl
_FLAGS = ("O_RDWR", "O_WRONLY", "O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND")
_BILLION = 1_000_000_000
# <fcntl.h> of Linux; Python has the names from 3.9 on.
_OFD_SET, _OFD_WAIT = 37, 38
_DUPLICATES = (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC)
_KINDS = {fcntl.F_RDLCK: fcntl.LOCK_SH, fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_UNLCK: fcntl.LOCK_UN}
_LOCKS = {fcntl.LOCK_SH: "LOCK_SH", fcntl.LOCK_EX: "LOCK_EX", fcntl.LOCK_UN: "LOCK_UN"}


def replace_everywhere(replacements: dict[_Function, _Function]) -> None:
    """Put functions in place of others, under every global name that a module has for them.

    :param replacements: old function -> new one.
    """
    by_id = {id(old): new for old, new in replacements.items()}
    for name, module in list(sys.modules.items()):
        if name.startswith("pytest_cosmos_venv.explore") or name in {"pytest_cosmos_venv.real_time", "posix"}:
            continue
        for key, value in list(getattr(module, "__dict__", {}).items()):
            new = by_id.get(id(value))
            if new is not None and key != "__builtins__":
                setattr(module, key, new)
    for calls in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        calls.update([new for old, new in replacements.items() if old in calls])


def replaced_calls() -> dict[_Function, _Function]:
    """Return the real functions of ``os`` and ``fcntl``, and what is put in their place."""
    made = {_real_os[name]: _visible(name, rule) for name, rule in _RULES.items() if name in _real_os}
    made.update({_real_os[name]: _visible_of_descriptor(name, mode) for name, mode in _OF_A_DESCRIPTOR.items()})
    made[_real_os["open"]] = os_open
    made[_real_os["close"]] = _close
    made[_real_os["dup"]] = _dup
    made[_real_os["dup2"]] = _dup2
    made[_real_os["kill"]] = _kill
    made[_real_os["utime"]] = _utime
    made[_real_flock] = _flock
    made[_real_fcntl] = _fcntl
    if "pidfd_open" in _real_os:  # not in each Python for Linux
        made[_real_os["pidfd_open"]] = _pidfd_open
    return made


def path_text(here: Stepper, path: str) -> str:
    """Return a path as it is shown: relative to the explored folder.

    :param here: the contender.
    :param path: below the folder.
    """
    return path[len(here.places.root) + 1 :] or "."


def set_time(here: Stepper, path: str | int) -> None:
    """Give a file that was just written the time of the virtual clock.

    :param here: the contender.
    :param path: of the file, or its descriptor.
    """
    now = int(here.started_at) * _BILLION + round(here.clock * _BILLION)
    try:
        _real_os["utime"](path, ns=(now, now))
    except OSError:
        return


def parent(path: str) -> str:
    """Return the folder in which a path lies.

    :param path: below the explored folder.
    """
    return path.rpartition("/")[0]


# Rules: (contender, path, following links?) -> the footprints of a success and of a failure.
def _looks(here: Stepper, path: str, follow: bool) -> _Footprints:
    names = reading(*here.places.chain(path, follow=follow))
    return (*names, *reading(here.places.file(path, follow=follow))), names


def _looks_up(here: Stepper, path: str, follow: bool) -> _Footprints:
    names = reading(*here.places.chain(path, follow=follow))
    return names, names


def _lists(here: Stepper, path: str, _follow: bool) -> _Footprints:
    names = reading(*here.places.chain(path))
    return (*names, (here.places.entries(path), READ)), names


def _writes_file(here: Stepper, path: str, follow: bool) -> _Footprints:
    names = reading(*here.places.chain(path, follow=follow))
    file = here.places.file(path, follow=follow)
    return (*names, *(() if file is None else ((file, WRITE),))), names


def changes_name(here: Stepper, path: str, follow: bool = False) -> _Footprints:
    """Return the footprints of a call that makes or removes a name: of a success and of a failure.

    :param here: the contender.
    :param path: the name.
    :param follow: whether a link in the last place is followed.
    """
    names = here.places.chain(path, follow=follow)
    if not names:
        return (), ()
    made = (*reading(*names[:-1]), (names[-1], WRITE), (here.places.entries(parent(path)), ADD))
    return made, reading(*names)


def _removes_folder(here: Stepper, path: str, _follow: bool) -> _Footprints:
    made, failed = changes_name(here, path)
    entries = here.places.entries(path)
    return (*made, (entries, WRITE)), (*failed, (entries, READ))


_RULES: dict[str, Callable[[Stepper, str, bool], _Footprints]] = {
    "stat": _looks,
    "lstat": _looks,
    "access": _looks,
    "readlink": _looks_up,
    "listdir": _lists,
    "scandir": _lists,
    "chmod": _writes_file,
    "truncate": _writes_file,
    "mkdir": changes_name,
    "unlink": changes_name,
    "remove": changes_name,
    "rmdir": _removes_folder,
    "rename": changes_name,
    "replace": changes_name,
    "link": changes_name,
    "symlink": changes_name,
}
_ONE_PATH = ((0, "path", "dir_fd"),)
# Name of a call -> the paths that it changes: position, keyword, and keyword of the descriptor of their folder.
_PATHS = {
    **dict.fromkeys(("rename", "replace", "link"), ((0, "src", "src_dir_fd"), (1, "dst", "dst_dir_fd"))),
    "symlink": ((1, "dst", "dir_fd"),),
}
_NEVER_FOLLOWS = {"lstat", "readlink", "mkdir", "unlink", "remove", "rmdir", "rename", "replace", "link", "symlink"}
_MAKES = {"mkdir"}
# Call of a descriptor -> its effect on the content of the file; "": it has no effect.
_OF_A_DESCRIPTOR = {
    "read": READ,
    "pread": READ,
    "fstat": READ,
    "write": WRITE,
    "pwrite": WRITE,
    "ftruncate": WRITE,
    "fchmod": WRITE,
    "fsync": "",
    "fdatasync": "",
}
_WRITES = {"write", "pwrite", "ftruncate", "truncate"}


def _visible(name: str, rule: Callable[[Stepper, str, bool], _Footprints]) -> _Function:
    """The visible form of a call whose first argument is a path, or of a call with two paths."""
    real = _real_os[name]

    @functools.wraps(real)
    def call(*arguments: Any, **options: Any) -> Any:
        here = stepper()
        if here is None:
            return real(*arguments, **options)
        follow = name not in _NEVER_FOLLOWS and options.get("follow_symlinks", True)
        paths = _paths(here, name, arguments, options)
        if not paths:
            process = here.places.process_of(arguments[0] if arguments else None)
            return look_at_process(here, process, lambda: real(*arguments, **options))

        def touched() -> _Footprints:
            if name == "link" and len(paths) == 2:
                looked, _ = _looks_up(here, paths[0], False)
                made, failed = changes_name(here, paths[1])
                return (*looked, *made), (*looked, *failed)
            both = [rule(here, path, follow) for path in paths]
            return tuple(e for made, _ in both for e in made), tuple(e for _, failed in both for e in failed)

        text = " ".join([name, " -> ".join(path_text(here, path) for path in paths)])

        def act() -> Any:
            value = real(*arguments, **options)
            if name in _MAKES or name in _WRITES:
                set_time(here, paths[0])
            return value

        return here.perform(name, text, act, touched)

    return call


def _paths(here: Stepper, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> list[str]:
    """The paths of a call that lie below the explored folder."""
    found = []
    for position, key, directory in _PATHS.get(name, _ONE_PATH):
        given = arguments[position] if position < len(arguments) else options.get(key, ".")
        found.append(here.places.path_of(given, options.get(directory)))
    return [path for path in found if path is not None]


def _visible_of_descriptor(name: str, mode: str) -> _Function:
    """The visible form of a call whose first argument is a descriptor."""
    real = _real_os[name]

    @functools.wraps(real)
    def call(descriptor: Any, *arguments: Any, **options: Any) -> Any:
        here = stepper()
        path = None if here is None or not isinstance(descriptor, int) else here.places.opened.get(descriptor)
        if here is None or path is None:
            return real(descriptor, *arguments, **options)
        return of_descriptor(
            here, name, mode, descriptor, path, lambda: real(descriptor, *arguments, **options), name in _WRITES
        )

    return call


def of_descriptor(
    here: Stepper, name: str, mode: str, descriptor: int, path: str, act: Callable[[], Any], is_writing: bool
) -> Any:
    """Make one step with an open file.

    :param here: the contender.
    :param name: of the call.
    :param mode: how it touches the content of the file; empty: not at all.
    :param descriptor: of the file.
    :param path: under which it was opened.
    :param act: makes the call.
    :param is_writing: whether the file gets another time.
    """

    def touched() -> _Footprints:
        file = here.places.file(descriptor)
        found = () if file is None or not mode else ((file, mode),)
        return found, found

    def make() -> Any:
        value = act()
        if is_writing:
            set_time(here, descriptor)
        return value

    return here.perform(name, f"{name} {path_text(here, path)}", make, touched)


def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Take the place of ``os.open``.

    :param path: as for ``os.open``.
    :param flags: as for ``os.open``.
    :param mode: as for ``os.open``.
    :param dir_fd: as for ``os.open``.
    """
    real = _real_os["open"]
    here = stepper()
    found = None if here is None else here.places.path_of(path, dir_fd)
    if here is None or found is None:
        process = None if here is None else here.places.process_of(path)
        return int(look_at_process(here, process, lambda: real(path, flags, mode, dir_fd=dir_fd)))
    is_new = False

    def touched() -> _Footprints:
        nonlocal is_new
        names = here.places.chain(found, follow=not flags & os.O_NOFOLLOW)
        file = here.places.file(found)
        is_new = bool(flags & os.O_CREAT) and file is None
        if is_new and names:
            made = (*reading(*names[:-1]), (names[-1], WRITE), (here.places.entries(parent(found)), ADD))
            return made, reading(*names)
        content = ((file, WRITE),) if flags & os.O_TRUNC and file is not None else ()
        return (*reading(*names), *content), reading(*names)

    def act() -> int:
        descriptor = int(real(path, flags, mode, dir_fd=dir_fd))
        here.places.opened[descriptor] = found
        if is_new or flags & os.O_TRUNC:
            set_time(here, descriptor)
        return descriptor

    flagged = "|".join(name for name in _FLAGS if flags & getattr(os, name))
    return here.perform("open", f"open {path_text(here, found)}{f' {flagged}' if flagged else ''}", act, touched)


def look_at_process(here: Stepper | None, process: int | None, act: Callable[[], Any]) -> Any:
    """Make a call; the call is a step if it reads the state of another contender's process.

    :param here: the contender that calls; None: this process is no contender.
    :param process: index of the contender that the call reads; None: it is no contender's process.
    :param act: makes the call.
    """
    if here is None or process is None or process == here.index:
        return act()
    touched = reading(f"process:{process}")
    return here.perform("look", f"look at the process of contender-{process}", act, lambda: (touched, touched))


def _close(fd: int) -> None:
    here = stepper()
    real = _real_os["close"]
    if here is None or fd not in here.places.opened:
        real(fd)
        return
    close_seen(here, fd, lambda: real(fd))


def close_seen(here: Stepper, descriptor: int, act: Callable[[], None]) -> None:
    """Close a file; closing is a step only where it releases a lock.

    :param here: the contender.
    :param descriptor: of the file.
    :param act: closes it.
    """
    path = here.places.opened.get(descriptor)
    lock = None if path is None else here.places.file(descriptor, kind="lock")
    if path is None or lock is None or lock not in here.places.locked or not _ends_lock(descriptor):
        here.places.opened.pop(descriptor, None)
        act()
        return
    found = ((lock, WRITE),)
    here.perform("close", f"close {path_text(here, path)}, which releases its lock", act, lambda: (found, found))
    here.places.opened.pop(descriptor, None)


def _ends_lock(descriptor: int) -> bool:
    """Whether closing a descriptor releases a lock of this process, by the kernel's ``fdinfo``.

    A lock ends with the last duplicate of its descriptor.
    """
    inode = f":{_real_os['fstat'](descriptor).st_ino} "
    held: dict[int, str] = {}
    for name in _real_os["listdir"]("/proc/self/fdinfo"):
        try:
            info = _real_os["open"](f"/proc/self/fdinfo/{name}", os.O_RDONLY)
        except OSError:  # the descriptor of the listing itself
            continue
        lines = _real_os["read"](info, 1 << 16).decode().splitlines()
        _real_os["close"](info)
        held[int(name)] = "".join(line for line in lines if line.startswith("lock:") and inode in line)
    own = held.pop(descriptor, "")
    # Two files that were opened separately may each hold a shared lock: then each lock ends by itself.
    return bool(own) and (" READ " in own or not any(held.values()))


def _dup(fd: int, /) -> int:
    return _known(fd, int(_real_os["dup"](fd)))


def _dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    if stepper() is not None and fd != fd2:
        with suppress(OSError):
            _close(fd2)  # as dup2 does, and a lock may end with it
    return _known(fd, int(_real_os["dup2"](fd, fd2, inheritable)))


def _known(old: int, new: int) -> int:
    here = stepper()
    if here is not None and old in here.places.opened:
        here.places.opened[new] = here.places.opened[old]
    return new


def _kill(pid: int, sig: int, /) -> None:
    here = stepper()
    real = _real_os["kill"]
    process = None if here is None else here.places.pids.get(pid)
    if here is None or process is None or process == here.index:
        real(pid, sig)
        return
    touched = ((f"process:{process}", WRITE if sig else READ),)
    here.perform(
        "kill", f"kill contender-{process} with signal {sig}", lambda: real(pid, sig), lambda: (touched, touched)
    )


def _pidfd_open(pid: int, flags: int = 0) -> int:
    here = stepper()
    process = None if here is None else here.places.pids.get(pid)
    return int(look_at_process(here, process, lambda: _real_os["pidfd_open"](pid, flags)))


def _utime(path: Any, times: Any = None, **options: Any) -> None:
    here = stepper()
    real = _real_os["utime"]
    found = None if here is None else here.places.path_of(path, options.get("dir_fd"))
    if here is None or found is None:
        real(path, times, **options)
        return

    def act() -> None:
        if times is None and options.get("ns") is None:
            real(path, **options)  # raises where the real call is refused
            set_time(here, path if isinstance(path, int) else found)
            return
        real(path, times, **options)

    follow = options.get("follow_symlinks", True)
    here.perform("utime", f"utime {path_text(here, found)}", act, lambda: _writes_file(here, found, follow))


def _flock(fd: Any, operation: int, /) -> None:
    _lock(fd, operation, "flock", lambda kind: _real_flock(fd, kind))


def _fcntl(fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    """Make locks visible and track duplicated descriptors; pass other commands of ``fcntl`` through."""
    here = stepper()
    if cmd in _DUPLICATES:
        return _known(fd if isinstance(fd, int) else fd.fileno(), int(_real_fcntl(fd, cmd, arg)))
    path = here.places.path_of(fd if isinstance(fd, int) else fd.fileno()) if here is not None else None
    if path is None or cmd not in (_OFD_SET, _OFD_WAIT):
        return _real_fcntl(fd, cmd, arg)
    kind = _KINDS[int.from_bytes(arg[:2], sys.byteorder)]
    waits = 0 if cmd == _OFD_WAIT else fcntl.LOCK_NB
    # A lock that is waited for is tried without waiting.
    return _lock(fd, kind | waits, "fcntl", lambda _: _real_fcntl(fd, _OFD_SET, arg))


def _lock(fd: Any, operation: int, name: str, act: Callable[[int], Any]) -> Any:
    """Try a blocking lock without waiting, and again each time that a contender has released it."""
    here = stepper()
    descriptor = fd if isinstance(fd, int) else fd.fileno()
    path = None if here is None else here.places.opened.get(descriptor)
    if here is None or path is None:
        return act(operation)
    kind = operation & ~fcntl.LOCK_NB
    mode = ADD if kind == fcntl.LOCK_SH else WRITE
    waits = kind != fcntl.LOCK_UN and not operation & fcntl.LOCK_NB
    text = (
        f"{name} {path_text(here, path)} {_LOCKS.get(kind, kind)}{'' if waits or kind == fcntl.LOCK_UN else '|LOCK_NB'}"
    )
    is_blocked = False
    while True:
        lock = here.places.file(descriptor, kind="lock") or EVERYTHING
        here.arrive(name, text, **({"how": BLOCKED, "until": lock} if is_blocked else {}))
        try:
            value = act(operation | fcntl.LOCK_NB if waits else operation)
        except OSError as error:
            is_taken = isinstance(error, (BlockingIOError, PermissionError))
            here.note(
                name,
                text,
                ((lock, READ),),
                outcome="waits" if waits and is_taken else "taken" if is_taken else str(error),
            )
            if not (waits and is_taken):
                raise
            is_blocked = True
            continue
        here.note(name, text, ((lock, mode),))
        here.places.locked.add(lock)
        return value
