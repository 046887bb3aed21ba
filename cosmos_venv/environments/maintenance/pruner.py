"""The builds of a store: listed, and removed where they are beyond the limits, damaged, or left by dead builders.

No build goes that is in use, or that a task is about to use. A build is retired under the lock of its directory and
under its exclusive lease, which is kept until the folder is deleted. The deletion needs no lock: builders must not wait
for 20,000 files to be unlinked. A kill between the two leaves a folder that no record names, which the next builder
deletes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from cosmos_venv.environments.lock import LOCK_FILENAME, VirtualenvLock
from cosmos_venv.environments.store import DETACHED, BuildRecord, EnvironmentStore, digest_of
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import own_files
from cosmos_venv.files.kernel_lock import Lease, is_in_use, lease_path
from cosmos_venv.processes import guard
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.detached_process import detached_works_in
from cosmos_venv.processes.guarded_process import has_open

Report = Callable[[str], None]
DAY = 86_400
_BLOCK = 512  # the unit of st_blocks on every file system

# ready: a record names it. old: a newer build is ready, and tasks still use this one. building: a builder is at work.
# leftover: it belongs to a process that has ended.
BuildState = Literal["ready", "old", "building", "leftover"]


@dataclass(frozen=True, kw_only=True)
class StoredBuild:
    """One build, as one look saw it.

    :param name: ``<digest>-<suffix>``.
    :param path: its folder, which may be gone.
    :param state: what has become of it.
    :param is_in_use: whether a process has its lease; None when this process cannot know.
    :param last_used: seconds since the epoch: when a task last took its lease (to the minute), or it was built.
    :param record: of a build that is ready; None of any other.
    :param may_be_open: as for ``EnvironmentStore``.
    """

    name: str
    path: Path
    state: BuildState
    is_in_use: bool | None
    last_used: float | None
    record: BuildRecord | None = None
    may_be_open: bool = False

    @property
    def digest(self) -> str:
        """The digest of its spec, 64 hexadecimal digits."""
        return digest_of(self.path)

    @property
    def suffix(self) -> str:
        """The part of its name that tells it from other builds of its digest: 8 hexadecimal digits."""
        return self.name.partition("-")[2]

    @property
    def engine(self) -> str:
        """The kind of its dbt, by its record: ``python`` or ``native``; empty where no record says it."""
        return self.record.provides.get("engine", "") if self.record else ""

    @cached_property
    def bytes_on_disk(self) -> int:
        """Bytes on disk of its files and directories."""
        return _bytes_on_disk(self.path)


def read_inventory(store: EnvironmentStore) -> list[StoredBuild]:
    """Return all builds of a store, by digest and state; none when nothing was ever built there.

    :param store: the directory that is looked at.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file, or is not there.
    """
    with store.errors_name_the_directory():
        if not os.path.lexists(store.directory):
            raise CosmosValueError(f"virtualenv_dir: there is no directory {store.directory}. Give the path of one.")
        try:
            names = store.names()
        except FileNotFoundError:
            return []
        records = {digest: store.published(digest) for digest in names if "-" not in digest}
        builds = {name for name in names if "-" in name} | {record.build for record in records.values() if record}
        found = [_stored(store, store.root / name, records.get(name.partition("-")[0])) for name in builds]
    return sorted(found, key=lambda each: (each.digest, each.state != "ready", each.name))


def select(builds: Iterable[StoredBuild], text: str) -> list[StoredBuild]:
    """Return the builds of one digest, or a single build.

    :param builds: those among which is chosen.
    :param text: a digest, the first characters of one, or ``<digest>-<suffix>``.
    :raises CosmosValueError: when it fits none, or several digests.
    """
    digest, _, suffix = text.partition("-")
    fitting = [each for each in builds if each.digest.startswith(digest) and each.suffix.startswith(suffix)]
    digests = sorted({each.digest for each in fitting})
    if text and len(digests) == 1:
        return fitting
    if not digests or not text:
        raise CosmosValueError(f"DIGEST {text!r} fits no environment of this directory: see cosmos-venv env list.")
    raise CosmosValueError(
        f"DIGEST {text!r} fits {', '.join(each[:12] for each in digests)}: give more characters of one."
    )


def users_of(build: Path) -> list[int]:
    """Return the PIDs that have the build's lease open, so far as this process may see them (Linux; empty elsewhere).

    :param build: the directory.
    """
    with suppress(OSError):
        lease = lease_path(build).stat()
        return sorted(pid for pid in guard.processes() if pid != os.getpid() and has_open(pid, lease))
    return []


@dataclass(frozen=True, kw_only=True)
class PruneLimits:
    """Limits of what a store may hold; 0 is no limit.

    :param max_age: seconds since an environment was last used.
    :param max_count: number of environments; those used last stay.
    :param max_bytes: bytes on disk of all environments together.
    :param min_age: seconds; an environment that was used within them stays, whatever the limits say.
    :raises CosmosValueError: naming the value that is negative.
    """

    max_age: float = 30 * DAY
    max_count: int = 10
    max_bytes: int = 0
    min_age: float = DAY

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 0:
                raise CosmosValueError(f"{each.name} is {getattr(self, each.name)}: give 0 (no limit) or more.")


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A build that is to go.

    :param stored: the build, as one look saw it.
    :param reason: why it is to go, as a clause.
    :param obstacle: why it stays all the same; empty when it goes.
    :param is_forbidden: whether the obstacle is a permission that this user lacks, and no task that uses it.
    """

    stored: StoredBuild
    reason: str
    obstacle: str = ""
    is_forbidden: bool = False

    def describe(self) -> str:
        """Return one sentence for a log."""
        what = f"The virtualenv {self.stored.path}"
        if self.obstacle:
            return f"{what} was to be removed ({self.reason}) and stays: {self.obstacle}."
        return f"{what} is removed: {self.reason}."


def prune(
    store: EnvironmentStore,
    look: Callable[[], list[Removal]],
    *,
    max_tries: int,
    cancellation: Cancellation,
    report: Report,
) -> list[Removal]:
    """Remove the builds that are to go. Tasks go on meanwhile; builders wait only until the builds are retired.

    Killed at any moment, this leaves what the next builder or pruner removes.

    :param store: the directory to prune.
    :param look: ``surplus`` or ``named``, with its arguments.
    :param max_tries: seconds to wait for a builder that makes no progress.
    :param cancellation: ends the wait.
    :param report: gets lines on the wait, and on what cannot be removed.
    :returns: each build that was to go, with what became an obstacle.
    :raises VirtualenvLockTimeout: when a builder holds the lock for too long.
    :raises VirtualenvError: when the directory cannot be read, or somebody else can have written there.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    expected = look()
    if all(each.obstacle for each in expected):
        return expected  # no lock is wanted where nothing is written
    with store.errors_name_the_directory(), ExitStack() as after_release:
        lock = VirtualenvLock(store.directory)
        with lock.acquire(max_tries=max_tries, cancellation=cancellation, report=report):
            # Chosen again: while this process waited for the lock, tasks may have begun to use the builds that it had
            # chosen.
            removals = [retire_chosen(store, each, after_release, report) for each in look()]
            sweep(store, after_release, report)
        return removals


def surplus(store: EnvironmentStore, limits: PruneLimits, *, now: float) -> list[Removal]:
    """Return the builds beyond the limits. Nothing is written.

    :param store: the directory that is looked at.
    :param limits: of what it may hold.
    :param now: seconds since the epoch, from which ages are counted.
    :raises VirtualenvError: when the directory cannot be read, or somebody else can have written there.
    """
    return choose(_trusted_inventory(store), limits, now=now)


def named(store: EnvironmentStore, digest: str) -> list[Removal]:
    """Return one environment, whatever the limits say; it stays while somebody uses it. Nothing is written.

    :param store: the directory that is looked at.
    :param digest: the first characters of it, or one build as ``<digest>-<suffix>``.
    :raises CosmosValueError: when the digest fits none, or several.
    :raises VirtualenvError: as ``surplus``.
    """
    in_use = "it is in use; try again when the tasks that run in it have ended"
    return [
        Removal(stored=each, reason="it was asked for", obstacle=in_use if each.is_in_use else "")
        for each in select(_trusted_inventory(store), digest)
    ]


def choose(builds: Sequence[StoredBuild], limits: PruneLimits, *, now: float) -> list[Removal]:
    """Return the builds beyond the limits: first the leftovers, then those used longest ago.

    :param builds: all of a store.
    :param limits: of what it may hold.
    :param now: seconds since the epoch.
    """
    left = [each for each in builds if each.state == "leftover"]
    going = [Removal(stored=each, reason="no task can find it any more") for each in left]
    ready = sorted((each for each in builds if each.state == "ready"), key=_last_used)
    count = len(ready)
    size = sum(each.bytes_on_disk for each in ready) if limits.max_bytes else 0
    for each in ready:
        unused = now - _last_used(each)
        if each.is_in_use or unused < limits.min_age:
            continue
        if limits.max_age and unused > limits.max_age:
            reason = f"it was last used {unused / DAY:.0f} days ago"
        elif limits.max_count and count > limits.max_count:
            reason = f"there are more than {limits.max_count} environments"
        elif limits.max_bytes and size > limits.max_bytes:
            reason = f"there are more than {limits.max_bytes} bytes"
        else:
            continue
        count -= 1
        size -= each.bytes_on_disk if limits.max_bytes else 0
        going.append(Removal(stored=each, reason=reason))
    return going


def retire_chosen(store: EnvironmentStore, going: Removal, after_release: ExitStack, report: Report) -> Removal:
    """Retire a build that is to go. The caller holds the directory's lock.

    :param store: the directory.
    :param going: of ``surplus`` or ``named``.
    :param after_release: deletes the build when it is closed.
    :param report: gets a line on what cannot be deleted.
    :returns: the removal, with what became an obstacle.
    """
    stored = going.stored
    if going.obstacle:
        return going
    try:
        used_until = stored.last_used if stored.state == "ready" else None
        is_retired = retire(store, stored.path, after_release, report, used_until=used_until)
    except OSError as error:
        return replace(going, obstacle=str(error.strerror or error), is_forbidden=True)
    return going if is_retired else replace(going, obstacle="it is in use, or has just been used")


def retire(
    store: EnvironmentStore, build: Path, after_release: ExitStack, report: Report, *, used_until: float | None = None
) -> bool:
    """Retire a build, unless somebody uses it: no task finds it any more. The caller holds the directory's lock.

    :param store: where it stands.
    :param build: its folder, which may be gone already.
    :param after_release: deletes the build when it is closed. Until then its exclusive lease is kept.
    :param report: gets a line on what cannot be deleted.
    :param used_until: seconds since the epoch; the build stays when somebody has used it since. None: that does not
        count.
    :returns: False when the build stays.
    :raises OSError: when that is not permitted.
    """
    # A build that this user could not delete would only lose its record, and free no space.
    if os.path.lexists(build) and os.geteuid() not in (0, owner := build.lstat().st_uid):
        raise PermissionError(errno.EPERM, f"it belongs to user id {owner}: only that user or root may remove it")
    lease = Lease.exclusive(build)
    if lease is None:
        return False
    with ExitStack() as unless_retired:
        unless_retired.callback(lease.close)
        if used_until is not None and lease.last_use > used_until:
            return False
        _withdraw(store, build)
        unless_retired.pop_all()
    after_release.callback(_delete, build, lease, report)
    return True


def retire_damaged(
    store: EnvironmentStore, build: Path, *, max_tries: int, cancellation: Cancellation, report: Report
) -> None:
    """Withdraw the record of a damaged build, so that the next task builds anew. Tasks that use the build keep it.

    :param store: where it stands.
    :param build: its folder. Nothing is done where another task has withdrawn the record, or another build is ready.
    :param max_tries: seconds to wait for a builder that makes no progress.
    :param cancellation: ends the wait.
    :param report: gets lines on the wait.
    :raises VirtualenvLockTimeout: when a builder holds the lock for too long.
    :raises VirtualenvError: when the record cannot be removed.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    with store.errors_name_the_directory():
        record = store.published(digest_of(build))
        if record is None or record.build != build.name:
            return
        lock = VirtualenvLock(store.directory)
        # Under the lock: else the record of a newer build might be removed that is published at this instant.
        with lock.acquire(max_tries=max_tries, cancellation=cancellation, report=report):
            _withdraw(store, build)


def sweep(store: EnvironmentStore, after_release: ExitStack, report: Report) -> None:
    """Remove the leftovers of dead builders and pruners. A leftover that cannot be removed stays, with a line.

    A build in use stays: its killed installer has not ended yet, or tasks still run in a build that was replaced. The
    caller holds the directory's lock.

    :param store: a store whose directories exist.
    :param after_release: deletes builds when it is closed.
    :param report: gets the lines.
    """
    for build in unpublished(store):
        with reporting_failed_removal(build, report):
            retire(store, build, after_release, report)
    for left in _left_apart(store, report):
        with reporting_failed_removal(left, report):
            own_files.remove_temporary(left)
    for work in detached_works_in(store.root / DETACHED):
        with reporting_failed_removal(work.claim_file, report):
            work.sweep()


def unpublished(store: EnvironmentStore) -> list[Path]:
    """Return the builds that no record names: of each a folder, a lease, or both.

    :param store: a store whose directories exist.
    :raises OSError: when the store cannot be read.
    """
    names = store.names()
    records = (store.published(name) for name, endings in names.items() if ".json" in endings)
    named = {record.build for record in records if record is not None}
    return [store.root / name for name in sorted(names) if "-" in name and name not in named]


@contextmanager
def reporting_failed_removal(left: Path, report: Report) -> Iterator[None]:
    """Go on after this block when something cannot be removed, such as another user's file: it stays, with a line.

    :param left: what was to be removed, for the line.
    :param report: gets the line.
    """
    try:
        yield
    except (OSError, VirtualenvError, CosmosValueError) as error:
        report(f"{left} is left over and cannot be removed: {error}.")


def _stored(store: EnvironmentStore, build: Path, record: BuildRecord | None) -> StoredBuild:
    # Only where the folder exists: a builder that has not made it yet may be taking its lease at this instant.
    in_use = is_in_use(build) if build.is_dir() else False
    record_file = store.record_file(digest_of(build))
    state: BuildState = "leftover"
    if record is not None and record.build == build.name:
        state = "ready"
    elif in_use:
        # The modification time of a folder is about the time at which its build began.
        began, was_published = _last_use(build), _last_use(record_file)
        state = "old" if began and was_published and began < was_published else "building"
    is_ready = state == "ready"
    return StoredBuild(
        name=build.name,
        path=build,
        state=state,
        is_in_use=in_use,
        last_used=_last_use(lease_path(build), *([record_file] if is_ready else []), build),
        record=record if is_ready else None,
        may_be_open=store.may_be_open,
    )


def _last_use(*paths: Path) -> float | None:
    """Return the modification time of the first path that exists."""
    for path in paths:
        with suppress(OSError):
            return path.lstat().st_mtime
    return None


def _bytes_on_disk(folder: Path) -> int:
    """Return the bytes on disk of a directory and all below it, as far as this user may look, and nothing vanishes."""
    total = 0
    for here, folders, files in os.walk(folder):
        for name in (".", *files, *(each for each in folders if os.path.islink(f"{here}/{each}"))):  # noqa: PTH114
            with suppress(OSError):
                total += os.lstat(f"{here}/{name}").st_blocks * _BLOCK
    return total


def _trusted_inventory(store: EnvironmentStore) -> list[StoredBuild]:
    with store.errors_name_the_directory():
        store.refuse_untrusted()  # builds to delete are found by their names in this directory
    return read_inventory(store)


def _last_used(stored: StoredBuild) -> float:
    return stored.last_used or 0.0


def _withdraw(store: EnvironmentStore, build: Path) -> None:
    """Unlink the record that names a build: no task finds the build any more. Tasks that use the build keep it.

    A record that names another build stays.
    """
    record = store.published(digest_of(build))
    if record is not None and record.build == build.name:
        store.record_file(record.digest).unlink(missing_ok=True)


def _delete(build: Path, lease: Lease, report: Report) -> None:
    """Delete the folder of a retired build, and its lease. What cannot be deleted is left to the next sweep."""
    with closing(lease), reporting_failed_removal(build, report):
        if os.path.lexists(build):
            shutil.rmtree(build)
        lease_path(build).unlink(missing_ok=True)


def _left_apart(store: EnvironmentStore, report: Report) -> Iterator[Path]:
    yield from store.directory.glob(f".{LOCK_FILENAME}.*")
    for folder in (store.root, store.directory / "bin"):
        with reporting_failed_removal(folder, report):  # a bin may be another user's, mode 0700
            yield from own_files.abandoned(folder, seconds=0)
