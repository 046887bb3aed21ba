"""The opening of a kept environment: it is found, or else built under the lock of its directory and published.

A build is made in a folder of its own, and published by one rename of a record. Until then the folder is a leftover for
the next builder: a kill at any moment costs a rebuild and nothing else. Builds that are retired under the lock are
deleted after its release, so that no task waits for the deletion. Before a fetch they are deleted at once: the fetched
build may need the name of their folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.installers.installer import Installer, InstallerPreference, choose_installer
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance.pruner import (
    PruneLimits,
    reporting_failed_removal,
    retire,
    retire_chosen,
    surplus,
    sweep,
    unpublished,
)
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import BuildRecord, Environment, EnvironmentStore, is_within, now
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError, VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.files.kernel_lock import Lease, lease_path
from cosmos_venv.files.own_files import refuse_noexec, refuse_unfit_path, replace_atomically
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.remote_store import ArchiveRecord, RemoteEnvironment, RemoteStore

LONGEST_UPGRADE_PAUSE = 3600.0
"""Seconds until a failed upgrade is tried again; less where upgrades are wanted more often."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One environment that is wanted, and how it is built where it is missing.

    :param store: where it stands or is to stand.
    :param spec: what it must hold.
    :param preference: which installer builds it.
    :param max_tries: seconds to wait for another builder that makes no progress.
    :param limits: by which the directory's other environments are pruned after a build; None: nothing is pruned.
    """

    store: EnvironmentStore
    spec: EnvironmentSpec
    preference: InstallerPreference = "auto"
    max_tries: int
    limits: PruneLimits | None = None


@contextmanager
def open_environment(
    request: BuildRequest,
    *,
    upgrade_after: float | None = None,
    cancellation: Cancellation,
    report: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    remote: Callable[[], RemoteStore | None] = lambda: None,
) -> Iterator[Environment]:
    """Open the environment, built first when it is not there yet, and keep it for as long as the block runs.

    :param request: the environment.
    :param upgrade_after: age in seconds after which an environment whose spec asks for ``--upgrade`` is built anew, by
        one task at a time; the other tasks use the ready environment. None: never. When the upgrade fails, the ready
        environment is used, and the next attempt is made after the same time, at most an hour.
    :param cancellation: ends waiting and building.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on; None: ``report`` does.
    :param remote: called when the environment is to be built or upgraded; returns the remote store, or None.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    :raises VirtualenvBuildError: when it cannot be built.
    :raises VirtualenvLockTimeout: when another builder holds the lock for too long.
    :raises VirtualenvError: when the directory cannot be read or written, or somebody else can have written there.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    environment = request.store.find(request.spec, cancellation=cancellation)
    pause = LONGEST_UPGRADE_PAUSE if upgrade_after is None else min(upgrade_after, LONGEST_UPGRADE_PAUSE)
    wants_upgrade = upgrade_after is not None and request.spec.asks_for_upgrade
    if environment is None or (wants_upgrade and _is_outdated(environment.record, upgrade_after or 0.0, pause)):
        publisher = Publisher(
            request=request, cancellation=cancellation, report=report, warn=warn or report, remote=remote()
        )
        environment = publisher.make_ready() if environment is None else publisher.upgrade(environment, pause=pause)
    with closing(environment):
        yield environment


def _is_outdated(record: BuildRecord, upgrade_after: float, pause: float) -> bool:
    return not (is_within(record.built_at, upgrade_after) or is_within(record.upgrade_failed_at, pause))


@dataclass(kw_only=True)
class Publisher:
    """The steps by which one environment of a store becomes ready.

    :param request: the environment.
    :param cancellation: ends waiting and building.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on.
    :param remote: the remote store. The environment is looked for there before a build, and put there after it. None:
        there is no remote store.
    """

    request: BuildRequest
    cancellation: Cancellation
    report: Callable[[str], None]
    warn: Callable[[str], None]
    remote: RemoteStore | None = None
    _after_release: ExitStack = field(default_factory=ExitStack, init=False)
    _remote_environment: RemoteEnvironment | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.store, self.spec = self.request.store, self.request.spec

    def make_ready(self) -> Environment:
        """Return the environment, made by us or by another builder that we waited for.

        :returns: the environment, leased to the caller, who closes it. Errors are those of ``open_environment``.
        """
        with self.store.errors_name_the_directory():
            self.store.make_directory()
            with self._locked(self.request.max_tries) as took_lock:
                # Another builder may have published it while this one waited for the lock.
                environment = self._found() or self._build(sweeps=took_lock)
            return self._pushed(environment)

    def upgrade(self, old: Environment, *, pause: float) -> Environment:
        """Return a newer build, published over an old one.

        The old build is returned while another process holds the lock: nobody waits for an upgrade. The old build is
        also returned, with a warning, when the newer one cannot be built; no task tries again for ``pause`` seconds
        then. The old build is closed unless it is returned. Errors are those of ``open_environment``.

        :param old: the environment that is ready, leased to the caller.
        :param pause: seconds for which no task tries again after a failure.
        """
        # Another user's store, or a mount that is read-only: to wait for its lock or to fail would serve nobody.
        if not os.access(self.store.root, os.W_OK):
            self.report(f"{self.store.root} cannot be written: --upgrade does nothing there.")
            return old
        try:
            with self.store.errors_name_the_directory(), self._locked(max_tries=0) as took_lock:
                newer = self._newer_than(old, pause, sweeps=took_lock)
            newer = self._pushed(newer)
        except VirtualenvLockTimeout:
            return old
        if newer is not old:
            old.close()
        return newer

    def _newer_than(self, old: Environment, pause: float, *, sweeps: bool) -> Environment:
        found = self._found()
        if found is not None:
            if found.path != old.path:
                return found  # another task has published it since the old one was found
            found.close()
            if is_within(found.record.upgrade_failed_at, pause):
                return old
        try:
            return self._build(newer_than=old.record.built_at, sweeps=sweeps)
        # A new release that cannot be built must not stop tasks that have a ready build. Without the recorded failure
        # each task would try again, one after the other under the lock.
        except (VirtualenvBuildError, OSError) as error:
            self.warn(
                f"The virtualenv for {self.spec} could not be upgraded: {old.path} is used as it is, and the next "
                f"attempt is made after {pause:.0f} s. {error}"
            )
            if found is not None:  # else another task has found the old one damaged
                with suppress(OSError):  # a disk that is full: then the next task tries again
                    self.store.publish(replace(old.record, upgrade_failed_at=now()))
            return old

    @contextmanager
    def _locked(self, max_tries: int) -> Iterator[bool]:
        """Hold the directory's lock in this block. Retired builds are deleted after the release.

        :returns: within the block, whether the block has taken the lock; False where an outer block holds it.
        """
        lock = VirtualenvLock(self.store.directory, progress=self._progress)
        waiting = lock.acquire(max_tries=max_tries, cancellation=self.cancellation, report=self.report)
        with self._after_release, waiting as took_lock:
            yield took_lock

    def _found(self) -> Environment | None:
        return self.store.find(self.spec, cancellation=self.cancellation)

    def _build(self, *, newer_than: str = "", sweeps: bool) -> Environment:
        # Without a remote store the installer is chosen before ``store.make``: a failure leaves no envs-v2 behind.
        installer = self._installer() if self.remote is None else None
        refuse_noexec(self.store.directory)
        self.store.make()
        # Not below an outer block: other threads may be building, and the sweep would take their unfinished files.
        if sweeps:
            sweep(self.store, self._after_release, self.report)
        offer = self._offer(newer_than)
        build = self.store.new_build(self.spec.digest) if offer is None else self.store.root / offer.build.build
        # Locked before anything is in the folder: a folder without a locked lease counts as left over.
        lease = Lease.shared(build)
        if lease is None:
            raise VirtualenvError(f"{lease_path(build)} is locked by another process. The next try builds anew.")
        began = time.monotonic()
        try:
            record = None
            if offer is not None and self._remote_environment is not None:
                record = self._remote_environment.fetch(offer, build, on_tick=partial(_show_progress, build))
            record = record or self._installed(build, installer or self._installer(), lease)
            # Linked before publishing: a kill between the two leaves bin/dbt on a build that the next build replaces.
            # In the other order a kill would leave bin/dbt on the old build for ever: a task that finds a ready build
            # links nothing.
            link_dbt(self.store, build, self.report)
            self.store.publish(record)
            seconds = time.monotonic() - began
            self.report(f"The virtualenv {build} is ready after {seconds:.1f} s.")
            self._prune()
            return Environment(path=build, record=record, was_built=True, lease=lease, seconds=seconds)
        except BaseException:
            lease.close()
            self._clean_up(build)
            raise

    def _installer(self) -> Installer:
        return choose_installer(self.request.preference, self.spec, os.environ)

    def _offer(self, newer_than: str) -> ArchiveRecord | None:
        """Return the environment in the remote store that can be fetched; None when it has to be installed."""
        if self.remote is None:
            return None
        from cosmos_venv.environments.remote_store import RemoteEnvironment  # few have a remote store

        elsewhere = RemoteEnvironment(
            store=self.remote,
            digest=self.spec.digest,
            interpreter=self.spec.interpreter,
            root=self.store.root,
            cancellation=self.cancellation,
            report=self.report,
            warn=self.warn,
        )
        if self.spec.system_site_packages:
            what = "The virtualenv sees packages of this worker (py_system_site_packages), so no other machine has it"
            elsewhere.build_here_instead(what, self.report)
            return None
        self._remote_environment = elsewhere
        # A fetched environment is unpacked at the path where it was built: a retired build of that name goes first.
        self._after_release.close()
        return elsewhere.find(newer_than=newer_than)

    def _installed(self, build: Path, installer: Installer, lease: Lease) -> BuildRecord:
        """Install the environment into its folder."""
        refuse_unfit_path(build)
        self.report(f"Creating the virtualenv {build} with {installer.name} ({installer.reason}).")
        return build_environment(
            self.spec,
            build,
            installer,
            cancellation=self.cancellation,
            report=self.report,
            on_tick=partial(_show_progress, build),  # an installer that downloads says nothing for minutes
            keep_open=lease.hand_on(),
            is_durable=True,
        )

    def _prune(self) -> None:
        """Prune the store. An error is only a line in the log: the task has its environment."""
        if self.request.limits is None:
            return
        try:
            for going in surplus(self.store, self.request.limits, now=time.time()):
                self.report(retire_chosen(self.store, going, self._after_release, self.report).describe())
        except (OSError, VirtualenvError, CosmosValueError) as error:
            self.report(f"{self.store.root} is not pruned: {error}")

    def _pushed(self, environment: Environment) -> Environment:
        """Put an environment built here into the remote store, for other machines. The lock is not held meanwhile."""
        record = environment.record
        if self._remote_environment is None or not environment.was_built or record.fetched_from:
            return environment
        try:
            return replace(environment, was_pushed=self._remote_environment.push(environment.path, record))
        except BaseException:  # the end of the task: nobody gets the environment, so nobody closes it
            environment.close()
            raise

    def _clean_up(self, build: Path) -> None:
        """Retire a build that has failed. The error of the build is raised; an error of the removal is only logged."""
        with reporting_failed_removal(build, self.report):
            record = self.store.published(self.spec.digest)
            # A signal handler may raise after the publishing too: then others use the build already.
            if record is None or record.build != build.name:
                retire(self.store, build, self._after_release, self.report)

    def _progress(self) -> object:
        """Return the visible progress of a build: when its builder last saw its installer at work."""
        try:
            leases = [lease_path(build) for build in unpublished(self.store)]
            return [(lease.name, lease.stat().st_mtime_ns) for lease in leases if lease.exists()]
        except OSError:
            return None  # published or removed while we looked


def _show_progress(build: Path) -> None:
    # The time of the lease is what other hosts see of the progress; processes there cannot be looked at.
    with suppress(OSError):  # no reason to end the build
        lease_path(build).touch()


def link_dbt(store: EnvironmentStore, build: Path, report: Callable[[str], None]) -> None:
    """Let ``bin/dbt`` of a directory lead to the dbt of a build, for people at a terminal.

    A plain file in the place of the link stays. Nothing is linked either where another implementation keeps a virtual
    environment in the directory.

    :param store: of the directory.
    :param build: its folder.
    :param report: gets a line where the link cannot be made.
    """
    link = store.directory / "bin" / "dbt"
    is_taken = os.path.lexists(link) and not link.is_symlink()
    if is_taken or (store.directory / "pyvenv.cfg").exists() or not (build / "bin" / "dbt").exists():
        return
    try:
        store.make(link.parent)
        with replace_atomically(link) as apart:
            apart.symlink_to(os.path.relpath(build / "bin" / "dbt", link.parent))
    except (OSError, VirtualenvError) as error:
        report(f"{link} does not lead to the new environment: {error}.")
