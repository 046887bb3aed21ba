"""Installed dbt packages: where they are kept, how they get into the folder that dbt runs in, and when they go.

``<folder>/<digest>.tar.gz`` is one installation: the lock file, then the packages except local ones. It is written
atomically, and a newer installation replaces it. A task unpacks it into the folder that dbt runs in, so it can be
removed at any time. Its time of change says when it was installed, and its time of access when it was last used.

A ``package-lock.yml`` that dbt accepts pins the packages: such an installation is used for ever. Without it, versions
and branches may move on. So the installation is used for ``max_age`` only, and tasks of one run get the same packages.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO

from cosmos_venv.dbt.project_files import LOCK_FILE, local_package, read_dbt_project
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.file_cache import Elsewhere
from cosmos_venv.files.kernel_lock import FileToLock, try_lock_if_supported, unlock
from cosmos_venv.files.own_files import age, refuse_untrusted, replace_atomically, sweep_abandoned, write_new
from cosmos_venv.files.read_limits import read_file
from cosmos_venv.processes.cancellation import Cancellation

LAYOUT = "packages-v1"
_PACKAGES = "packages"
_ARCHIVE = ".tar.gz"
_TURN = 0.01
_KEPT_SECONDS = 30 * 86_400.0
_UNREADABLE = (OSError, EOFError, tarfile.TarError, zlib.error)
"""The errors of an archive that is missing or truncated, or of a file that is no archive."""


def archive_of(installed: Path, lock_file: Path, left_out: Collection[str]) -> bytes:
    """The content of an archive of an installation.

    :param installed: the packages folder as ``dbt deps`` has left it.
    :param lock_file: ``package-lock.yml`` as ``dbt deps`` has left it; it need not be there.
    :param left_out: the names of packages that are not put into it.
    :raises OSError: when a file cannot be read.
    """
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        if lock_file.is_file():
            tar.add(lock_file, LOCK_FILE, filter=_member)
        for package in sorted(installed.iterdir()):
            if package.name not in left_out:
                tar.add(package, f"{_PACKAGES}/{package.name}", filter=_member)
    return written.getvalue()


def _member(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # A clone's own folder names the URL it came from, with its password.
    if PurePath(member.name).name == ".git":
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = member.mode & ~0o022 | 0o200  # whatever the umask, this user may write there and no other
    return member


def _lock_in(file: BinaryIO) -> bytes | None:
    """The lock file in an archive; None where there is none."""
    with tarfile.open(fileobj=file, mode="r:gz") as tar:
        first = tar.next()
        content = tar.extractfile(first) if first is not None and first.name == LOCK_FILE else None
        return None if content is None else content.read()


def unpack(kept: Path, place: Path, folder: Path) -> None:
    """Unpack kept packages as ``dbt deps`` would install them, except local packages.

    :param kept: the archive of an installation. Another task may remove it at any time.
    :param place: the folder in which dbt runs, which gets the lock file.
    :param folder: the packages folder; it is made.
    :raises OSError: when the archive cannot be read, or a file cannot be made. Other errors of archives are raised too,
        such as of a member that would lead out of the folder.
    """
    with suppress(OSError):  # of a read-only mount, or of another user
        os.utime(kept, (time.time(), kept.stat().st_mtime))
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(kept, mode="r:gz") as tar:
        # Python before 3.10.12 and 3.11.4 has no filter. There the signature of another machine's archive is enough.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in tar:
            is_lock = member.name == LOCK_FILE
            member.name = member.name.removeprefix(f"{_PACKAGES}/")
            tar.extract(member, place if is_lock else folder)


def is_pinned(project_dir: Path, lock: bytes | None) -> bool:
    """Whether dbt has taken the project's lock file as it is. dbt rewrites a lock file that does not fit packages.yml.

    :param project_dir: the folder of the dbt project.
    :param lock: the content of the lock file as ``dbt deps`` has left it; None: it has left none.
    """
    try:
        return read_file(project_dir / LOCK_FILE) == lock
    except OSError:
        return False


@dataclass(frozen=True, kw_only=True)
class PackageStore:
    """Installations below one folder. An installation that cannot be used is ignored: then the task installs itself.

    A folder or file that others could write to is not used: it decides which SQL runs.

    :param folder: of the installations.
    :param make_directory: how directories are made there, parents included.
    :param is_read_only: whether it is looked at and never written to.
    """

    folder: Path
    make_directory: Callable[[Path], None]
    is_read_only: bool = False

    def find(self, digest: str, is_current: Callable[[Path], bool]) -> Path | None:
        """The archive of the installation, if it is current; None when there is none.

        :param digest: digest of the packages that ``dbt deps`` would install.
        :param is_current: whether an installation may still be used.
        """
        kept = self.folder / f"{digest}{_ARCHIVE}"
        with suppress(VirtualenvError, *_UNREADABLE):
            refuse_untrusted(self.folder.parent, self.folder, kept)
            return kept if is_current(kept) else None
        return None

    def is_usable(self) -> bool:
        """Whether installations can be kept here, and no other user can put one here. Makes the folder."""
        if self.is_read_only:
            return False
        try:
            self.make_directory(self.folder)
            refuse_untrusted(self.folder.parent, self.folder)
            return os.access(self.folder, os.W_OK)
        except (VirtualenvError, OSError):
            return False

    def publish(self, digest: str, archive: bytes) -> None:
        """Keep an installation.

        :param digest: digest of the packages that ``dbt deps`` would install.
        :param archive: the installation, as ``archive_of`` has made it here or on another machine.
        :raises OSError: when it cannot be kept. Then no task sees anything of it.
        """
        with replace_atomically(self.folder / f"{digest}{_ARCHIVE}") as apart:
            write_new(apart, archive)
            # By this machine's clock, with which a task compares: the clock of a file server differs.
            os.utime(apart, (now := time.time(), now))
        with suppress(OSError):  # another task sweeps, or another user's file stays
            sweep_abandoned(self.folder)
            for path in self.folder.iterdir():
                if age(path.lstat().st_atime) > _KEPT_SECONDS:
                    path.unlink()

    @contextmanager
    def turn(
        self, digest: str, *, max_wait: float, cancellation: Cancellation, report: Callable[[str], None]
    ) -> Iterator[None]:
        """Let the first task that enters this block for a digest go on at once, and the others when it has left.

        The others then go on together. In a queue, after a failure of the first task, they would take many times as
        long. So this saves work, and excludes nobody.

        :param digest: of what ``dbt deps`` would install.
        :param max_wait: seconds after which a waiting task goes on all the same.
        :param cancellation: ends the wait when it is requested.
        :param report: gets lines for the task's log.
        :raises CommandKilled: when ``cancellation`` was requested while waiting.
        """
        try:
            file = FileToLock(self.folder / f"{digest}.flock", lock=try_lock_if_supported)
        except OSError:  # without the lock file this task installs, whether others install or not
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


@dataclass(frozen=True, kw_only=True)
class ProjectPackages:
    """The packages of one project for one dbt.

    :param project_dir: the folder of the dbt project.
    :param environment: what ``env_var()`` in ``dbt_project.yml`` sees; None: this process's environment.
    :param digest: equal where ``dbt deps`` would install the same; None: nothing is kept.
    :param local: the paths of local packages, as they are written.
    :param stores: where installations are looked for, in this order; the first that can be used gets new ones.
    :param max_age: seconds for which an installation without a ``package-lock.yml`` is used.
    :param max_wait: seconds to wait for another task that installs the same.
    :param why_not_kept: why there is no digest, in words; empty where the log need not say it.
    :param elsewhere: installations of other machines; None: there are none. Only pinned installations
        are fetched and shared.
    """

    project_dir: Path
    environment: Mapping[str, str] | None = None
    digest: str | None = None
    local: tuple[str, ...] = ()
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
        :param install: runs ``dbt deps`` in ``place``. Its errors are passed on, and nothing is kept then.
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
            archive = None
            try:
                archive = self._publish(digest, store, place, folder)
            except OSError as error:
                report(f"The dbt packages are not kept for other tasks: {error}.")
        if self.elsewhere is not None and archive is not None and self._is_pinned(io.BytesIO(archive)):
            self.elsewhere.write(f"{digest}{_ARCHIVE}", archive)

    def _has_copied(self, kept: Path | None, place: Path, folder: Path, report: Callable[[str], None]) -> bool:
        """Unpack kept packages into the folder. Returns whether it was done: another task may have removed them."""
        if kept is None:
            return False
        try:
            installed = time.time() - kept.stat().st_mtime
            unpack(kept, place, folder)
            for name, target in self._local_packages(self.project_dir).items():
                (folder / name).symlink_to(target)
        except _UNREADABLE as error:
            shutil.rmtree(folder, ignore_errors=True)
            report(f"The kept dbt packages of {kept} are not used: {error}.")
            return False
        report(f"The dbt packages are there, installed {installed:.0f} s ago.")
        return True

    def _local_packages(self, root: Path) -> dict[str, Path]:
        """The folders of local packages by name, for a project that stands in ``root``."""
        found = {path: read_dbt_project(local_package(self.project_dir, path)).name for path in self.local}
        return {str(name): local_package(root, path) for path, name in found.items()}

    def _fetched(self, digest: str, store: PackageStore, report: Callable[[str], None]) -> Path | None:
        """The installation of another machine, if the project's lock file pins it."""
        if self.elsewhere is None or not (self.project_dir / LOCK_FILE).is_file():
            return None
        found = self.elsewhere.read(f"{digest}{_ARCHIVE}")
        if found is None:
            return None
        try:
            if not self._is_pinned(io.BytesIO(found[0])):
                return None
            store.publish(digest, found[0])
        except _UNREADABLE as error:
            report(f"The dbt packages of another machine are not used: {error}.")
            return None
        report("The dbt packages are those that another machine has installed.")
        return store.find(digest, lambda _: True)

    def _find(self, digest: str, began: float) -> Path | None:
        found = (store.find(digest, partial(self._is_current, began)) for store in self.stores)
        return next((kept for kept in found if kept is not None), None)

    def _is_current(self, began: float, kept: Path) -> bool:
        """Whether an installation is pinned, is young, or was made while we waited: a new one would be no newer."""
        published_at = kept.stat().st_mtime
        if abs(time.time() - published_at) < self.max_age or published_at >= began:
            return True
        with kept.open("rb") as file:
            return self._is_pinned(file)

    def _is_pinned(self, archive: BinaryIO) -> bool:
        return is_pinned(self.project_dir, _lock_in(archive))

    def _publish(self, digest: str, store: PackageStore, place: Path, folder: Path) -> bytes | None:
        """Keep the installation, and return its archive; None where it is not kept."""
        local = self._local_packages(place)
        links = {package.name: Path(os.readlink(package)) for package in folder.iterdir() if package.is_symlink()}  # noqa: PTH115 - text first
        if links != local:  # dbt has done something with local packages that we do not know
            return None
        archive = archive_of(folder, place / LOCK_FILE, local)
        store.publish(digest, archive)
        return archive
