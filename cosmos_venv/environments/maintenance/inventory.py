"""The builds of a store, each with its record, its last use and its state, and the check that it is still whole.

Nothing is written.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from cosmos_venv.environments import post_install
from cosmos_venv.environments.store import BuildRecord, Environment, EnvironmentStore, digest_of
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files.durable_files import age
from cosmos_venv.files.kernel_lock import Lease, is_in_use, lease_path
from cosmos_venv.files.permissions import judge, writable_by_others
from cosmos_venv.processes.guarded_process import run_guarded

# ready: a record names it. old: a newer build is ready, and tasks still use this one. building: a builder is at work.
# leftover: it belongs to a process that has ended.
BuildState = Literal["ready", "old", "building", "leftover"]

_BLOCK = 512  # the unit of st_blocks on every file system


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
    """Return the modification time of the first path that exists; a time more than a day ahead does not count."""
    for path in paths:
        try:
            modified = path.lstat().st_mtime
        except OSError:
            continue
        if math.isfinite(age(modified)):
            return modified
    return None


def _bytes_on_disk(folder: Path) -> int:
    """Return the bytes on disk of a directory and all below it, as far as this user may look, and nothing vanishes."""
    total = 0
    for here, folders, files in os.walk(folder):
        for name in (".", *files, *(each for each in folders if os.path.islink(f"{here}/{each}"))):  # noqa: PTH114
            with suppress(OSError):
                total += os.lstat(f"{here}/{name}").st_blocks * _BLOCK
    return total


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The answer of ``verify``.

    :param faults: what is wrong, one clause each; empty when the build is as it was made.
    :param has_run: whether the check that was asked for was run.
    """

    faults: list[str]
    has_run: bool = False


def verify(stored: StoredBuild, *, check: str | None = None, content: bool = False) -> Verified:
    """Compare a ready build with its record, and let its own Python run a check.

    The build is in use for as long as that takes, but its last use is not changed. The check does not run if a user
    other than this user and root can write to the build, or can replace its folder.

    :param stored: the build, which is ready.
    :param check: Python source, which ends with an error where something does not work; None: nothing is run.
    :param content: whether each file is read and compared with its hash.
    """
    with kept(stored.path) as is_kept:
        if not is_kept or stored.record is None or not stored.path.is_dir():
            return Verified(faults=["it has been removed"])
        try:
            # Its own Python would run with the rights of the caller, and with what others have put into site-packages.
            judge(stored.path.parent, stored.path, is_open_allowed=stored.may_be_open)
            faults = _faults(stored.path, stored.record, content=content)
            found = () if stored.may_be_open else writable_by_others(stored.path)
            open_to_others = [f"{path.relative_to(stored.path)}: {reason}" for path, _, reason in found]
        except (VirtualenvError, OSError, ValueError) as error:
            return Verified(faults=[f"it cannot be used: {error}"])
        faults += open_to_others
        if check is None or open_to_others:
            return Verified(faults=faults)
        return Verified(faults=[*faults, *_check_faults(stored.path, check)], has_run=True)


def damage(environment: Environment, *, content: bool) -> list[str]:
    """Return what an environment in use has lost since it was built, one clause each; empty when nothing.

    :param environment: the caller's, so nobody removes it meanwhile.
    :param content: whether its files are read too, where nothing else is found.
    :raises OSError: when this process may open no more files.
    """
    found = _faults(environment.path, environment.record, content=False)
    return found or (_faults(environment.path, environment.record, content=True) if content else [])


def _faults(build: Path, record: BuildRecord, *, content: bool) -> list[str]:
    """Return what is missing or changed of a build, one clause each."""
    return [
        *_pin_faults(record.pins, post_install.pins_in(build)),
        *_link_faults(build),
        *post_install.file_faults(build, content=content),
        *post_install.library_faults(build, record.libraries, content=content),
    ]


def _link_faults(build: Path) -> Iterator[str]:
    """Yield the dangling links, such as that to the interpreter, and the fault of ``pyvenv.cfg``."""
    for path in sorted([*build.glob("bin/*"), *build.glob("lib*")]):
        if path.is_symlink() and not path.exists():
            yield f"{path.relative_to(build)} leads to {path.readlink()}, which is missing"
    config = build / "pyvenv.cfg"
    if not config.is_file() or not config.stat().st_size:
        yield f"{config.name} is missing or empty"


def _check_faults(build: Path, check: str) -> Iterator[str]:
    python = build / "bin" / "python"
    if not python.exists():
        return  # _link_faults reports it
    try:
        # -B: a check must not write byte code, as verifying changes nothing.
        done = run_guarded([str(python), "-I", "-B", "-c", check], cwd="/")
    except OSError as error:
        yield f"its Python cannot be started: {error}"
        return
    if done.returncode:
        yield f"it does not work: {done.lines[-1] if done.lines else f'exit code {done.returncode}'}"


def _pin_faults(recorded: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*recorded, *installed}):
        before, now = recorded.get(name), installed.get(name)
        if before != now:
            yield f"{name} is {now or 'not installed'} instead of {before or 'absent'}"


@contextmanager
def kept(build: Path) -> Iterator[bool]:
    """Keep anybody from removing a build within this block. This is not noted as a use of the build.

    :param build: its directory.
    :returns: False when the build is being removed, or is gone.
    """
    try:
        lease = Lease.shared(build, make=False)
    except OSError as error:
        # Without a lease file, or on a mount without locks, the build is looked at unprotected.
        yield error.errno != errno.ENOENT or build.is_dir()
        return
    with nullcontext() if lease is None else closing(lease):
        yield lease is not None
