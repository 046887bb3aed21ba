"""The things that may stand under the name of a file of ours, by the hand of somebody else or of a file system."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

KINDS = ("fifo", "link-to-itself", "link-to-nowhere", "link-to-a-file", "directory", "socket")


def plant(path: Path, kind: str) -> None:
    """Put it there, in the place of whatever stands there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link-to-itself":
        path.symlink_to(path.name)
    elif kind == "link-to-nowhere":
        path.symlink_to(f"{path.name}.nowhere")
    elif kind == "link-to-a-file":
        path.with_name("theirs").write_text("theirs")
        path.symlink_to("theirs")
    elif kind == "directory":
        (path / "with" / "something").mkdir(parents=True)
    else:
        _plant_socket(path)


def _plant_socket(path: Path) -> None:
    """By way of its folder's descriptor: the address of a socket is short."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
