"""What stands in a store? Every build with its record, its last use, and whether it is in use now. Writes nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cosmos_venv.environments.leftovers import build_names, failed_log, failed_path, published_names, rubbish_path
from cosmos_venv.environments.store import BUILD_NAME, EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.lease import is_in_use, lease_path
from cosmos_venv.own_files import age

if TYPE_CHECKING:
    from cosmos_venv.environments.record import BuildRecord

__all__ = ["BuildState", "StoredBuild", "bytes_of", "read_inventory", "select"]

# ready: published; old: a later generation is; building: a builder is at work; leftover: of one that has ended, or of
# a removal that was cut short; failed: kept because that was asked for.
BuildState = Literal["ready", "old", "building", "leftover", "failed"]

_BLOCK = 512  # what st_blocks counts, whatever the file system's own blocks are
_DISK_USE = Mapping[tuple[int, int], int]


@dataclass(frozen=True, kw_only=True)
class StoredBuild:
    """One build, as one look saw it.

    :param name: ``<digest>-<generation>``.
    :param path: its directory, which may be gone.
    :param is_in_use: None when this process cannot know.
    :param last_used: seconds since the epoch: when a task last took its lease (to the minute), or it was built.
    :param record: None when there is none that can be read; ``record_fault`` says why.
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
        return self.name.partition("-")[0]

    @property
    def generation(self) -> int:
        return int(self.name.partition("-")[2])

    @property
    def build(self) -> Path:
        """What the build was called when it was made."""
        return self.path.with_name(self.name)

    @property
    def is_whole(self) -> bool:
        """Whether it was finished, so that it can be held against its record."""
        return self.state in ("ready", "old")

    @cached_property
    def disk_use(self) -> _DISK_USE:
        """Bytes on disk of each file and directory, by device and inode: a file with several names counts once."""
        places = (self.path, rubbish_path(self.build)) if self.state != "failed" else (self.path,)
        return {inode: size for place in places for inode, size in _disk_use(place)}


def read_inventory(store: EnvironmentStore) -> list[StoredBuild]:
    """All builds of a store, by digest and generation; none when nothing was ever built there.

    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    """
    with store.naming_the_directory():
        if not os.path.lexists(store.directory):
            raise CosmosValueError(f"virtualenv_dir: there is no directory {store.directory}. Give the path of one.")
        try:
            names, published = build_names(store), published_names(store)
        except FileNotFoundError:
            return []
        endings = {**{name: set[str]() for name in published.values()}, **names}
        found = [each for name, left in endings.items() for each in _stored(store, name, left, published)]
    return sorted(found, key=lambda each: (each.digest, each.generation, each.state))


def select(builds: Iterable[StoredBuild], text: str) -> list[StoredBuild]:
    """The builds of one digest, or one generation of it.

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


def bytes_of(builds: Iterable[StoredBuild]) -> int:
    """Bytes on disk of builds together: what they share counts once."""
    together: dict[tuple[int, int], int] = {}
    for each in builds:
        together.update(each.disk_use)
    return sum(together.values())


def _stored(
    store: EnvironmentStore, name: str, endings: set[str], published: Mapping[str, str]
) -> Iterator[StoredBuild]:
    build = store.builds / name
    failed = endings & {".failed", ".failed.log"}
    if failed:
        last = _last_use(failed_log(build), failed_path(build))
        yield StoredBuild(
            name=name, path=failed_path(build), state="failed", is_in_use=False, last_used=last, record=None
        )
    if endings == failed and name not in published.values():
        return
    # Only of a directory: a builder that has not yet made its own may be taking its lease at this instant.
    in_use = is_in_use(build) if "" in endings else False
    state = _state(name, endings, published, in_use)
    record, fault = _record(store.record_file(build)) if state in ("ready", "old") else (None, "")
    yield StoredBuild(
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
    from cosmos_venv.environments.record import read_record

    try:
        return read_record(file), ""
    except FileNotFoundError:
        return None, "there is no record"
    except OSError as error:
        return None, f"the record cannot be read ({error.strerror})"
    except ValueError as error:
        return None, f"the record is damaged ({error})"


def _last_use(*paths: Path) -> float | None:
    """When the first of them that is there was written, unless that lies in a future that no clock explains."""
    for path in paths:
        try:
            modified = path.lstat().st_mtime
        except OSError:
            continue
        if math.isfinite(age(modified)):
            return modified
    return None


def _disk_use(place: Path) -> Iterator[tuple[tuple[int, int], int]]:
    """What cannot be looked at counts nothing: a build may vanish meanwhile, and somebody else's be closed to us."""
    try:
        status = place.lstat()
        yield (status.st_dev, status.st_ino), status.st_blocks * _BLOCK
        if not place.is_symlink() and place.is_dir():
            for name in os.listdir(place):  # noqa: PTH208 - a path per file costs as much as looking at it
                yield from _disk_use(place / name)
    except OSError:
        return
