"""How do a project's packages get into the folder that dbt runs in? From those that are kept, else by ``dbt deps``.

``package-lock.yml`` pins: with one that dbt takes, an installation is used for ever. Without, versions and branches may
move on, so it is used for ``max_age`` only, and the tasks of one run get the same packages.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cosmos_venv.dbt.package_files import LOCK_FILE, local_package, read_package_files
from cosmos_venv.dbt.package_store import KeptPackages, PackageStore
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.guarded import Cancellation
from cosmos_venv.limits import read_file


@dataclass(frozen=True, kw_only=True)
class ProjectPackages:
    """The packages of one project for one dbt.

    :param environment: what ``env_var()`` in ``dbt_project.yml`` sees; None: this process's environment.
    :param digest: equal where ``dbt deps`` would install the same; None: nothing is kept.
    :param stores: where installations are looked for, in this order; the first that can be used gets new ones.
    :param max_age: seconds for which an installation without a ``package-lock.yml`` is used.
    :param max_wait: seconds to wait for another task that installs the same.
    :param why_not_kept: why there is no digest, in words; empty where nobody wants to know.
    """

    project_dir: Path
    environment: Mapping[str, str] | None = None
    digest: str | None = None
    stores: tuple[PackageStore, ...] = ()
    max_age: float = 0.0
    max_wait: float = 0.0
    why_not_kept: str = ""

    @contextmanager
    def installed(
        self,
        place: Path,
        *,
        install: Callable[[], object],
        cancellation: Cancellation,
        report: Callable[[str], None],
    ) -> Iterator[tuple[int, ...]]:
        """Within this block the packages are in ``place``. Gives descriptors that a command has to keep open.

        :param install: runs ``dbt deps`` in ``place``; what it raises goes on, and nothing is kept then.
        :param report: gets lines for the task's log.
        :raises CommandKilled: when ``cancellation`` was requested while another task installed.
        """
        folder = place / read_dbt_project(self.project_dir, environment=self.environment).packages_folder
        # An absolute packages-install-path is the user's own place: dbt installs there, and nothing is linked.
        if self.digest is None or not self.stores or not folder.is_relative_to(place):
            if self.why_not_kept:
                report(f"The dbt packages are not kept for other tasks: {self.why_not_kept}.")
            install()
            yield ()
            return
        kept = self._find_or_install(self.digest, place, folder, install, cancellation, report)
        if kept is None:
            yield ()
            return
        try:
            kept.link_into(folder, partial(local_package, self.project_dir))
            if kept.lock_file.is_file():
                shutil.copyfile(kept.lock_file, place / LOCK_FILE)
            report(f"The dbt packages are there, installed {time.time() - kept.published_at:.0f} s ago.")
            yield kept.descriptors
        finally:
            kept.close()

    def find(self) -> KeptPackages | None:
        """What a command that begins now gets without installing; None: it would install. The caller closes it."""
        folder = Path(read_dbt_project(self.project_dir, environment=self.environment).packages_folder)
        if self.digest is None or folder.is_absolute():
            return None
        return self._find(self.digest, time.time())

    def _find_or_install(
        self,
        digest: str,
        place: Path,
        folder: Path,
        install: Callable[[], object],
        cancellation: Cancellation,
        report: Callable[[str], None],
    ) -> KeptPackages | None:
        """What is kept; None when it was installed into ``place`` here."""
        began = time.time()
        if (kept := self._find(digest, began)) is not None:
            return kept
        store = next((each for each in self.stores if each.is_usable()), None)
        if store is None:
            report(f"The dbt packages are not kept for other tasks: {self.stores[-1].folder} cannot be used.")
            install()
            return None
        with store.turn(digest, max_wait=self.max_wait, cancellation=cancellation, report=report):
            if (kept := self._find(digest, began)) is not None:
                return kept
            install()
            try:
                self._publish(digest, store, place, folder)
            except OSError as error:
                report(f"The dbt packages are not kept for other tasks: {error}.")
        return None

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
        store.publish(digest, folder, place / LOCK_FILE, _as_written(links, paths))


def is_pinned(project_dir: Path, lock_file: Path) -> bool:
    """Whether dbt has taken the project's lock file as it is. One that does not fit packages.yml it writes anew.

    :param lock_file: as ``dbt deps`` has left it where it ran.
    """
    try:
        return read_file(project_dir / LOCK_FILE) == read_file(lock_file)
    except OSError:
        return False


def _as_written(links: Mapping[str, Path], paths: Mapping[Path, str]) -> dict[str, str]:
    return {name: paths[target] for name, target in links.items()}
