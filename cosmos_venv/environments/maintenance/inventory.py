"""The builds of a store, each with its record, its last use and its state, and the check that it is still whole.

Nothing is written.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from cosmos_venv.environments import post_install
from cosmos_venv.environments.environment import BuildRecord, Environment, read_record
from cosmos_venv.environments.installers.libraries import library_faults
from cosmos_venv.environments.layout import (
    BUILD_NAME,
    StoreLayout,
    build_names,
    published_names,
    rubbish_path,
)
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.files.durable_files import age
from cosmos_venv.files.permissions import judge, writable_by_others
from cosmos_venv.processes.guarded_process import run_guarded
from cosmos_venv.processes.lease import Lease, is_in_use, lease_path

# ready: published; old: a later generation is; building: a builder is at work; leftover: of one that has ended, or of
# a removal that was cut short; failed: kept because that was asked for.
BuildState = Literal["ready", "old", "building", "leftover"]

_BLOCK = 512  # what st_blocks counts, whatever the file system's own blocks are


@dataclass(frozen=True, kw_only=True)
class StoredBuild:
    """One build, as one look saw it.

    :param name: ``<digest>-<generation>``.
    :param path: its directory, which may be gone.
    :param state: what has become of it.
    :param is_in_use: whether a process has its lease; None when this process cannot know.
    :param last_used: seconds since the epoch: when a task last took its lease (to the minute), or it was built.
    :param record: None when there is none that can be read; ``record_fault`` says why.
    :param record_fault: a clause; empty where there is nothing to say.
    """

    name: str
    path: Path
    state: BuildState
    is_in_use: bool | None
    last_used: float | None
    record: BuildRecord | None
    record_fault: str = ""

    @property
    def digest(self) -> str:
        """The digest of its spec, 64 hexadecimal digits."""
        return self.name.partition("-")[0]

    @property
    def generation(self) -> int:
        """The number of the build among those of its digest, from 1."""
        return int(self.name.partition("-")[2])

    @property
    def is_whole(self) -> bool:
        """Whether it was finished, so that it can be held against its record."""
        return self.state in ("ready", "old")

    @property
    def engine(self) -> str:
        """The kind of its dbt, by its record: ``python`` or ``native``; empty where there is none that says so."""
        return self.record.provides.get("engine", "") if self.record else ""

    @cached_property
    def bytes_on_disk(self) -> int:
        """Bytes on disk of its files and directories."""
        return _bytes_on_disk(self.path) + _bytes_on_disk(rubbish_path(self.path))


def read_inventory(store: StoreLayout) -> list[StoredBuild]:
    """Return all builds of a store, by digest and generation; none when nothing was ever built there.

    :param store: the directory that is looked at.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file, or is not there.
    """
    with store.naming_the_directory():
        if not os.path.lexists(store.directory):
            raise CosmosValueError(f"virtualenv_dir: there is no directory {store.directory}. Give the path of one.")
        try:
            names, published = build_names(store), published_names(store)
        except FileNotFoundError:
            return []
        endings = {**{name: set[str]() for name in published.values()}, **names}
        found = [_stored(store, name, left, published) for name, left in endings.items()]
    return sorted(found, key=lambda each: (each.digest, each.generation, each.state))


def select(builds: Iterable[StoredBuild], text: str) -> list[StoredBuild]:
    """Return the builds of one digest, or one generation of it.

    :param builds: those among which is chosen.
    :param text: a digest, the first characters of one, or ``<digest>-<generation>``.
    :raises CosmosValueError: when it fits none, or several digests.
    """
    digest, _, generation = text.partition("-")
    fitting = [each for each in builds if each.digest.startswith(digest) and generation in ("", str(each.generation))]
    digests = sorted({each.digest for each in fitting})
    if text and len(digests) == 1:
        return fitting
    if not digests or not text:
        raise CosmosValueError(f"DIGEST {text!r} fits no environment of this directory: see cosmos-venv env list.")
    raise CosmosValueError(
        f"DIGEST {text!r} fits {', '.join(each[:12] for each in digests)}: give more characters of one."
    )


def _stored(store: StoreLayout, name: str, endings: set[str], published: Mapping[str, str]) -> StoredBuild:
    build = store.builds / name
    # Only of a directory: a builder that has not yet made its own may be taking its lease at this instant.
    in_use = is_in_use(build) if "" in endings else False
    state = _state(name, endings, published, in_use)
    record, fault = _record(store.record_file(build)) if state in ("ready", "old") else (None, "")
    return StoredBuild(
        name=name,
        path=build,
        state=state,
        is_in_use=in_use,
        last_used=_last_use(lease_path(build), store.record_file(build), build),
        record=record,
        record_fault=fault,
    )


def _state(name: str, endings: set[str], published: Mapping[str, str], in_use: bool | None) -> BuildState:
    match = BUILD_NAME.fullmatch(name)
    assert match is not None  # noqa: S101 - all names come of this pattern
    current = published.get(match["digest"], "")
    if "" not in endings:
        return "leftover"
    if current == name:
        return "ready"
    if current and int(current.partition("-")[2]) > int(match["number"]):
        return "old"
    return "building" if in_use else "leftover"


def _record(file: Path) -> tuple[BuildRecord | None, str]:
    try:
        return read_record(file), ""
    except FileNotFoundError:
        return None, "there is no record"
    except OSError as error:
        return None, f"the record cannot be read ({error.strerror})"
    except ValueError as error:
        return None, f"the record is damaged ({error})"


def _last_use(*paths: Path) -> float | None:
    """Return when the first path that is there was written, unless that lies in a future that no clock explains."""
    for path in paths:
        try:
            modified = path.lstat().st_mtime
        except OSError:
            continue
        if math.isfinite(age(modified)):
            return modified
    return None


def _bytes_on_disk(place: Path) -> int:
    """Return the bytes on disk of a file, or of a directory and all below it.

    What cannot be looked at counts nothing: a build may vanish meanwhile, and somebody else's be closed to us.
    """
    total = 0
    try:
        total = place.lstat().st_blocks * _BLOCK
        if not place.is_symlink() and place.is_dir():
            for name in os.listdir(place):  # noqa: PTH208 - a path per file costs as much as looking at it
                total += _bytes_on_disk(place / name)
    except OSError:
        pass
    return total


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The answer of ``verify``.

    :param faults: what is wrong, one clause each; empty when the build is as it was made.
    :param has_run: whether the check was run that was asked for.
    """

    faults: list[str]
    has_run: bool = False


def verify(stored: StoredBuild, *, check: str | None = None, content: bool = False) -> Verified:
    """Hold a build against its record, and let its own Python run a check.

    The build is in use for as long as that takes, and counts as no more used than before. A build that another user
    than this one and root could have written to is not run, and its interpreter is not asked for its version.

    :param stored: the build.
    :param check: Python source, which ends with an error where something does not work; None: nothing is run.
    :param content: whether each file is read: installed ones are compared with their hashes, byte code is tried.
    :raises VirtualenvError: when this process may open no more files.
    """
    with kept(stored.path) as is_kept:
        if not is_kept or not stored.path.is_dir():
            return Verified(faults=["it has been removed"])
        try:
            faults = [
                *_record_faults(stored),
                *file_faults(stored.path, content=content),
                *_library_faults(stored.path, stored.record, content=content),
                *_open_to_others(stored.path),
            ]
        except (OSError, ValueError) as error:
            _refuse_shortage(error)
            return Verified(faults=[f"it cannot be read: {error}"])
        if check is None or not _may_be_run(stored.path):
            return Verified(faults=faults)
        return Verified(faults=[*faults, *_check_faults(stored.path, check)], has_run=True)


def damage(environment: Environment, *, content: bool) -> list[str]:
    """Return what an environment in use has lost since it was built, one clause each; empty when nothing.

    :param environment: the caller's, so nobody removes it meanwhile.
    :param content: whether its files are read too, where nothing else is found.
    :raises OSError: when this process may open no more files.
    """
    try:
        record = read_record(environment.record_file)
    except (OSError, ValueError):
        record = None  # of no use for a command of its
    found = [] if record is None else [*_pin_faults(record.pins, post_install.pins_in(environment.path))]
    found += [*file_faults(environment.path, content=False), *_library_faults(environment.path, record, content=False)]
    if content and not found:
        found = [*file_faults(environment.path, content=True), *_library_faults(environment.path, record, content=True)]
    return found


def file_faults(build: Path, *, content: bool) -> list[str]:
    """Return what is missing or changed of a build's files, one clause each.

    :param build: its directory.
    :param content: as for ``verify``.
    :raises OSError: when this process may open no more files.
    """
    found = [*_link_faults(build), *post_install.faults(build, content=content)]
    if content and _may_be_run(build):
        found += _byte_code_faults(build)
    return found


def _library_faults(build: Path, record: BuildRecord | None, *, content: bool) -> Iterator[str]:
    if record is not None:
        yield from library_faults(build, record.libraries, record.spec.libraries, content=content)


def _link_faults(build: Path) -> Iterator[str]:
    """Give links that lead nowhere, and what is wrong with ``pyvenv.cfg``; the interpreter is looked at elsewhere."""
    has_python = (build / "bin" / "python").exists()
    for path in sorted([*build.glob("bin/*"), *build.glob("lib*")]):
        if path.is_symlink() and not path.exists() and (has_python or not path.name.startswith("python")):
            yield f"{path.relative_to(build)} leads to {path.readlink()}, which is missing"
    config = build / "pyvenv.cfg"
    if not config.is_file():
        yield f"{config.name} is missing"
    elif not config.stat().st_size:
        yield f"{config.name} is empty"


def _open_to_others(build: Path) -> Iterator[str]:
    """Give what others can write in a build. All of it is judged before it is published; later only here."""
    try:
        judge(build.parent)
    except (VirtualenvError, OSError):
        return  # the directory is not used at all, and said to be so
    for path, _, reason in writable_by_others(build):
        # uv lets everybody lock what it installs into; nothing reads that file. 0.1.0 published it so.
        if path != build / ".lock":
            yield f"{path.relative_to(build)}: {reason}"


def _byte_code_faults(build: Path) -> list[str]:
    python = build / "bin" / "python"
    folders = map(str, post_install.site_packages(build))
    try:
        done = run_guarded([str(python), "-I", "-S", "-B", "-c", post_install.CHECK, *folders], cwd="/")
    except OSError as error:
        _refuse_shortage(error)
        return []  # told already
    return done.lines if done.returncode == 0 else []


def _refuse_shortage(error: Exception) -> None:
    """Raise where this process may open no more files: that is no fault of the build."""
    if isinstance(error, OSError) and (words := os_errors.shortage(error)):
        raise VirtualenvError(words) from error


def _may_be_run(build: Path) -> bool:
    try:
        # Its own Python would run with the rights of the caller, and with what others have put into site-packages.
        judge(build.parent, build, build / "bin" / "python")
    except (VirtualenvError, OSError):
        return False
    return True


def _check_faults(build: Path, check: str) -> Iterator[str]:
    python = build / "bin" / "python"
    if not python.exists():
        return  # told already
    try:
        # It may not write byte code: who verifies changes nothing.
        done = run_guarded([str(python), "-I", "-B", "-c", check], cwd="/")
    except OSError as error:
        _refuse_shortage(error)
        yield f"its Python cannot be started: {error}"
        return
    if done.returncode:
        yield f"it does not work: {done.lines[-1] if done.lines else f'exit code {done.returncode}'}"


def _record_faults(stored: StoredBuild) -> Iterator[str]:
    record = stored.record
    if record is None:
        yield stored.record_fault
        return
    if record.digest != stored.digest:
        yield f"the record is of another environment, {record.digest}"
    yield from _interpreter_faults(stored.path, record)
    yield from _pin_faults(record.pins, post_install.pins_in(stored.path))


def _interpreter_faults(build: Path, record: BuildRecord) -> Iterator[str]:
    python = build / "bin" / "python"
    # The real one, outside of the environment: no .pth file of what is installed takes part.
    real = Path(os.path.realpath(python))
    if not real.exists():
        yield f"its interpreter is gone: bin/python leads to {real}"
        return
    try:
        judge(real)
    except VirtualenvError:
        return  # no fault of the build, but nothing that this user should run
    try:
        actual = Interpreter.of(str(real), parameter="")
    except CosmosValueError as error:
        yield f"its interpreter, {real}, does not answer: {error}"
        return
    expected = record.spec.interpreter
    if (actual.implementation, actual.version) != (expected.implementation, expected.version):
        yield (
            f"its interpreter is now {actual.implementation} {actual.version} "
            f"instead of {expected.implementation} {expected.version}"
        )


def _pin_faults(recorded: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*recorded, *installed}):
        before, now = recorded.get(name), installed.get(name)
        if before != now:
            yield f"{name} is {now or 'not installed'} instead of {before or 'absent'}"


@contextmanager
def kept(build: Path) -> Iterator[bool]:
    """Keep anybody from removing a build within this block, which counts as no use of it.

    :param build: its directory.
    :returns: False when somebody removes it just now, or has done so.
    """
    try:
        lease = Lease.for_reading(build)
    except OSError as error:
        # Without its file, or on a mount without locks, it is looked at as it is.
        yield error.errno != errno.ENOENT or build.is_dir()
        return
    try:
        yield lease is not None
    finally:
        if lease is not None:
            lease.close()
