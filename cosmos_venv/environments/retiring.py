"""Taking builds out of sight and deleting them, and sweeping the remains of dead builders.

A build is retired under its exclusive lease, which is kept until the folder is deleted. A kill between the two leaves a
folder that no record names, which the next builder deletes. The caller of ``retire`` and ``sweep`` holds the lock of
the directory; ``delete`` needs no lock, since nobody should wait for it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from cosmos_venv.environments.lock import LOCK_FILENAME, VirtualenvLock
from cosmos_venv.environments.store import DETACHED, EnvironmentStore, digest_of
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import durable_files
from cosmos_venv.files.filesystem_check import TRIAL_PREFIX
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.detached_process import works_in
from cosmos_venv.processes.lease import Lease, lease_path

Report = Callable[[str], None]


def retire(store: EnvironmentStore, build: Path, *, used_until: float | None = None) -> Lease | None:
    """Take a build out of everybody's sight, unless somebody uses it.

    :param store: where it stands.
    :param build: its folder, which may be gone already.
    :param used_until: seconds since the epoch; the build stays when somebody has used it since. None: that does not
        count.
    :returns: the exclusive lease, for ``delete``; None when the build stays.
    :raises OSError: when that is not permitted.
    """
    refuse_another_users(build)
    lease = Lease.exclusive(build)
    if lease is None:
        return None
    with ExitStack() as unless_retired:
        unless_retired.callback(lease.close)
        if used_until is not None and lease.last_use > used_until:
            return None
        withdraw(store, build)
        unless_retired.pop_all()
    return lease


def withdraw(store: EnvironmentStore, build: Path) -> None:
    """Unlink the record that names a build: no task finds the build any more. Tasks that use it keep it.

    :param store: where it stands.
    :param build: its folder. A record that names another build stays.
    :raises OSError: when the record cannot be removed.
    """
    record = store.published(digest_of(build))
    if record is not None and record.build == build.name:
        store.record_file(record.digest).unlink(missing_ok=True)


def retire_damaged(
    store: EnvironmentStore, build: Path, *, max_tries: int, cancellation: Cancellation, report: Report
) -> None:
    """Withdraw the record of a damaged build, so that the next task builds another one. Tasks that use it keep it.

    :param store: where it stands.
    :param build: its folder. Nothing is done where another task has withdrawn the record, or another build is ready.
    :param max_tries: seconds to wait for a builder that makes no progress.
    :param cancellation: ends the wait.
    :param report: gets lines on the wait.
    :raises VirtualenvLockTimeout: when a builder holds the lock for too long.
    :raises VirtualenvError: when the record cannot be removed.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    with store.naming_the_directory():
        record = store.published(digest_of(build))
        if record is None or record.build != build.name:
            return
        lock = VirtualenvLock(store.directory)
        # Under the lock: else the record of a newer build might be removed that is published at this instant.
        with lock.acquire(max_tries=max_tries, cancellation=cancellation, report=report):
            withdraw(store, build)


def refuse_another_users(build: Path) -> None:
    """Refuse to retire a build that this user could not delete: out of sight it would help nobody.

    :param build: its folder, which may be gone.
    :raises PermissionError: when it belongs to another user, and this user is not root.
    """
    if os.path.lexists(build) and os.geteuid() not in (0, owner := build.lstat().st_uid):
        raise PermissionError(errno.EPERM, f"it belongs to user id {owner}: only that user or root may remove it")


def delete(build: Path, lease: Lease, report: Report) -> None:
    """Delete the folder of a retired build, and its lease. What cannot be deleted is left to the next sweep.

    :param build: its folder, which may be gone.
    :param lease: of ``retire``; it is closed.
    :param report: gets a line on what cannot be deleted.
    """
    with closing(lease), reporting_failed_removal(build, report):
        if os.path.lexists(build):
            shutil.rmtree(build)
        lease_path(build).unlink(missing_ok=True)


def sweep(store: EnvironmentStore, report: Report) -> list[tuple[Path, Lease]]:
    """Take the remains of dead builders and pruners away. What cannot be removed stays, with a line.

    :param store: a store whose directories exist.
    :param report: gets the lines.
    :returns: builds for ``delete``. A build in use stays: an installer that is still dying, an old generation.
    """
    retired = []
    for build in unpublished(store):
        with reporting_failed_removal(build, report):
            if lease := retire(store, build):
                retired.append((build, lease))
    for left in (*_left_apart(store, report), *store.directory.glob(f"{TRIAL_PREFIX}*")):
        with reporting_failed_removal(left, report):
            durable_files.remove_apart(left)
    for work in works_in(store.root / DETACHED):
        with reporting_failed_removal(work.claim_file, report):
            work.sweep()
    return retired


def unpublished(store: EnvironmentStore) -> list[Path]:
    """Return the builds that no record names: of each a folder, a lease, or both.

    :param store: a store whose directories exist.
    :raises OSError: when the store cannot be read.
    """
    names = store.names()
    records = (store.published(name) for name, endings in names.items() if ".json" in endings)
    named = {record.build for record in records if record is not None}
    return [store.root / name for name in sorted(names) if "-" in name and name not in named]


def _left_apart(store: EnvironmentStore, report: Report) -> Iterator[Path]:
    yield from store.directory.glob(f".{LOCK_FILENAME}.*")
    for folder in (store.root, store.directory / "bin"):
        with reporting_failed_removal(folder, report):  # a bin may be another user's, mode 0700
            yield from durable_files.abandoned(folder, seconds=0)


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
