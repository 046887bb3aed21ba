"""Things that other users or file systems may put in the place of a file of cosmos-venv."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

KINDS = ("fifo", "link-to-itself", "link-to-nowhere", "link-to-a-file", "directory", "socket")


def plant(path: Path, kind: str) -> None:
    """Put a thing of this kind at a path; an existing entry is replaced."""
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
    """Make a socket by the file descriptor of its folder, because the path of a socket may have only 108 bytes."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
