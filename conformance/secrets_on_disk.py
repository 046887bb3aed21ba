"""Where on disk does a secret stand, and who may read it there?"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .bench import Bench

_OF_THE_SUITE = "cosmos-wheelhouse"
"""Folder in which the look-alike keeps what it was told, such as its variables."""
_MOST = 20_000_000


def places(bench: Bench) -> list[Path]:
    """Where a task may leave something: the test's folder, where a home for it may lie; the temporary directory, with
    the folder for sockets; Airflow's home."""
    return [bench.folder, Path(tempfile.gettempdir()), Path(os.environ["AIRFLOW_HOME"])]


def files_with(secret: str, roots: Iterable[Path]) -> list[Path]:
    """Files below ``roots`` in whose content the secret stands; those of the suite itself do not count."""
    return [file for root in roots for file in _files(root) if _has(file, secret.encode())]


def readable_by_others(file: Path, roots: Sequence[Path]) -> bool:
    """Whether another user could read it, were the root above it open to all."""
    root = next(each for each in roots if file.is_relative_to(each))
    parents = [each for each in file.parents if each != root and each.is_relative_to(root)]
    try:
        closed = [each for each in parents if not each.stat().st_mode & stat.S_IXOTH]
        return not closed and bool(file.stat().st_mode & stat.S_IROTH)
    except FileNotFoundError:
        return False


def directories(root: Path) -> Iterator[Path]:
    """``root`` and all directories below it; none where it is not there."""
    return (Path(folder) for folder, _, _ in os.walk(root))


def _files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name != _OF_THE_SUITE]
        yield from (Path(folder, name) for name in files)


def _has(file: Path, secret: bytes) -> bool:
    try:
        is_small = stat.S_ISREG(file.lstat().st_mode) and file.stat().st_size < _MOST
        return is_small and secret in file.read_bytes()
    except OSError:  # gone meanwhile
        return False
