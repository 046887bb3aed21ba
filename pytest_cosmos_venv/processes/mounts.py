"""Mounts in a namespace of one process: the process and its children see them, and they end with these processes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

READ_ONLY, REMOUNT, BIND, RECURSIVE = 1, 32, 4096, 1 << 14
"""Flags of mount(2)."""
_PRIVATE = 1 << 18
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000


class MountError(Exception):
    """This machine does not let this process mount."""


def refusal_of(work: Callable[[], object]) -> str | None:
    """Return why the mounts of a function fail on this machine; None where they succeed.

    :param work: makes the mounts. It runs in a forked process: on some systems only a part of the mounts succeeds, and
        a process cannot leave its mount namespace.
    """
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - every error is returned as a reason
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:  # noqa: PTH123 - a descriptor
        told = answer.read()
    os.waitpid(pid, 0)
    return told or None


def begin_own_mounts() -> None:
    """Give this process a mount namespace of its own. This cannot be undone.

    :raises MountError: this machine does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _call("unshare", _NEW_MOUNTS)
    else:
        _call("unshare", _NEW_MOUNTS | _NEW_USER)
        # An ordinary user may map groups only after setgroups was denied (user_namespaces(7)).
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    # With shared propagation, mounts made here would appear on the whole machine.
    mount("none", "/", "", _PRIVATE | RECURSIVE)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount as mount(2) does.

    :param source: what is mounted.
    :param target: the folder over which it is mounted.
    :param kind: the kind of file system, such as ``tmpfs``; empty where the flags say all.
    :param flags: the flags.
    :param data: options of the file system.
    :raises MountError: this machine does not let this process mount.
    """
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode())


def _call(name: str, *arguments: object) -> None:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        raise MountError(f"this system has no {name}") from None
    if function(*arguments):
        raise MountError(f"{name}: {os.strerror(ctypes.get_errno())}")
