"""The files that would be empty if the power failed now, as the kernel knows them."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path

import pytest

_FS_IOC_FIEMAP = 0xC020660B
_DELAYED_ALLOCATION = 0x4
_HEADER, _EXTENT = "=QQLLLL", "=QQQQQLLLL"


def is_unwritten(file: Path) -> bool:
    """Whether some of its content stands in memory alone: no block of the disk has been chosen for it yet."""
    room = bytearray(struct.pack(_HEADER, 0, 2**64 - 1, 0, 0, 16, 0) + bytes(16 * struct.calcsize(_EXTENT)))
    with file.open("rb") as opened:
        fcntl.ioctl(opened, _FS_IOC_FIEMAP, room)
    extents = struct.unpack_from(_HEADER, room)[3]
    offsets = (struct.calcsize(_HEADER) + number * struct.calcsize(_EXTENT) for number in range(extents))
    return any(struct.unpack_from(_EXTENT, room, offset)[5] & _DELAYED_ALLOCATION for offset in offsets)


def require_delayed_allocation(folder: Path) -> None:
    """Skip where the file system writes at once, or does not tell."""
    fresh = folder / "fresh"
    fresh.write_text("not yet on the disk")
    try:
        if not is_unwritten(fresh):
            pytest.skip("this file system does not put off writing")
    except OSError:
        pytest.skip("this file system does not tell what it has written")
    finally:
        fresh.unlink()
