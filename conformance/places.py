"""In which places can a task find its directory? On a file system that is read-only, or full.

These are mounts of its own process: one holds for it and what it starts, and is gone with them.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _PRIVATE = 1, 32, 4096, 1 << 18 | 1 << 14
_A_PAGE = 4096


class PlaceError(Exception):
    """This machine does not let the suite make the place: nothing is said about the implementation."""


def enter(kind: str, path: str) -> None:
    """Let this process find a directory that is ``read-only``, with all that is in it, or ``full``, with nothing in it.

    :param path: an existing directory.
    :raises PlaceError: the kernel refuses.
    """
    _of_its_own()
    if kind == "read-only":
        _mount(path, path, "", _BIND)
        _mount(path, path, "", _BIND | _REMOUNT | _READ_ONLY)
    elif kind == "full":
        _mount("tmpfs", path, "tmpfs", 0, f"size={_A_PAGE},nr_inodes=1000,mode=755")
        Path(path, "ballast").write_bytes(bytes(_A_PAGE))
    else:
        raise PlaceError(f"There is no place {kind!r}: give read-only or full.")


def _of_its_own() -> None:
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _call("unshare", _NEW_MOUNTS)
    else:
        _call("unshare", _NEW_MOUNTS | _NEW_USER)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    _mount("none", "/", "", _PRIVATE)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode())


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise PlaceError(f"{name}{arguments}: {os.strerror(number)}")
