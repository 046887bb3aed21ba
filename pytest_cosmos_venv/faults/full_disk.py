"""A disk that is full for one process and its children: the kernel fails their writes with ENOSPC.

The process gets a mount namespace of its own. An overlay lies over each folder that the process may write to. Its upper
layer is a small tmpfs, which a ballast file fills. Afterwards the files that were written are copied to the real
folders, because a task that runs out of space leaves half-written files for the next try.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_cosmos_venv.fake_dbt.script import fill
from pytest_cosmos_venv.processes.mounts import BIND, RECURSIVE, begin_own_mounts, mount, refusal_of
from pytest_cosmos_venv.throwaway import remove_entry

_SIZE = "64m"


def why_no_disk_can_be_full(folder: Path) -> str | None:
    """Return the reason why this machine cannot show a full disk; None where it can.

    :param folder: an existing folder for the trial.
    """
    place, disk = folder / "place", folder / "disk"
    for each in (place, disk):
        each.mkdir()
    return refusal_of(lambda: _mount_overlays([place], keep=[], disk=disk))


@contextmanager
def full_disk(places: Sequence[Path], *, keep: Sequence[Path], disk: Path, is_full: bool) -> Iterator[None]:
    """Let the disk be full for this process within the block. The mounts stay until the process ends.

    :param places: the folders that are on the full disk.
    :param keep: folders below ``places`` that stay writable.
    :param disk: an existing empty folder below one of ``keep``, for the upper layers; ``fill(disk)`` fills the disk
        later.
    :param is_full: whether the disk is full at the start of the block.
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
    """Return upper layer and real folder of each place, as paths that the mounts do not hide."""
    begin_own_mounts()
    mount("tmpfs", str(disk), "tmpfs", 0, f"size={_SIZE},mode=755")
    # These file descriptors still reach the folders after something is mounted over them.
    kept = [(_handle(each), each) for each in keep]
    layers = []
    for number, place in enumerate(places):
        upper, work = disk / f"upper-{number}", disk / f"work-{number}"
        upper.mkdir()
        work.mkdir()
        shutil.copymode(place, upper)
        layers.append((_handle(upper), _handle(place)))
        data = f"lowerdir={place},upperdir={upper},workdir={work}"
        mount("overlay", str(place), "overlay", 0, data if os.getuid() == 0 else f"{data},userxattr")
    for handle, place in kept:
        mount(str(handle), str(place), "", BIND | RECURSIVE)
    return layers


def _handle(folder: Path) -> Path:
    return Path(f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}")


def _put_into(real: Path, upper: Path) -> None:
    """Apply the changes in an upper layer to the real folder."""
    for entry in list(upper.iterdir()):
        target, status = real / entry.name, entry.lstat()
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:  # a whiteout: the file was removed
            remove_entry(target)
        elif stat.S_ISDIR(status.st_mode):
            if _hides_what_is_below(entry) or not target.is_dir() or target.is_symlink():
                remove_entry(target)
                target.mkdir()
            shutil.copymode(entry, target)
            _put_into(target, entry)
        elif stat.S_ISLNK(status.st_mode):
            remove_entry(target)
            target.symlink_to(entry.readlink())
        elif stat.S_ISREG(status.st_mode):
            draft = target.with_name(f".{target.name}.of-full-disk")
            shutil.copy2(entry, draft)
            if target.is_dir():
                remove_entry(target)
            draft.replace(target)


def _hides_what_is_below(folder: Path) -> bool:
    """Whether a folder of an upper layer is opaque: it replaces a removed folder and hides its content."""
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(folder, name) == b"y":
                return True
        except OSError:  # it has no such attribute
            pass
    return False
