"""The build of a missing environment under the lock of its directory, and its publication by one rename of a link.

A build is made in a directory of its own. Until the link leads to it, it is rubbish for the next builder: a kill at any
moment costs a rebuild and nothing else. A build that is retired under the lock is deleted after its release, because
nobody should wait for that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import layout
from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.environment import BuildRecord, Damaged, Environment, write_record
from cosmos_venv.environments.installers.choice import Installer, InstallerPreference, choose_installer
from cosmos_venv.environments.layout import (
    BUILD_NAME,
    LONGEST_UPGRADE_PAUSE,
    PruneLimits,
    note_failed_upgrade,
    upgrade_failed_recently,
)
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance import cleanup
from cosmos_venv.environments.maintenance.launchers import write_launchers
from cosmos_venv.environments.maintenance.pruner import Removal, delete_retired, retire_surplus
from cosmos_venv.environments.post_install import installed, site_packages
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError, VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.files.durable_files import in_one_step
from cosmos_venv.files.filesystem_check import refuse_unfit, refuse_unfit_path
from cosmos_venv.files.permissions import judge, make_directory, writable_by_others
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import Lease, lease_path

if TYPE_CHECKING:
    import psutil

    from cosmos_venv.environments.remote_store import ArchiveRecord, RemoteEnvironment, RemoteStore


class Activity:
    """The progress of the processes below this one, by the bytes that they write. An installer that downloads says
    nothing.
    """

    def __init__(self) -> None:
        self._written = 0

    def has_gone_on(self) -> bool:
        """Return whether they wrote anything since the last call: to files, or to each other.

        False where the kernel does not tell.
        """
        import psutil  # not for an installation that is over before the first look

        # What they write is counted by the kernel: uv downloads for minutes without a word, and its owner would look
        # dead.
        written = sum(_written_by(process) for process in psutil.Process(os.getpid()).children(recursive=True))
        before, self._written = self._written, written
        return written > before


def _written_by(process: psutil.Process) -> int:
    import psutil

    try:
        return int(process.io_counters().write_chars)
    except (psutil.Error, OSError, AttributeError):  # it has just ended, or this is not Linux
        return 0


class Publisher:
    """The process by which one environment of a store becomes ready.

    :param store: where it is to stand.
    :param spec: what it must hold.
    :param instead_of: a build that is not ready, although it is published; None: none is known.
    :param cancellation: ends waiting and building.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on; None: ``report`` does.
    :param limits: by which the other environments are pruned afterwards; None: nothing is pruned.
    :param remote: environments of other machines, where it is looked for first and put afterwards; None: none.
    """

    def __init__(
        self,
        store: EnvironmentStore,
        spec: EnvironmentSpec,
        *,
        instead_of: Damaged | None = None,
        cancellation: Cancellation,
        report: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        limits: PruneLimits | None = None,
        remote: RemoteStore | None = None,
    ) -> None:
        self._store = store
        self._spec = spec
        self._instead_of = instead_of
        self._cancellation = cancellation
        self._report = report
        self._warn = warn or report
        self._limits = limits
        self._retired: list[Removal] = []
        self._rubbish: list[Path] = []
        self._lock = VirtualenvLock(store.directory, progress=self._progress)
        self._remote = remote
        self._elsewhere: RemoteEnvironment | None = None
        self._built_here: BuildRecord | None = None

    def make_ready(self, *, preference: InstallerPreference, max_tries: int) -> Environment:
        """Return the environment, made by us or by another builder that we waited for.

        :param preference: which installer builds it.
        :param max_tries: seconds to wait for another builder that makes no progress.
        :returns: the environment, leased to the caller, who closes it. Errors are those of ``open_environment``.
        """
        store = self._store
        with store.naming_the_directory():
            # Before the lock, which stands in it; and judged before anything there is opened or run.
            make_directory(store.directory, store.directory_mode)
            store.judge()
            environment = None
            try:
                with self._locked(max_tries):
                    # Another builder may have published it while this one waited for the lock.
                    environment = self._found() or self._build(preference)
            except BaseException:
                if environment is not None:
                    environment.close()
                raise
            # After the release of the lock, so that other builders do not wait for it.
            environment = self._pushed(environment)
            self._delete_retired(environment)
            return environment

    def upgrade(
        self, old: Environment, *, preference: InstallerPreference, pause: float = LONGEST_UPGRADE_PAUSE
    ) -> Environment:
        """Return a newer generation, published over an old one.

        The old one itself is returned while somebody else is building (nobody waits), and when the newer one cannot be
        built: with a warning, and no task tries again for a while. It is closed unless it is what is returned. Errors
        are those of ``open_environment``.

        :param old: the environment that is ready, leased to the caller.
        :param preference: which installer builds the newer one.
        :param pause: seconds for which no task tries again after a failure.
        """
        store = self._store
        # Another user's store, or a mount that is read-only: to wait for its lock or to fail would serve nobody.
        if not os.access(store.root, os.W_OK):
            self._report(f"{store.root} cannot be written: --upgrade does nothing there.")
            return old
        newer = None
        try:
            with store.naming_the_directory(), self._locked(max_tries=0):
                newer = self._newer_than(old) or self._build_newer(old, preference, pause)
        except VirtualenvLockTimeout:
            return old
        except BaseException:
            for each in filter(None, (old, newer)):
                each.close()
            raise
        if newer is None:
            return old
        old.close()
        newer = self._pushed(newer)
        self._delete_retired(newer)
        return newer

    def _build_newer(self, old: Environment, preference: InstallerPreference, pause: float) -> Environment | None:
        if upgrade_failed_recently(old.path, pause=pause):
            return None  # by a task that had the lock before us
        try:
            return self._build(preference, newer_than=_built_at(old))
        # A new release that cannot be built must not stop tasks that have something ready. Without the note each of
        # them would try again, one after the other under the lock.
        except (VirtualenvBuildError, OSError) as error:
            self._warn(
                f"The virtualenv for {self._spec} could not be upgraded: {old.path} is used as it is, and the next "
                f"attempt is made after {pause:.0f} s. {error}"
            )
            with suppress(OSError):  # then the next task tries again
                note_failed_upgrade(old.path, str(error))
            return None

    @contextmanager
    def _locked(self, max_tries: int) -> Iterator[None]:
        """Hold the directory's lock in this block. Builds that are retired in it are deleted after the release."""
        try:
            with self._lock.acquire(max_tries=max_tries, cancellation=self._cancellation, report=self._report):
                yield
        finally:
            self._delete_rubbish()

    def _delete_rubbish(self) -> None:
        for build in self._rubbish:
            with cleanup.reporting_failed_removal(build, self._report):
                cleanup.delete(build)

    def _newer_than(self, old: Environment) -> Environment | None:
        """Return the environment that another task has published since ``old`` was found; None when none has."""
        found = self._found()
        if found is None or found.path != old.path:
            return found
        found.close()
        return None

    def _found(self) -> Environment | None:
        return self._store.find(self._spec, instead_of=self._instead_of, cancellation=self._cancellation)

    def _build(self, preference: InstallerPreference, *, newer_than: str = "") -> Environment:
        # Early, where nothing can be fetched: what cannot be built leaves no directory behind.
        installer = self._installer(preference) if self._remote is None else None
        refuse_unfit(self._store.directory)
        make_directory(self._store.root, self._store.directory_mode)
        make_directory(self._store.builds, self._store.directory_mode)
        judge(self._store.directory, self._store.root, self._store.builds, parameter=self._store.parameter)
        self._rubbish += cleanup.sweep(self._store, self._report)
        offer = self._offer(newer_than)
        build = self._next_build() if offer is None else self._store.builds / offer.name
        # Before anything stands in the build's directory: without a locked lease that counts as left over.
        lease = Lease.shared(build)
        if lease is None:
            raise VirtualenvError(f"{lease_path(build)} is locked by a process that does not build. Remove it.")
        try:
            began = time.monotonic()
            record, commands = self._fetched(offer, build) or self._installed(
                build, installer or self._installer(preference), lease
            )
            self._publish(build, record, commands)
            self._report(f"The virtualenv {build} is ready after {time.monotonic() - began:.1f} s.")
            environment = self._store.environment_of(self._spec, build, lease=lease, was_built=True)
            self._retire_surplus()
            return environment
        except BaseException:
            lease.close()
            self._clean_up(build)
            raise

    def _installer(self, preference: InstallerPreference) -> Installer:
        return choose_installer(preference, self._spec, os.environ)

    def _offer(self, newer_than: str) -> ArchiveRecord | None:
        """Return the environment in the remote store that can be fetched; None when it has to be installed."""
        if self._remote is None:
            return None
        if self._spec.system_site_packages:
            reason = "The virtualenv sees packages of this worker (py_system_site_packages)"
            if self._remote.is_required:
                raise VirtualenvError(f"{reason}: it can only be built here.")
            self._report(f"{reason}: it is built here.")
            return None
        from cosmos_venv.environments.remote_store import RemoteEnvironment  # few have a remote store

        self._elsewhere = RemoteEnvironment(
            store=self._remote,
            digest=self._spec.digest,
            interpreter=self._spec.interpreter,
            builds=self._store.builds,
            cancellation=self._cancellation,
            report=self._report,
            warn=self._warn,
        )
        offer = self._elsewhere.find(newer_than=newer_than)
        if offer is None:
            return None
        # It is unpacked where it was built: what a killed task has left there goes first.
        self._delete_rubbish()
        if offer.name in layout.build_names(self._store):
            path = self._store.builds / offer.name
            self._elsewhere.pass_over(f"The virtualenv of {self._remote.folder} was built at {path}, which is taken")
            return None
        return offer

    def _fetched(self, offer: ArchiveRecord | None, build: Path) -> tuple[BuildRecord, list[str]] | None:
        """Fetch the environment into a build's directory; None when it has to be installed there."""
        if offer is None or self._elsewhere is None:
            return None
        record = self._elsewhere.fetch(offer, build, on_tick=partial(_show_progress, build))
        return None if record is None else (record, installed(build).commands)

    def _installed(self, build: Path, installer: Installer, lease: Lease) -> tuple[BuildRecord, list[str]]:
        """Install the environment into a build's directory."""
        refuse_unfit_path(build)
        self._report(f"Creating the virtualenv {build} with {installer.name} ({installer.reason}).")
        began = time.monotonic()
        built = build_environment(
            self._spec,
            build,
            installer,
            cancellation=self._cancellation,
            report=partial(self._hear, build),
            on_tick=partial(self._tick, build, Activity()),
            keep_open=lease.descriptors,
            is_durable=True,
            replaced_faults=self._instead_of.faults if self._instead_of else (),
        )
        record = BuildRecord.of(
            self._spec,
            built.pins,
            installer=built.installer,
            sources=built.sources,
            provides=built.provides,
            libraries=built.libraries,
            seconds=time.monotonic() - began,
        )
        self._built_here = record
        return record, built.commands

    def _hear(self, build: Path, line: str) -> None:
        _show_progress(build)
        self._report(line)

    def _tick(self, build: Path, activity: Activity) -> None:
        if activity.has_gone_on():
            _show_progress(build)

    def _write_launchers(self, commands: list[str]) -> None:
        directory = self._store.directory
        if (directory / "pyvenv.cfg").exists():
            self._report(f"{directory} is a virtual environment already: it is left as it is, and not used.")
            return
        try:
            make_directory(directory / "bin", self._store.directory_mode)
            judge(directory / "bin", parameter=self._store.parameter)
            write_launchers(directory / "bin", self._store.link(self._spec.digest), commands)
        except (OSError, VirtualenvError) as error:
            # They are for people at a terminal; no task needs them.
            self._report(f"{directory / 'bin'} does not get the commands of the environment: {error}.")

    def _publish(self, build: Path, record: BuildRecord, commands: list[str]) -> None:
        write_record(self._store.record_file(build), record)
        cleanup.protect(build)
        # Once more, at the end: the byte compiler and the check of the spec may have written too.
        for path, _, reason in writable_by_others(build):
            raise VirtualenvBuildError(f"The virtualenv {build} is not published: {path}: {reason}.")
        # Before publishing: after a kill between the two the next build makes up for it.
        self._write_launchers(commands)
        # A link cannot be replaced in place, but a rename over it is atomic: no task ever sees none.
        with in_one_step(self._store.link(self._spec.digest)) as apart:
            apart.symlink_to(build.relative_to(self._store.root))

    def _next_build(self) -> Path:
        digest = self._spec.digest
        builds = (match for name in layout.build_names(self._store) if (match := BUILD_NAME.fullmatch(name)))
        # Numbers are not used again while anything of a build is left: a lease or a record of the old one would count
        # for the new.
        highest = max((int(build["number"]) for build in builds if build["digest"] == digest), default=0)
        return self._store.builds / f"{digest}-{highest + 1}"

    def _retire_surplus(self) -> None:
        """Prune the store. Whatever goes wrong with other environments is a line in the log: the task has what it asked
        for.
        """
        if self._limits is None:
            return
        with self._reporting_failed_pruning():
            self._retired = retire_surplus(self._store, self._limits, now=time.time())
            cleanup.mend_launchers(self._store, self._report)

    def _delete_retired(self, environment: Environment) -> None:
        try:
            with self._reporting_failed_pruning():
                for each in delete_retired(self._retired):
                    self._report(each.describe())
        except BaseException:  # a signal's: nobody gets the environment, so nobody closes it
            environment.close()
            raise

    def _pushed(self, environment: Environment) -> Environment:
        """Put what was built here into the remote store, for other machines."""
        if self._elsewhere is None or self._built_here is None:
            return environment
        try:
            return replace(environment, was_pushed=self._elsewhere.push(environment.path, self._built_here))
        except BaseException:  # the end of the task: nobody gets the environment, so nobody closes it
            environment.close()
            raise

    @contextmanager
    def _reporting_failed_pruning(self) -> Iterator[None]:
        try:
            yield
        except (OSError, VirtualenvError, CosmosValueError) as error:
            self._report(f"{self._store.root} is not pruned: {error}")

    def _clean_up(self, build: Path) -> None:
        """Retire a build that has failed. Its own error is told, not that of the removal."""
        with cleanup.reporting_failed_removal(build, self._report):
            # A signal handler may raise after the publishing too: then others use the build already.
            if self._store.published(self._spec.digest) == build:
                return
            self._rubbish += cleanup.retire_unused(self._store, build)

    def _progress(self) -> object:
        """Return what is visible of a build under way: when its installer last spoke or wrote, and how much is
        installed.
        """
        try:
            builds = [build for build in layout.unpublished(self._store) if lease_path(build).exists()]
            return [
                (
                    build,
                    lease_path(build).stat().st_mtime_ns,
                    [len(list(each.iterdir())) for each in site_packages(build)],
                )
                for build in builds
            ]
        except OSError:
            return None  # published or removed while we looked


def _show_progress(build: Path) -> None:
    # The time of the lease is what other hosts see of the progress; processes there cannot be looked at.
    with suppress(OSError):  # no reason to end the build
        lease_path(build).touch()


def _built_at(environment: Environment) -> str:
    try:
        return str(environment.record["built_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
