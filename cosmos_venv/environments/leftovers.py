"""What no link of a store leads to, and how it goes: out of sight in steps that a kill may part, then deleted.

Whoever calls ``retire``, ``sweep``, ``sweep_links`` or ``keep_failed`` holds the directory's lock: no living builder is
at work then. ``delete`` takes its time, and is for afterwards: nobody should wait for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv import own_files
from cosmos_venv.environments import launchers, removal
from cosmos_venv.environments.detached import builders_of
from cosmos_venv.environments.fitness import TRIAL_PREFIX
from cosmos_venv.environments.lock_files import LOCK_FILENAME
from cosmos_venv.environments.put_off import failure_file
from cosmos_venv.environments.store import BUILD_NAME, EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.lease import Lease, lease_path

Report = Callable[[str], None]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEPT = {".failed", ".failed.log"}
_ENDINGS = {"", ".lease", ".json", ".rubbish", ".upgrade-failed", *_KEPT}


def rubbish_path(build: Path) -> Path:
    """What a build is called from when nobody can find it any more until it is deleted."""
    return build.with_name(f"{build.name}.rubbish")


def failed_path(build: Path) -> Path:
    """What a build that failed is called while it is kept."""
    return build.with_name(f"{build.name}.failed")


def failed_log(build: Path) -> Path:
    """What was said while it failed."""
    return build.with_name(f"{build.name}.failed.log")


def build_names(store: EnvironmentStore) -> dict[str, set[str]]:
    """Names of all builds of which anything is left, each with the endings of what is left: ``""``, ``.lease``, …"""
    names: dict[str, set[str]] = {}
    for entry in store.builds.iterdir():
        match = BUILD_NAME.match(entry.name)
        ending = entry.name[match.end() :] if match else None
        if match and ending in _ENDINGS:
            names.setdefault(match.group(), set()).add(ending)
    return names


def published_names(store: EnvironmentStore) -> dict[str, str]:
    """Of each digest that has a link, the name of the build it leads to."""
    links = (entry for entry in store.root.iterdir() if _DIGEST.fullmatch(entry.name) and entry.is_symlink())
    builds = {link.name: store.published(link.name) for link in links}
    return {digest: build.name for digest, build in builds.items() if build is not None}


def unpublished(store: EnvironmentStore) -> list[Path]:
    """Builds that no link leads to, without those that are kept because they failed."""
    names = {name for name, endings in build_names(store).items() if endings - _KEPT}
    return [store.builds / name for name in sorted(names - set(published_names(store).values()))]


def retire(store: EnvironmentStore, build: Path, *, used_until: float | None = None) -> str:
    """Take a build out of everybody's sight, unless somebody uses it. What is left is for ``delete``.

    :param used_until: go on only when nobody has used it since.
    :returns: why it stays; empty when it is out of sight.
    :raises OSError: when a step is not permitted.
    """
    lease = Lease.exclusive(build)
    if lease is None:
        return "it is in use"
    try:
        # Who was faster has unlinked the file that is locked here; what stands there now may be another build.
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
        own_files.remove(store.record_file(build))
        own_files.remove(failure_file(build))
        lease_path(build).unlink(missing_ok=True)
    finally:
        lease.close()
    return ""


def delete(build: Path) -> None:
    """Delete what ``retire`` has left. Others may be doing the same.

    :raises OSError: when something in it cannot be deleted.
    """
    removal.remove(rubbish_path(build))


def keep_failed(store: EnvironmentStore, build: Path, lines: Iterable[str]) -> list[Path]:
    """Keep a build that failed, and what was said, in place of the one of the same digest that failed before.

    :returns: what is left for ``delete``.
    """
    digest = build.name.partition("-")[0]
    names = [name for name, endings in build_names(store).items() if endings & _KEPT and name.startswith(digest)]
    earlier = [store.builds / name for name in names]
    for each in earlier:
        _retire_failed(each)
    own_files.write_anew(failed_log(build), "".join(f"{line}\n" for line in lines))
    if not retire(store, build) and rubbish_path(build).exists():
        rubbish_path(build).rename(failed_path(build))
    return earlier


def _retire_failed(build: Path) -> None:
    if os.path.lexists(failed_path(build)):
        failed_path(build).rename(rubbish_path(build))
    own_files.remove(failed_log(build))


def delete_failed(build: Path) -> None:
    """Delete what was kept of a build that failed.

    :raises OSError: when something in it cannot be deleted.
    """
    removal.remove(failed_path(build))
    # Last: while it is there, what is left of the directory is found again.
    own_files.remove(failed_log(build))


def sweep_links(store: EnvironmentStore, report: Report) -> None:
    """Remove half-made links, lock files and commands of dead processes, and what builders said weeks ago.

    What cannot be removed stays, with a line.
    """
    links = (entry for entry in store.root.glob(".*") if entry.is_symlink())
    for left in [*links, *store.directory.glob(f".{LOCK_FILENAME}.*")]:
        with going_on(left, report):
            left.unlink()
    for half in launchers.half_written(store.directory / "bin"):
        with going_on(half, report):
            half.unlink()
    for builder in builders_of(store):
        with going_on(builder.claim_file, report):
            builder.sweep()
    for trial in store.directory.glob(f"{TRIAL_PREFIX}*"):
        with going_on(trial, report):
            removal.remove(trial)


def mend_launchers(store: EnvironmentStore, report: Report) -> None:
    """See to it that the commands in ``bin`` lead to an environment that is there; the newest is preferred."""
    directory = store.directory / "bin"
    try:
        builds = {store.link(digest): store.builds / name for digest, name in published_names(store).items()}
        newest_first = sorted(builds, key=lambda link: link.lstat().st_mtime_ns, reverse=True)
        launchers.mend_launchers(directory, {link: builds[link] for link in newest_first})
    except OSError as error:
        report(f"{directory} keeps commands of environments that are gone: {error}.")


def sweep(store: EnvironmentStore, report: Report) -> list[Path]:
    """Take all that dead builders and pruners left out of sight. What cannot be removed stays, with a line.

    :returns: what is left for ``delete``.
    """
    sweep_links(store, report)
    retired: list[Path] = []
    for build in unpublished(store):
        with going_on(build, report):
            retired += retire_unused(store, build)
    return retired


def retire_unused(store: EnvironmentStore, build: Path) -> list[Path]:
    """Retire a build unless something runs in it: an installer that is still dying, a task of an old generation.

    :returns: what is left for ``delete``: the build, or nothing.
    :raises OSError: when it is another user's, or a step is not permitted.
    """
    owner = owner_of(build)
    if os.geteuid() not in (0, owner) and owner is not None:
        # Out of sight it would help nobody: its files could not be deleted.
        raise PermissionError(f"it belongs to user id {owner}")
    return [] if retire(store, build) else [build]


def owner_of(build: Path) -> int | None:
    """User id of what stands there; None when nothing does."""
    try:
        return build.lstat().st_uid
    except OSError:
        return None


@contextmanager
def going_on(left: Path, report: Report) -> Iterator[None]:
    """What cannot be removed, such as another user's, stays with a line in the log."""
    try:
        yield
    except (OSError, VirtualenvError, CosmosValueError) as error:
        report(f"{left} is left over and cannot be removed: {error}.")
