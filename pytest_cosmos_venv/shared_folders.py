"""Folders that are slow to fill: one xdist worker makes each once, and the others and the next runs find it ready.

A complete folder has a marker file, so no process uses an incomplete folder. The process that fills a folder holds a
kernel lock, which ends with the process: if a worker dies meanwhile, another worker fills the folder anew.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.throwaway import remove_folder

TIMEOUT = 180.0
"""Seconds that one folder may take to make, on a slow machine."""
RUN_FOLDER = pytest.StashKey[Path]()
"""The folder that all tests of the run share, in the stash of a process that has another base temporary folder."""
RUN_PLUGIN = "cosmos_folder_of_workers"
"""The name under which pytest knows ``FolderOfWorkers``."""
_COMPLETE = ".cosmos-venv-complete"


@dataclass(frozen=True, kw_only=True)
class SharedFolders:
    """The folders that all workers of a run share; all runs share them if ``root`` is kept between runs.

    :param root: the folder in which they lie; made when missing.
    """

    root: Path

    def get(self, name: str, key: str, make: Callable[[Path], object], *, timeout: float = TIMEOUT) -> Path:
        """Return a folder, made when it is not there yet. It is made at its final path, which its files may contain.

        :param name: the name for people: ``wheelhouse``.
        :param key: a key of its sources, fit for a file name: equal keys, equal content.
        :param make: fills the empty folder that it gets. If it raises, the folder is removed, and the error is raised
            here.
        :param timeout: seconds to wait for another process that is making it.
        :raises ToolkitMisuse: another process does not finish in time, or ``root`` cannot be written to.
        """
        folder = self.root / f"{name}-{key}"
        if not (folder / _COMPLETE).exists():
            with _locked(self._open_lock(f"{folder.name}.lock"), timeout, what=folder):
                if not (folder / _COMPLETE).exists():
                    _make(folder, make)
        return folder

    @contextmanager
    def free_place(self, name: str, key: str) -> Iterator[Path]:
        """Yield a folder that no other process uses during the block. It still has the files of the last block that
        used it.

        Each process takes the free folder with the lowest number, so equal work gets equal paths.

        :param name: the name for people: ``duckdb``.
        :param key: a key of the work, fit for a file name.
        :raises ToolkitMisuse: ``root`` cannot be written to.
        """
        for number in itertools.count():
            place = f"{name}-{key}-{number}"
            lock = self._open_lock(f"{place}.lock")
            try:
                if not _take_at_once(lock):
                    continue
                (self.root / place).mkdir(exist_ok=True)
                yield self.root / place
                return
            finally:
                os.close(lock)

    def _open_lock(self, name: str) -> int:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return os.open(self.root / name, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ToolkitMisuse(
                f"Nothing can be kept in {self.root} ({error.strerror}): name a folder that can be written to with "
                "--cosmos-cache-dir, or in the ini file as cosmos_cache_dir."
            ) from None


def _make(folder: Path, make: Callable[[Path], object]) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed process: this process holds the lock
    folder.mkdir()
    try:
        make(folder)
        (folder / _COMPLETE).touch()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _locked(lock: int, timeout: float, *, what: Path) -> Iterator[None]:
    """Hold the open lock file, and close it."""
    try:
        _wait_for(lock, timeout, what)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def _take_at_once(lock: int) -> bool:
    """Take the lock of an open file without waiting, and return whether this process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(lock: int, timeout: float, what: Path) -> None:
    if not real_time.wait_until(lambda: _take_at_once(lock), timeout, every=0.02):
        owner = os.pread(lock, 32, 0).decode() or "unknown"
        raise ToolkitMisuse(
            f"{what} is being made by process {owner} for more than {timeout:g} s. "
            "End that process, or give this run a --cosmos-cache-dir of its own."
        )


class FolderOfWorkers:
    """A folder that all workers of a run share, removed when the run ends; ``path`` is where it stands.

    It is a plugin, to be registered while pytest is configured: pytest-xdist starts its workers afterwards.

    :param config: the configuration of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        told: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._owner = None if told else os.getpid()
        self.path = Path(told[RUN_PLUGIN] if told else tempfile.mkdtemp(prefix="cosmos-run-"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist where the folder is.

        :param node: the worker.
        """
        node.workerinput[RUN_PLUGIN] = str(self.path)

    def pytest_unconfigure(self) -> None:
        """Remove the folder in the process that made it: not in a worker, nor in a forked child."""
        if self._owner == os.getpid():
            remove_folder(self.path)


def cache_key() -> str:
    """Return a text for all that the content of the kept folders depends on, fit for the key of a CI cache.

    It names the plugin, Python and Airflow with their versions, and the platform.
    """
    return "-".join(
        [
            f"cosmos-venv-{_version('pytest-cosmos-venv')}",
            f"{sys.implementation.cache_tag}-{platform.python_version()}",
            f"airflow-{installed_airflow() or 'none'}",
            sysconfig.get_platform(),
        ]
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(cache_key())
