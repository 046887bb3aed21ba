"""A disk that is full for one process and what it starts: its writes end with ENOSPC, by the kernel.

The process gets mounts of its own. Over each folder that it may write to lies an overlay whose upper layer is a small
file system in memory; a ballast file fills that. Afterwards the files that it could write go into the real folders,
because a task that runs out of space leaves its half behind for the next try.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_cosmos_venv.fake_dbt.script import fill

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE = 4096, 1 << 14, 1 << 18
_SIZE = "64m"


class MountError(Exception):
    """This machine lets no process of this user mount."""


def why_no_disk_can_be_full(folder: Path) -> str | None:
    """Return the reason why this machine cannot show a full disk; None where it can.

    :param folder: an existing folder for the trial.
    """
    # Tried in another process, since there is no way back.
    place, disk = folder / "place", folder / "disk"
    for each in (place, disk):
        each.mkdir()
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            _mount_overlays([place], keep=[], disk=disk)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:  # noqa: PTH123 - a descriptor
        told = answer.read()
    os.waitpid(pid, 0)
    return told or None


@contextmanager
def full_disk(places: Sequence[Path], *, keep: Sequence[Path], disk: Path, is_full: bool) -> Iterator[None]:
    """Let the disk be full for this process within the block. The mounts stay until the process ends.

    :param places: the folders that are on that disk.
    :param keep: folders below them that are not.
    :param disk: an existing empty folder below one of ``keep``, on which the upper layers lie; ``fill(disk)`` fills
        the disk later.
    :param is_full: whether it is full at once.
    :raises MountError: this machine does not let this process mount.
    """
    layers = _mount_overlays(places, keep=keep, disk=disk)
    if is_full:
        fill(disk)
    try:
        yield
    finally:
        for upper, real in layers:
            _put_into(real, upper)


def _mount_overlays(places: Sequence[Path], *, keep: Sequence[Path], disk: Path) -> list[tuple[Path, Path]]:
    """Return upper layer and real folder of each place; both stay reachable under what is mounted over them."""
    _unshare()
    _mount("tmpfs", str(disk), "tmpfs", 0, f"size={_SIZE},mode=755")
    # Names of what will lie hidden.
    kept = [(_handle(each), each) for each in keep]
    layers = []
    for number, place in enumerate(places):
        upper, work = disk / f"upper-{number}", disk / f"work-{number}"
        upper.mkdir()
        work.mkdir()
        shutil.copymode(place, upper)
        layers.append((_handle(upper), _handle(place)))
        data = f"lowerdir={place},upperdir={upper},workdir={work}"
        _mount("overlay", str(place), "overlay", 0, data if os.getuid() == 0 else f"{data},userxattr")
    for handle, place in kept:
        _mount(str(handle), str(place), "", _BIND | _RECURSIVE)
    return layers


def _handle(folder: Path) -> Path:
    return Path(f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}")


def _put_into(real: Path, upper: Path) -> None:
    """Repeat in a folder what an upper layer has changed in it."""
    for entry in list(upper.iterdir()):
        target, status = real / entry.name, entry.lstat()
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:  # the mark of what was removed
            _remove(target)
        elif stat.S_ISDIR(status.st_mode):
            if _hides_what_is_below(entry) or not target.is_dir() or target.is_symlink():
                _remove(target)
                target.mkdir()
            shutil.copymode(entry, target)
            _put_into(target, entry)
        elif stat.S_ISLNK(status.st_mode):
            _remove(target)
            target.symlink_to(entry.readlink())
        elif stat.S_ISREG(status.st_mode):
            draft = target.with_name(f".{target.name}.of-full-disk")
            shutil.copy2(entry, draft)
            _replace(draft, target)


def _replace(draft: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    draft.replace(target)


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)


def _hides_what_is_below(folder: Path) -> bool:
    """Whether an upper layer has a new folder in place of one that was removed."""
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(folder, name) == b"y":
                return True
        except OSError:  # it has no such attribute
            pass
    return False


def _unshare() -> None:
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _call("unshare", _NEW_MOUNTS)
    else:
        _call("unshare", _NEW_MOUNTS | _NEW_USER)
        # First: an ordinary user may map groups only where setgroups is denied (user_namespaces(7)).
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    # Else what is mounted here may appear in the mounts of the whole machine.
    _mount("none", "/", "", _PRIVATE | _RECURSIVE)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode())


def _call(name: str, *arguments: object) -> None:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        raise MountError(f"this system has no {name}") from None
    if function(*arguments):
        raise MountError(f"{name}: {os.strerror(ctypes.get_errno())}")
