"""Taking builds out of sight and deleting them, and sweeping the remains of dead builders.

- A build goes in steps, any of which may be the last before a kill: the link goes first, then the build gets the name
  of rubbish, then its record and its lease go. The next builder finds the rest.
- The caller of ``retire``, ``sweep`` or ``sweep_links`` holds the directory's lock: no living builder
  is at work then.
- ``delete`` takes its time and needs no lock: nobody should wait for it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.environments.layout import (
    LOCK_FILENAME,
    StoreLayout,
    builders_of,
    failure_file,
    published_names,
    rubbish_path,
    unpublished,
)
from cosmos_venv.environments.maintenance import launchers
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import durable_files
from cosmos_venv.files.filesystem_check import TRIAL_PREFIX
from cosmos_venv.processes.lease import Lease, lease_path

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

Report = Callable[[str], None]


def protect(build: Path) -> None:
    """Take the write permission from every directory of a build; files keep theirs.

    :param build: its directory.
    :raises OSError: when a permission cannot be changed.
    """
    for folder in _folders(build):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_WRITE_BITS)


def remove(build: Path) -> None:
    """Delete a directory and all below it, whatever permissions its directories have; a file or link as well.

    Other processes may be doing the same.

    :param build: the directory, which may be gone.
    :raises OSError: when something in it cannot be deleted.
    """
    while os.path.lexists(build):
        try:
            # A directory opens itself before it is listed: top-down.
            for folder in _folders(build):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)
            if build.is_symlink() or not build.is_dir():
                build.unlink()
            else:
                shutil.rmtree(build)
        except FileNotFoundError:
            continue  # somebody else was faster with that one; each turn leaves less


def _folders(build: Path) -> Iterator[Path]:
    if build.is_symlink() or not build.is_dir():
        return
    yield build
    for folder, names, _ in os.walk(build):
        for path in (f"{folder}/{name}" for name in names):
            if not os.path.islink(path):  # noqa: PTH114 - hundreds of them
                yield Path(path)


def retire(store: StoreLayout, build: Path, *, used_until: float | None = None) -> str:
    """Take a build out of everybody's sight, unless somebody uses it. The rest is for ``delete``.

    :param store: where it stands.
    :param build: its directory, which may be gone already.
    :param used_until: seconds since the epoch; the build stays when somebody has used it since. None: that does not
        count.
    :returns: why it stays; empty when it is out of sight.
    :raises OSError: when a step is not permitted.
    """
    lease = Lease.exclusive(build)
    if lease is None:
        return "it is in use"
    try:
        # Another process may have removed this lease meanwhile; a new build may have the name now.
        if not lease.is_of(build):
            return "it is in use"
        if used_until is not None and lease.last_use > used_until:
            return "it has just been used"
        digest = build.name.partition("-")[0]
        if store.published(digest) == build:
            store.link(digest).unlink()
        # In the same folder: to another one an ordinary user may not move what he may not write to.
        if os.path.lexists(build):
            build.rename(rubbish_path(build))
        store.record_file(build).unlink(missing_ok=True)
        failure_file(build).unlink(missing_ok=True)
        lease_path(build).unlink(missing_ok=True)
    finally:
        lease.close()
    return ""


def delete(build: Path) -> None:
    """Delete what ``retire`` has left. Other processes may be doing the same.

    :param build: the name that the build had.
    :raises OSError: when something in it cannot be deleted.
    """
    remove(rubbish_path(build))


def sweep_links(store: StoreLayout, report: Report) -> None:
    """Remove half-made links, lock files and commands of dead processes, and messages of builders that are weeks old.

    One that cannot be removed stays, with a line.

    :param store: a store whose root exists.
    :param report: gets the lines.
    """
    links = (entry for entry in store.root.glob(".*") if entry.is_symlink())
    for left in [*links, *store.directory.glob(f".{LOCK_FILENAME}.*")]:
        with reporting_failed_removal(left, report):
            left.unlink()
    for half in [*_half_made(store.directory, report), *_half_made(store.directory / "bin", report)]:
        with reporting_failed_removal(half, report):
            half.unlink()
    for builder in builders_of(store):
        with reporting_failed_removal(builder.claim_file, report):
            builder.sweep()
    for trial in store.directory.glob(f"{TRIAL_PREFIX}*"):
        with reporting_failed_removal(trial, report):
            remove(trial)


def _half_made(directory: Path, report: Report) -> list[Path]:
    try:
        return durable_files.abandoned(directory, seconds=0)
    except OSError as error:
        # A bin may be another user's, mode 0700. It is for people at a terminal, so no build fails for it.
        report(f"{directory} keeps what killed builders left there: {error}.")
        return []


def mend_launchers(store: StoreLayout, report: Report) -> None:
    """Let the commands in ``bin`` lead to an environment that is there; the newest is preferred.

    :param store: a store whose root exists.
    :param report: gets a line where they cannot be written.
    """
    directory = store.directory / "bin"
    try:
        builds = {store.link(digest): store.builds / name for digest, name in published_names(store).items()}
        newest_first = sorted(builds, key=lambda link: link.lstat().st_mtime_ns, reverse=True)
        launchers.mend_launchers(directory, {link: builds[link] for link in newest_first})
    except OSError as error:
        report(f"{directory} keeps commands of environments that are gone: {error}.")


def sweep(store: StoreLayout, report: Report) -> list[Path]:
    """Take all remains of dead builders and pruners out of sight. One that cannot be removed stays, with a line.

    :param store: a store whose directories exist.
    :param report: gets the lines.
    :returns: builds of which something is left for ``delete``.
    """
    sweep_links(store, report)
    retired: list[Path] = []
    for build in unpublished(store):
        with reporting_failed_removal(build, report):
            retired += retire_unused(store, build)
    return retired


def retire_unused(store: StoreLayout, build: Path) -> list[Path]:
    """Retire a build unless something runs in it: an installer that is still dying, a task of an old generation.

    :param store: where it stands.
    :param build: its directory.
    :returns: what is left for ``delete``: the build, or nothing.
    :raises OSError: when it is another user's, or a step is not permitted.
    """
    owner = owner_of(build)
    if os.geteuid() not in (0, owner) and owner is not None:
        # Out of sight it would help nobody: its files could not be deleted.
        raise PermissionError(f"it belongs to user id {owner}")
    return [] if retire(store, build) else [build]


def owner_of(build: Path) -> int | None:
    """Return the user id of what stands at a path; None when nothing does.

    :param build: the path.
    """
    try:
        return build.lstat().st_uid
    except OSError:
        return None


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
