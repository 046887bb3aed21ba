"""Installed dbt packages: where they are kept, how they get into the folder that dbt runs in, and which of them go.

``<folder>/<digest>.<nanoseconds>/`` is one installation, published whole by one rename and never changed; the newest of
a digest counts. A task copies the installation into the folder that dbt runs in, so an installation can be removed at
any time: a task whose copy is not whole installs for itself.

``package-lock.yml`` pins: with one that dbt takes, an installation is used for ever. Without, versions and branches may
move on, so it is used for ``max_age`` only, and the tasks of one run get the same packages.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cosmos_venv.dbt.project_files import LOCK_FILE, local_package, read_dbt_project, read_package_files
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.durable_files import (
    age,
    name_apart,
    shut_out_others,
    sweep_abandoned,
    write_new,
)
from cosmos_venv.files.file_cache import Elsewhere
from cosmos_venv.files.kernel_lock import FileToLock, is_locked_or_lockless, unlock
from cosmos_venv.files.permissions import judge
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.files.untrusted import content_of, value_of
from cosmos_venv.processes.cancellation import Cancellation

LAYOUT = "packages-v1"
_PACKAGES = "packages"
_SIZES = "sizes.json"
_ARCHIVE = ".tar.gz"
_TURN = 0.01
_KEPT_COUNT = 50
_KEPT_SECONDS = 30 * 86_400.0


def sweep(folder: Path) -> None:
    """Remove what was left half, what a newer one stands for, and what has not been used for long.

    :param folder: of the installations.
    """
    try:
        sweep_abandoned(folder)
        ages = {path: age(path.lstat().st_mtime) for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError:
        return  # another one sweeps
    kept = sorted((path for path in ages if path.is_dir()), key=ages.__getitem__)
    newest = {path.stem: path for path in sorted(kept)}
    for number, path in enumerate(kept):
        if newest[path.stem] != path or number >= _KEPT_COUNT:
            _remove(path)
    for path, seconds in ages.items():
        if seconds > _KEPT_SECONDS:
            _remove(path)


def _remove(path: Path) -> None:
    """Remove an installation or a lock where this user may. No task sees a half of it."""
    with suppress(OSError), name_apart(path.parent) as rubbish:
        path.rename(rubbish)


@dataclass(frozen=True, kw_only=True)
class KeptPackages:
    """One installation. Another task may remove it at any time.

    :param path: its folder, whose time says when it was last used.
    """

    path: Path

    @property
    def published_at(self) -> float:
        """Seconds since the epoch."""
        return int(self.path.suffix[1:]) / 1e9

    @property
    def packages(self) -> Path:
        """The folder of the packages, each under its name. A local one is a link that leads nowhere."""
        return self.path / _PACKAGES

    @property
    def lock_file(self) -> Path:
        """``package-lock.yml`` as ``dbt deps`` left it; an older dbt leaves none."""
        return self.path / LOCK_FILE

    @property
    def is_whole(self) -> bool:
        """Whether every file has its size: cleaners of temporary folders remove files one by one."""
        return self._sizes == _sizes(self.packages)

    def copy_into(self, place: Path, folder: Path, local_package: Callable[[str], Path]) -> None:
        """Make of a folder what ``dbt deps`` would make of it. Local packages are links.

        :param place: the folder in which dbt runs, which gets the lock file.
        :param folder: the packages folder; it is made.
        :param local_package: gives where the local package of that path stands now.
        :raises OSError: when it has been removed, in part or whole. Then there is no packages folder.
        """
        with suppress(OSError):  # of a read-only mount
            os.utime(self.path)
        try:
            shutil.copytree(self.packages, folder, symlinks=True)
            if _sizes(folder) != self._sizes:
                raise FileNotFoundError(f"{self.path} has been removed")
            for package in [each for each in folder.iterdir() if each.is_symlink()]:
                target = local_package(os.readlink(package))  # noqa: PTH115 - a Path would lose "./"
                package.unlink()
                package.symlink_to(target)
            if self.lock_file.is_file():
                shutil.copyfile(self.lock_file, place / LOCK_FILE)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @property
    def _sizes(self) -> dict[str, int] | None:
        return value_of(content_of(self.path / _SIZES), dict[str, int])


@dataclass(frozen=True, kw_only=True)
class PackageStore:
    """Installations below one folder. What cannot be used is passed over: then dbt installs for itself.

    What others could write to is not used: it decides which SQL runs.

    :param folder: of the installations.
    :param make_directory: how directories are made there, parents included.
    :param is_read_only: whether it is looked at and never written to.
    """

    folder: Path
    make_directory: Callable[[Path], None]
    is_read_only: bool = False

    def find(self, digest: str, is_current: Callable[[KeptPackages], bool]) -> KeptPackages | None:
        """The newest whole installation that is current; None when there is none.

        :param digest: of what ``dbt deps`` would install.
        :param is_current: whether an installation may still be used.
        """
        for path in sorted(self.folder.glob(f"{digest}.*[0-9]"), reverse=True):
            kept = KeptPackages(path=path)
            with suppress(VirtualenvError, OSError, ValueError):
                judge(self.folder.parent, self.folder, path)
                if is_current(kept) and kept.is_whole:
                    return kept
        return None

    def is_usable(self) -> bool:
        """Whether installations can be kept here, and no other user can put any. Makes the folder."""
        if self.is_read_only:
            return False
        try:
            self.make_directory(self.folder)
            judge(self.folder.parent, self.folder)
            return os.access(self.folder, os.W_OK)
        except (VirtualenvError, OSError):
            return False

    def take(self, digest: str, archive: bytes) -> None:
        """Keep an installation of another machine.

        :param digest: of what ``dbt deps`` would install.
        :param archive: as ``archive_of`` has made it there.
        :raises OSError: when it cannot be kept. Then no task sees anything of it.
        :raises tarfile.TarError: when it is no archive, or a file in it would stand elsewhere.
        """
        with name_apart(self.folder) as apart:
            self.make_directory(apart)
            with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
                tar.extractall(apart, filter="data")
            self._publish(digest, apart)

    def publish(self, digest: str, installed: Path, lock_file: Path, local: Mapping[str, str]) -> None:
        """Keep a copy of what was installed.

        :param digest: of what ``dbt deps`` would install.
        :param installed: the packages folder as ``dbt deps`` has left it.
        :param lock_file: ``package-lock.yml`` as ``dbt deps`` has left it; it need not be there.
        :param local: name of each local package -> its path as it is written. It is looked up by the task that uses the
            installation: the folder that dbt linked it to may be gone by then.
        :raises OSError: when it cannot be kept. Then no task sees anything of it.
        """
        with name_apart(self.folder) as apart:
            self.make_directory(apart / _PACKAGES)  # whatever the umask, no other user may write there
            for package in installed.iterdir():
                copy = apart / _PACKAGES / package.name
                if package.name in local:
                    copy.symlink_to(local[package.name])
                else:
                    # A clone's own folder names the URL it came from, with its password.
                    shutil.copytree(package, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
            if lock_file.is_file():
                shutil.copyfile(lock_file, apart / LOCK_FILE)
            write_new(apart / _SIZES, json.dumps(_sizes(apart / _PACKAGES)))
            self._publish(digest, apart)

    def _publish(self, digest: str, apart: Path) -> None:
        # A copy has the permissions of what dbt has made, under whatever umask.
        shut_out_others(apart)
        # Named after the copy: a task that began to wait meanwhile shares what is no older than its wait.
        target = self.folder / f"{digest}.{time.time_ns()}"
        apart.rename(target)
        sweep(self.folder)

    @contextmanager
    def turn(
        self, digest: str, *, max_wait: float, cancellation: Cancellation, report: Callable[[str], None]
    ) -> Iterator[None]:
        """Let the first of all tasks that enter this block for a digest go on at once, and the others when it has left.

        These then go on together, and do not wait for each other: had the first one failed, one by one would take as
        many times as long. So this saves work, and decides nothing.

        :param digest: of what ``dbt deps`` would install.
        :param max_wait: seconds after which one goes on all the same.
        :param cancellation: ends the wait when it is requested.
        :param report: gets lines for the task's log.
        :raises CommandKilled: when ``cancellation`` was requested while waiting.
        """
        try:
            file = FileToLock(self.folder / f"{digest}.flock", lock=is_locked_or_lockless)
        except OSError:  # this one installs, whoever else does
            yield
            return
        with closing(file):
            if not file.try_lock():
                report(f"Another task installs the same dbt packages into {self.folder}. Waiting for it.")
                until = time.monotonic() + max_wait
                while time.monotonic() < until and not file.try_lock():
                    cancellation.raise_if_requested()
                    time.sleep(_TURN)
                unlock(file.descriptor)
            yield


def archive_of(kept: KeptPackages) -> bytes | None:
    """Return an installation as one text of bytes; None where it has a local package, which is a link of this machine.

    :param kept: the installation.
    :raises OSError: when a file cannot be read.
    """
    if any(package.is_symlink() for package in kept.packages.iterdir()):
        return None
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for path in sorted(kept.path.iterdir()):
            tar.add(path, path.name)
    return written.getvalue()


def _sizes(folder: Path) -> dict[str, int]:
    """The size of each file below the folder."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - a task pays for this each time
            if not stat.S_ISDIR(status.st_mode):
                found[os.path.relpath(os.path.join(place, name), folder)] = status.st_size  # noqa: PTH118 - as above
    return found


@dataclass(frozen=True, kw_only=True)
class ProjectPackages:
    """The packages of one project for one dbt.

    :param project_dir: the folder of the dbt project.
    :param environment: what ``env_var()`` in ``dbt_project.yml`` sees; None: this process's environment.
    :param digest: equal where ``dbt deps`` would install the same; None: nothing is kept.
    :param stores: where installations are looked for, in this order; the first that can be used gets new ones.
    :param max_age: seconds for which an installation without a ``package-lock.yml`` is used.
    :param max_wait: seconds to wait for another task that installs the same.
    :param why_not_kept: why there is no digest, in words; empty where the log need not say it.
    :param elsewhere: installations of other machines; None: there are none. Only pinned ones are taken and given.
    """

    project_dir: Path
    environment: Mapping[str, str] | None = None
    digest: str | None = None
    stores: tuple[PackageStore, ...] = ()
    max_age: float = 0.0
    max_wait: float = 0.0
    why_not_kept: str = ""
    elsewhere: Elsewhere | None = None

    def install_into(
        self,
        place: Path,
        *,
        install: Callable[[], object],
        cancellation: Cancellation,
        report: Callable[[str], None],
    ) -> None:
        """Put the packages into the folder in which dbt will run.

        :param place: that folder.
        :param install: runs ``dbt deps`` in ``place``; what it raises goes on, and nothing is kept then.
        :param cancellation: ends a wait for another task when it is requested.
        :param report: gets lines for the task's log.
        :raises CommandKilled: when ``cancellation`` was requested while another task installed.
        """
        folder = place / read_dbt_project(self.project_dir, environment=self.environment).packages_folder
        # An absolute packages-install-path is the user's own place: dbt installs there, and nothing is copied.
        if self.digest is None or not self.stores or not folder.is_relative_to(place):
            if self.why_not_kept:
                report(f"The dbt packages are not kept for other tasks: {self.why_not_kept}.")
            install()
            return
        digest, began = self.digest, time.time()
        if self._has_copied(self._find(digest, began), place, folder, report):
            return
        store = next((each for each in self.stores if each.is_usable()), None)
        if store is None:
            report(f"The dbt packages are not kept for other tasks: {self.stores[-1].folder} cannot be used.")
            install()
            return
        with store.turn(digest, max_wait=self.max_wait, cancellation=cancellation, report=report):
            kept = self._find(digest, began) or self._fetched(digest, store, report)
            if self._has_copied(kept, place, folder, report):
                return
            install()
            try:
                self._publish(digest, store, place, folder)
            except OSError as error:
                report(f"The dbt packages are not kept for other tasks: {error}.")
        self._share(digest, began)

    def _has_copied(self, kept: KeptPackages | None, place: Path, folder: Path, report: Callable[[str], None]) -> bool:
        """Whether kept packages are in the folder now. Another task may have removed them meanwhile."""
        if kept is None:
            return False
        try:
            kept.copy_into(place, folder, partial(local_package, self.project_dir))
        except OSError as error:
            # copytree lists source, target and reason of each file that it could not copy.
            reason = error.args[0][0][-1] if isinstance(error, shutil.Error) else error
            report(f"The kept dbt packages of {kept.path} are not used: {reason}.")
            return False
        report(f"The dbt packages are there, installed {time.time() - kept.published_at:.0f} s ago.")
        return True

    def _fetched(self, digest: str, store: PackageStore, report: Callable[[str], None]) -> KeptPackages | None:
        """The installation of another machine, as far as the project's lock file pins it."""
        if self.elsewhere is None or not (self.project_dir / LOCK_FILE).is_file():
            return None
        found = self.elsewhere.read(f"{digest}{_ARCHIVE}")
        if found is None:
            return None
        try:
            store.take(digest, found[0])
        # TypeError: before Python 3.10.12 and 3.11.4 nothing can be unpacked safely.
        except (OSError, tarfile.TarError, EOFError, zlib.error, TypeError) as error:
            report(f"The dbt packages of another machine are not used: {error}.")
            return None
        report("The dbt packages are those that another machine has installed.")
        return store.find(digest, lambda kept: is_pinned(self.project_dir, kept.lock_file))

    def _share(self, digest: str, began: float) -> None:
        if self.elsewhere is None or (kept := self._find(digest, began)) is None:
            return
        with suppress(OSError, MemoryError):  # they are installed, whoever else needs them
            if is_pinned(self.project_dir, kept.lock_file) and (archive := archive_of(kept)):
                self.elsewhere.write(f"{digest}{_ARCHIVE}", archive)

    def _find(self, digest: str, began: float) -> KeptPackages | None:
        found = (store.find(digest, partial(self._is_current, began)) for store in self.stores)
        return next((kept for kept in found if kept is not None), None)

    def _is_current(self, began: float, kept: KeptPackages) -> bool:
        """Whether it is pinned, young, or was installed while we waited: ours would be no newer then."""
        age = time.time() - kept.published_at
        return abs(age) < self.max_age or kept.published_at >= began or is_pinned(self.project_dir, kept.lock_file)

    def _publish(self, digest: str, store: PackageStore, place: Path, folder: Path) -> None:
        paths = {local_package(place, path): path for path in read_package_files(self.project_dir).local}
        links = {package.name: Path(os.readlink(package)) for package in folder.iterdir() if package.is_symlink()}  # noqa: PTH115 - text first
        if set(links.values()) != set(paths):
            return  # dbt has done something with local packages that we do not know
        store.publish(digest, folder, place / LOCK_FILE, {name: paths[target] for name, target in links.items()})


def is_pinned(project_dir: Path, lock_file: Path) -> bool:
    """Whether dbt has taken the project's lock file as it is. One that does not fit packages.yml it writes anew.

    :param project_dir: the folder of the dbt project.
    :param lock_file: as ``dbt deps`` has left it where it ran.
    """
    try:
        return read_file(project_dir / LOCK_FILE) == read_file(lock_file)
    except OSError:
        return False
