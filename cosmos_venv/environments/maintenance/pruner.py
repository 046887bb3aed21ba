"""The choice of builds that go, and their removal: never one in use, never one that a task is about to use.

A build is retired under the lock of its directory and under its own exclusive lease; it is deleted without the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance.inventory import StoredBuild, read_inventory, select
from cosmos_venv.environments.retiring import Report, delete, retire, sweep
from cosmos_venv.environments.store import DAY, EnvironmentStore, PruneLimits
from cosmos_venv.processes.cancellation import Cancellation

_UNREACHABLE = {
    "old": "a later build is ready",
    "leftover": "it was left by a process that has ended",
}


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
    """Remove what is to go. Tasks go on meanwhile; builders wait while it is decided.

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
    with store.naming_the_directory(), ExitStack() as after_release:
        lock = VirtualenvLock(store.directory)
        with lock.acquire(max_tries=max_tries, cancellation=cancellation, report=report):
            # Looked at once more: while this process waited for the lock, tasks may have begun to use what it had
            # chosen.
            removals = [retire_chosen(store, each, after_release, report) for each in look()]
            for build, lease in sweep(store, report):
                after_release.callback(delete, build, lease, report)
        return removals


def surplus(store: EnvironmentStore, limits: PruneLimits, *, now: float) -> list[Removal]:
    """Return what is more than the limits allow. Nothing is written.

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
    """Return what is more than the limits allow: first what nobody can find any more, then what was used longest ago.

    :param builds: all of a store.
    :param limits: of what it may hold.
    :param now: seconds since the epoch.
    """
    going = [Removal(stored=each, reason=_UNREACHABLE[each.state]) for each in builds if _is_unreachable(each)]
    found = sorted((each for each in builds if not _is_unreachable(each)), key=_last_used)
    count = sum(each.state == "ready" for each in found)
    size = sum(each.bytes_on_disk for each in found) if limits.max_bytes else 0
    for each in found:
        age = now - _last_used(each)
        if each.state != "ready" or each.is_in_use or age < limits.min_age:
            continue
        if limits.max_age and age > limits.max_age:
            reason = f"it was last used {age / DAY:.0f} days ago"
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
    """Take a build that is to go out of everybody's sight. The caller holds the directory's lock.

    :param store: the directory.
    :param going: of ``surplus`` or ``named``.
    :param after_release: deletes the build when it is closed, which needs no lock: builders must not wait for 20,000
        files to be unlinked.
    :param report: gets a line on what cannot be deleted.
    :returns: the removal, with what became an obstacle.
    """
    stored = going.stored
    if going.obstacle:
        return going
    try:
        lease = retire(store, stored.path, used_until=stored.last_used if stored.state == "ready" else None)
    except OSError as error:
        return replace(going, obstacle=str(error.strerror or error), is_forbidden=True)
    if lease is None:
        return replace(going, obstacle="it is in use, or has just been used")
    after_release.callback(delete, stored.path, lease, report)
    return going


def _trusted_inventory(store: EnvironmentStore) -> list[StoredBuild]:
    with store.naming_the_directory():
        store.judge()  # what is deleted is found by names in there
    return read_inventory(store)


def _is_unreachable(stored: StoredBuild) -> bool:
    return stored.state in _UNREACHABLE and not stored.is_in_use


def _last_used(stored: StoredBuild) -> float:
    return stored.last_used or 0.0
