"""How a build's directories lose their write permission, and how a build is removed all the same."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def protect(build: Path) -> None:
    """Take the write permission from every directory. Files keep theirs: uv links them into its cache."""
    for folder in _folders(build):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_WRITE_BITS)


def remove(build: Path) -> None:
    """Delete a directory and all below it, whatever permissions its directories have; a file or link as well.

    Others may be doing the same.

    :raises OSError: when something in it cannot be deleted.
    """
    while os.path.lexists(build):
        try:
            # A directory opens itself before it is listed: top-down.
            for folder in _folders(build):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)
            if build.is_symlink() or not build.is_dir():
                build.unlink()
            else:
                shutil.rmtree(build)
        except FileNotFoundError:
            continue  # somebody else was faster with that one; each turn leaves less


def _folders(build: Path) -> Iterator[Path]:
    if build.is_symlink() or not build.is_dir():
        return
    yield build
    for folder, names, _ in os.walk(build):
        yield from (Path(folder, name) for name in names if not Path(folder, name).is_symlink())
