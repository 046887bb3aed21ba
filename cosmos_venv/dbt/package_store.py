"""Where are installed dbt packages kept? Each set below its digest, whole or not at all, and never changed.

``<folder>/<digest>.<nanoseconds>/`` is one installation, published by one rename; the newest of a digest counts. Who
uses one holds a shared kernel lock on its directory, which dies with the process, so nothing in use is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.dbt.package_files import LOCK_FILE
from cosmos_venv.guarded import Cancellation

LAYOUT = "packages-v1"
_PACKAGES = "packages"
_SIZES = "sizes.json"
_KEPT_COUNT = 50
_KEPT_SECONDS = 30 * 86_400.0
_ABANDONED_SECONDS = 3_600.0
_TURN = 0.01


@dataclass(frozen=True, kw_only=True)
class KeptPackages:
    """One installation in the hands of a task; it stays until ``close``.

    :param published_at: seconds since the epoch.
    """

    path: Path
    published_at: float
    _descriptor: list[int] = field(repr=False)

    @property
    def lock_file(self) -> Path:
        """``package-lock.yml`` as ``dbt deps`` left it; an older dbt leaves none."""
        return self.path / LOCK_FILE

    @property
    def descriptors(self) -> tuple[int, ...]:
        """For ``keep_open`` of a guarded command, so that it is in use until the last descendant ends."""
        return tuple(self._descriptor)

    def link_into(self, folder: Path, local_package: Callable[[str], Path]) -> None:
        """Make ``folder`` what ``dbt deps`` would make of it.

        :param local_package: where the local package of that path stands now.
        """
        folder.mkdir(parents=True)
        for package in sorted((self.path / _PACKAGES).iterdir()):
            is_local = package.is_symlink()
            (folder / package.name).symlink_to(local_package(os.readlink(package)) if is_local else package)  # noqa: PTH115 - a Path would lose "./"

    def close(self) -> None:
        """Give it up. May be called again."""
        while self._descriptor:
            os.close(self._descriptor.pop())


@dataclass(frozen=True, kw_only=True)
class PackageStore:
    """Installations below one folder. What cannot be used is passed over: then dbt installs for itself.

    :param make_directory: how directories are made there, parents included.
    :param is_read_only: it is looked at and never written to.
    :param is_trusted: whether nobody else can have put what stands in these paths: it decides which SQL runs.
    """

    folder: Path
    make_directory: Callable[[Path], None]
    is_trusted: Callable[[Sequence[Path]], bool]
    is_read_only: bool = False

    def find(self, digest: str, is_current: Callable[[KeptPackages], bool]) -> KeptPackages | None:
        """The newest whole installation that is current; None when there is none. The caller closes it."""
        for path in sorted(self.folder.glob(f"{digest}.*[0-9]"), reverse=True):
            kept = self._open(path)
            if kept is None:
                continue
            if is_current(kept) and _is_whole(path):
                if not self.is_read_only:
                    _touch(path)  # whoever removes what nobody uses looks at this
                return kept
            kept.close()
        return None

    def is_usable(self) -> bool:
        """Whether installations can be kept here, and nobody else can put any. Makes the folder."""
        if self.is_read_only:
            return False
        try:
            self.make_directory(self.folder)
            return os.access(self.folder, os.W_OK) and self.is_trusted([self.folder.parent, self.folder])
        except OSError:
            return False

    def publish(self, digest: str, installed: Path, lock_file: Path, local: Mapping[str, str]) -> None:
        """Keep a copy of what was installed.

        :param local: name of each local package -> its path as it is written. It is looked up by whoever uses the
            installation: the folder that dbt linked it to may be gone by then.
        :raises OSError: when it cannot be kept. Then nobody sees anything of it.
        """
        apart = self.folder / f".{uuid.uuid4().hex}"
        try:
            self.make_directory(apart / _PACKAGES)  # whatever the umask, nobody else may write there
            for package in installed.iterdir():
                copy = apart / _PACKAGES / package.name
                if package.name in local:
                    copy.symlink_to(local[package.name])
                else:
                    # A clone's own folder names the URL it came from, with its password.
                    shutil.copytree(package, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
            if lock_file.is_file():
                shutil.copyfile(lock_file, apart / LOCK_FILE)
            (apart / _SIZES).write_text(json.dumps(_sizes(apart / _PACKAGES)), encoding="utf-8")
            apart.rename(self.folder / f"{digest}.{time.time_ns()}")
        except BaseException:
            shutil.rmtree(apart, ignore_errors=True)
            raise
        self._sweep()

    @contextmanager
    def turn(
        self, digest: str, *, max_wait: float, cancellation: Cancellation, report: Callable[[str], None]
    ) -> Iterator[None]:
        """Of all who enter this block for a digest, the first goes on at once and the others when it has left.

        They then go on together, and do not wait for each other: had the first one failed, one by one would take as
        many times as long. So this saves work, and decides nothing.

        :param max_wait: seconds after which one goes on all the same.
        :raises CommandKilled: when ``cancellation`` was requested while waiting.
        """
        descriptor = self._lock_descriptor(digest)
        try:
            if descriptor is not None and not _lock(descriptor, fcntl.LOCK_EX):
                report(f"Another task installs the same dbt packages into {self.folder}. Waiting for it.")
                until = time.monotonic() + max_wait
                while time.monotonic() < until and not _lock(descriptor, fcntl.LOCK_EX):
                    cancellation.raise_if_requested()
                    time.sleep(_TURN)
                _unlock(descriptor)
            yield
        finally:
            if descriptor is not None:
                # Closing alone would leave it to a child that was forked meanwhile.
                _unlock(descriptor)
                os.close(descriptor)

    def _lock_descriptor(self, digest: str) -> int | None:
        try:
            return os.open(self.folder / f"{digest}.flock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return None

    def _open(self, path: Path) -> KeptPackages | None:
        try:
            published_at = int(path.suffix[1:]) / 1e9
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (OSError, ValueError):
            return None
        kept = KeptPackages(path=path, published_at=published_at, _descriptor=[descriptor])
        # The name after the lock: what is still there then is removed by nobody.
        if (
            _lock(descriptor, fcntl.LOCK_SH)  # not while somebody removes it
            and _is_still(path, descriptor)
            and self.is_trusted([self.folder.parent, self.folder, path])
        ):
            return kept
        kept.close()
        return None

    def _sweep(self) -> None:
        """Remove what was left half, what a newer one stands for, and what nobody has used for long."""
        now = time.time()
        try:
            ages = sorted((now - path.lstat().st_mtime, path) for path in self.folder.iterdir())
        except OSError:
            return  # another one sweeps
        kept = [(age, path) for age, path in ages if path.is_dir() and not path.name.startswith(".")]
        newest = {path.stem: path for _, path in sorted(kept, key=lambda each: each[1])}
        for age, path in ages:
            if path.name.startswith("."):
                unwanted = age > _ABANDONED_SECONDS
            elif path.suffix == ".flock":
                unwanted = age > _KEPT_SECONDS
            else:
                is_old = newest.get(path.stem) != path or (age, path) in kept[_KEPT_COUNT:]
                unwanted = is_old or age > _KEPT_SECONDS
            if unwanted:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            if not path.is_dir():
                path.unlink()
                return
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                rubbish = path.rename(path.with_name(f".{uuid.uuid4().hex}"))
                shutil.rmtree(rubbish, ignore_errors=True)
            finally:
                os.close(descriptor)
        except OSError:
            return  # in use, another user's, or gone


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _is_whole(path: Path) -> bool:
    """Whether every file has its size: cleaners of temporary folders remove files one by one."""
    try:
        return bool(json.loads((path / _SIZES).read_bytes()) == _sizes(path / _PACKAGES))
    except (OSError, ValueError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - a task pays for this each time
            if not stat.S_ISDIR(status.st_mode):
                found[os.path.relpath(os.path.join(place, name), folder)] = status.st_size  # noqa: PTH118 - as above
    return found


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        pass  # another user's or read-only: whoever may remove it is somebody else


def _unlock(descriptor: int) -> None:
    with suppress(OSError):  # a mount that knows no locks
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lock(descriptor: int, kind: int) -> bool:
    """Whether nobody holds it who would be in the way; also where the mount knows no locks: then nobody waits there."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # such as a read-only mount: nobody removes anything there
    return True
