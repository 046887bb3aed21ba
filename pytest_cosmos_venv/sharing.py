"""What is slow to make, who makes it? One xdist worker, once; the others and the next runs find it ready.

A folder is made beside its place and moved there in one step, so nobody ever sees a half of one. Who makes it holds a
kernel lock, which ends with its process: a worker that dies while making hands over to the next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.errors import ToolkitMisuse

DEADLINE = 180.0
"""Seconds that one folder may take to make, on a slow machine."""
_LOOK_AGAIN = 0.02


@dataclass(frozen=True, kw_only=True)
class SharedFolders:
    """The folders that all workers of a run share, and, where the place is kept, all runs.

    :param root: where they lie; made when missing.
    """

    root: Path

    def get(self, name: str, key: str, make: Callable[[Path], None], *, deadline: float = DEADLINE) -> Path:
        """The folder, made when it is not there yet.

        :param name: what it is, for people: ``wheelhouse``.
        :param key: what it was made from, fit for a file name: equal keys, equal content.
        :param make: fills the existing empty folder it is given. What it raises comes out, and nothing is left.
        :param deadline: seconds to wait for another process that is making it.
        :raises ToolkitMisuse: when that process is not done by then.
        """
        folder = self.root / f"{name}-{key}"
        if folder.is_dir():
            return folder
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(self.root / f"{name}-{key}.lock", deadline, what=str(folder)):
            if not folder.is_dir():
                self._make(folder, make)
        return folder

    def _make(self, folder: Path, make: Callable[[Path], None]) -> None:
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=self.root))
        try:
            make(draft)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


@contextmanager
def _locked(file: Path, deadline: float, *, what: str) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _wait_for(descriptor, file, deadline, what)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, file: Path, deadline: float, what: str) -> None:
    end = time.monotonic() + deadline
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                owner = os.pread(descriptor, 32, 0).decode() or "unknown"
                raise ToolkitMisuse(
                    f"{what} is being made by process {owner} for more than {deadline:.0f} s. "
                    f"End that process, or give this run a --cosmos-cache-dir of its own (lock: {file})."
                ) from None
            time.sleep(_LOOK_AGAIN)
