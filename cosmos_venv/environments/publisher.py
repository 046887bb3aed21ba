"""How a missing environment becomes a ready one: built under the lock, apart, and published in one step.

What no link leads to is rubbish for the next builder, so a kill at any moment costs a rebuild and nothing else.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.environments import integrity, removal
from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.fitness import TRIAL_PREFIX, refuse_unfit, refuse_unfit_path
from cosmos_venv.environments.installer import Installer, InstallerPreference, choose_installer
from cosmos_venv.environments.launchers import write_launchers
from cosmos_venv.environments.lease import Lease, lease_path
from cosmos_venv.environments.lock import LOCK_FILENAME, VirtualenvLock
from cosmos_venv.environments.record import write_record
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import BUILD_NAME, EnvironmentStore
from cosmos_venv.environments.trust import make_directory
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import Cancellation


class Publisher:
    """Makes one environment of a store ready.

    :param cancellation: ends waiting and building.
    :param report: gets lines for the task's log.
    """

    def __init__(
        self,
        store: EnvironmentStore,
        spec: EnvironmentSpec,
        *,
        cancellation: Cancellation,
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._spec = spec
        self._cancellation = cancellation
        self._report = report
        self._lock = VirtualenvLock(store.directory, progress=self._progress)

    def make_ready(self, *, preference: InstallerPreference, max_tries: int) -> Environment:
        """The environment, made by us or by whom we waited for. Raises what ``EnvironmentStore.open`` says."""
        store = self._store
        with store.naming_the_directory():
            make_directory(store.directory)
            with self._lock.acquire(max_tries=max_tries, cancellation=self._cancellation, report=self._report):
                return store.find(self._spec) or self._build(preference)

    def _build(self, preference: InstallerPreference) -> Environment:
        installer = choose_installer(preference, self._spec.pip_install_options, os.environ)
        refuse_unfit(self._store.directory)
        make_directory(self._store.root)
        make_directory(self._store.builds)
        self._remove_rubbish()
        build = self._next_build()
        refuse_unfit_path(build, installer=installer.name)
        self._report(f"Creating the virtualenv {build} with {installer.name} ({installer.reason}).")
        lease = Lease.shared(build)
        if lease is None:
            raise VirtualenvError(f"{lease_path(build)} is locked by a process that does not build. Remove it.")
        try:
            return self._fill_and_publish(build, installer, lease)
        except BaseException:
            lease.close()
            self._clean_up(build)
            raise

    def _fill_and_publish(self, build: Path, installer: Installer, lease: Lease) -> Environment:
        def report_progress(line: str) -> None:
            lease_path(build).touch()
            self._lock.renew()
            self._report(line)

        began = time.monotonic()
        build_environment(
            self._spec,
            build,
            installer,
            cancellation=self._cancellation,
            report=report_progress,
            keep_open=lease.descriptors,
        )
        seconds = time.monotonic() - began
        environment = self._store.environment_of(self._spec, build, lease=lease, was_built=True)
        write_record(environment.record_file, self._spec, build, installer=installer, seconds=seconds)
        removal.protect(build)
        # Before publishing, so that whoever is killed between the two is made up for by the next build.
        self._write_launchers(build)
        self._publish(build)
        self._report(f"The virtualenv {build} is ready after {seconds:.1f} s.")
        return environment

    def _write_launchers(self, build: Path) -> None:
        directory = self._store.directory
        if (directory / "pyvenv.cfg").exists():
            self._report(f"{directory} is a virtual environment already: it is left as it is, and not used.")
            return
        try:
            write_launchers(directory / "bin", self._store.link(self._spec.digest), integrity.console_scripts(build))
        except OSError as error:
            # They are for people at a terminal; no task needs them.
            self._report(f"{directory / 'bin'} does not get the commands of the environment: {error}.")

    def _publish(self, build: Path) -> None:
        apart = self._store.root / f".{self._spec.digest}.{uuid.uuid4().hex}"
        apart.symlink_to(build.relative_to(self._store.root))
        apart.replace(self._store.link(self._spec.digest))

    def _next_build(self) -> Path:
        digest = self._spec.digest
        builds = (match for name in self._build_names() if (match := BUILD_NAME.fullmatch(name)))
        highest = max((int(build["number"]) for build in builds if build["digest"] == digest), default=0)
        return self._store.builds / f"{digest}-{highest + 1}"

    def _build_names(self) -> set[str]:
        """Names of all builds of which anything is left: directory, lease or record."""
        matches = (BUILD_NAME.match(entry.name) for entry in self._store.builds.iterdir())
        return {match.group() for match in matches if match}

    def _unpublished(self) -> list[Path]:
        links = (entry for entry in self._store.root.iterdir() if entry.is_symlink() and not entry.name.startswith("."))
        published = {link.readlink().name for link in links}
        return [self._store.builds / name for name in sorted(self._build_names() - published)]

    def _remove_rubbish(self) -> None:
        """Remove what dead builders left. We hold the lock, so no living one is at work here."""
        links = (entry for entry in self._store.root.glob(".*") if entry.is_symlink())
        for left in [*links, *self._store.directory.glob(f".{LOCK_FILENAME}.*")]:
            with self._going_on(left):
                left.unlink()
        for trial in self._store.directory.glob(f"{TRIAL_PREFIX}*"):
            with self._going_on(trial):
                removal.remove(trial)
        for build in self._unpublished():
            with self._going_on(build):
                self._remove_unused(build)

    def _clean_up(self, build: Path) -> None:
        """Remove what came to nothing. The error that ended it is the one to be told."""
        with self._going_on(build):
            # A signal handler may raise after the publishing too: then others use the build already.
            if self._store.published(self._spec.digest) != build:
                self._remove_unused(build)

    @contextmanager
    def _going_on(self, left: Path) -> Iterator[None]:
        """What cannot be removed, such as another user's, stays with a line in the log."""
        try:
            yield
        except (OSError, VirtualenvError, CosmosValueError) as error:
            self._report(f"{left} is left over and cannot be removed: {error}.")

    def _remove_unused(self, build: Path) -> None:
        """Remove a build unless something runs in it: an installer that is still dying, a task of an old generation."""
        lease = Lease.exclusive(build)
        if lease is None:
            return
        try:
            if build.exists():
                removal.remove(build)
            self._store.record_file(build).unlink(missing_ok=True)
            lease_path(build).unlink(missing_ok=True)
        finally:
            lease.close()

    def _progress(self) -> object:
        """What is visible of a build under way: when its installer last spoke, and how much is installed."""
        try:
            return [(build, lease_path(build).stat().st_mtime_ns, _installed(build)) for build in self._unpublished()]
        except OSError:
            return None  # published or removed while we looked


def _installed(build: Path) -> int:
    return sum(1 for folder in integrity.site_packages(build) for _ in folder.iterdir())
