"""Paths, names and links of a store of environments; its lock files, failed upgrades and limits.

Which files of a ``virtualenv_dir`` are its lock.

When was the last attempt to upgrade a build, if it failed? Then the next one is put off.

What a store's owner wants of it: what may go, and whether builds that failed stay. Values only.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.files.durable_files import write_anew
from cosmos_venv.files.permissions import Way, judge, make_directory
from cosmos_venv.processes.detached_process import DetachedWork, works_in

# The layout's version is in its name: releases share a directory without reading each other's entries.
LAYOUT = "envs-v1"
BUILD_NAME = re.compile(r"(?P<digest>[0-9a-f]{64})-(?P<number>\d+)")

LOCK_FILENAME = "cosmos_virtualenv.lock"
"""The PID of who builds, as other implementations read and write it."""
NOTE_FILENAME = f"{LOCK_FILENAME}.json"
"""Which host, boot and process that PID is of."""
KERNEL_LOCK_FILENAME = "cosmos_virtualenv.flock"
"""What is locked; it stays."""


_ANOTHER = "or choose another directory."
_OF_A_DISK = {*os_errors.FULL, errno.EROFS}

_DIGEST = re.compile(r"[0-9a-f]{64}")
KEPT_ENDINGS = {".failed", ".failed.log"}
_ENDINGS = {"", ".lease", ".json", ".rubbish", ".upgrade-failed", *KEPT_ENDINGS}

LONGEST_UPGRADE_PAUSE = 3600.0
"""Seconds until a failed upgrade is tried again; less where upgrades are wanted more often."""


def failure_file(build: Path) -> Path:
    """What was said when the build could not be replaced by a newer one; its time is that of the attempt."""
    return build.with_name(f"{build.name}.upgrade-failed")


def upgrade_failed_recently(build: Path, *, pause: float) -> bool:
    """Whether an upgrade of the build has failed less than ``pause`` seconds ago."""
    try:
        age = time.time() - failure_file(build).stat().st_mtime
    except OSError:
        return False
    return 0 <= age < pause


def note_failed_upgrade(build: Path, message: str) -> None:
    """Note that an upgrade of the build has just failed.

    :raises OSError: when that cannot be noted.
    """
    write_anew(failure_file(build), f"{message}\n")


DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class PruneLimits:
    """What a store may hold; 0 is no limit.

    :param max_age: seconds since an environment was last used.
    :param max_count: environments; those used last stay.
    :param max_bytes: on disk.
    :param min_age: what was used within as many seconds stays, whatever the limits say.
    :raises CosmosValueError: naming the value that is negative.
    """

    max_age: float = 30 * DAY
    max_count: int = 10
    max_bytes: int = 0
    min_age: float = DAY

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise CosmosValueError(f"{field.name} is {getattr(self, field.name)}: give 0 (no limit) or more.")


@dataclass(frozen=True, kw_only=True)
class StorePolicy:
    """What happens to a store with each build.

    :param limits: what is pruned after it; None: nothing.
    :param keep_failed: whether the last failed build of an environment stays, with its log.
    """

    limits: PruneLimits | None = None
    keep_failed: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StorePolicy:
        """From what ``dataclasses.asdict`` made of one."""
        limits = data["limits"]
        return cls(limits=limits and PruneLimits(**limits), keep_failed=data["keep_failed"])


class StoreLayout:
    """Where the environments of one directory stand. Making one touches no file.

    :param directory: the user's ``virtualenv_dir``; made when the first environment is built.
    :param directory_mode: permissions of directories that are made; see ``trust.make_directory``.
    :param parameter: what the user gave the directory as, for messages.
    :param is_read_only: environments are only looked for; nothing is written, not even a lease.
    """

    def __init__(
        self,
        directory: Path,
        *,
        directory_mode: int | None = None,
        parameter: str = "virtualenv_dir",
        is_read_only: bool = False,
    ) -> None:
        self.directory_mode = directory_mode
        self.parameter = parameter
        self.is_read_only = is_read_only
        self._given = directory if directory.is_absolute() else Path.cwd() / directory
        self.directory = Path(os.path.realpath(directory))
        self.root = self.directory / LAYOUT
        self.builds = self.root / "builds"

    def link(self, digest: str) -> Path:
        """What leads to the published build of a digest."""
        return self.root / digest

    def record_file(self, build: Path) -> Path:
        """Where it is recorded what a build holds: beside it."""
        return build.with_name(f"{build.name}.json")

    def judge(self) -> Way | None:
        """The way to the environments; None when there is no such place yet.

        :raises VirtualenvError: when somebody else can have written there, or can replace a directory on the way.
        :raises OSError: when it cannot be looked at.
        """
        try:
            # As it was given, for a link on that way counts too; then as it is used from here on.
            return judge(self._given, self.directory, self.root, self.builds, parameter=self.parameter)
        except FileNotFoundError:
            return None

    def published(self, digest: str, way: Way | None = None) -> Path | None:
        """The build that the link leads to; None when there is no link of ours, or no build.

        :param way: by which link and build are judged; None: they are not.
        :raises VirtualenvError: when somebody else can have made or written to one of them.
        """
        with self.naming_the_directory():
            try:
                target = self.link(digest).readlink()
                if target.parent != Path(self.builds.name):
                    return None
                # Where it leads at the moment at which it is judged.
                name = target.name if way is None else Path(way.follow(self.link(digest))).name
                if not BUILD_NAME.fullmatch(name):
                    return None
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno == errno.EINVAL:  # no link at all: what is built next sets it aside
                    return None
                raise
        return self.builds / name

    @contextmanager
    def naming_the_directory(self) -> Iterator[None]:
        """Within this block an error of the file system becomes one that names ``virtualenv_dir`` and the way out."""
        try:
            yield
        except OSError as error:
            is_file = isinstance(error, FileExistsError | NotADirectoryError) and not self.directory.is_dir()
            raise self._not_a_directory() if is_file else self._unusable(error) from error

    def _not_a_directory(self) -> CosmosValueError:
        return CosmosValueError(
            f"{self.parameter}: {self.directory} is not a directory, or a file stands where one of its parents should. "
            "Give the path of a directory" + ("." if self.is_read_only else "; it is made when it does not exist.")
        )

    def _unusable(self, error: OSError) -> VirtualenvError:
        place = os_errors.place_of(error)
        is_ours = place is None or place.is_relative_to(self.directory)
        if error.errno not in _OF_A_DISK or not is_ours:
            # A directory below the temporary folder is named all the same: it can be chosen.
            words = os_errors.shortage(error)
            if words is not None:
                return VirtualenvError(words)
        where = f" ({error.filename})" if error.filename else ""
        what = f"{self.parameter} {self.directory} cannot be used: {error.strerror or error}{where}. "
        if self.is_read_only:
            return VirtualenvError(f"{what}Make it readable for user id {os.getuid()}, or leave it out.")
        if error.errno in os_errors.FULL:
            room = os_errors.FreeSpace.at(self.directory)
            return VirtualenvError(f"{what}Make room there ({room} free; cosmos-venv env prune), {_ANOTHER}")
        if error.errno == errno.EROFS:
            return VirtualenvError(
                f"{what}Mount it writable, {_ANOTHER} What is built into an image is found by virtualenv_search_path."
            )
        return VirtualenvError(f"{what}Make it readable and writable for user id {os.getuid()}, {_ANOTHER}")


def rubbish_path(build: Path) -> Path:
    """What a build is called from when nobody can find it any more until it is deleted."""
    return build.with_name(f"{build.name}.rubbish")


def failed_path(build: Path) -> Path:
    """What a build that failed is called while it is kept."""
    return build.with_name(f"{build.name}.failed")


def failed_log(build: Path) -> Path:
    """What was said while it failed."""
    return build.with_name(f"{build.name}.failed.log")


def build_names(store: StoreLayout) -> dict[str, set[str]]:
    """Names of all builds of which anything is left, each with the endings of what is left: ``""``, ``.lease``, …"""
    names: dict[str, set[str]] = {}
    for entry in store.builds.iterdir():
        match = BUILD_NAME.match(entry.name)
        ending = entry.name[match.end() :] if match else None
        if match and ending in _ENDINGS:
            names.setdefault(match.group(), set()).add(ending)
    return names


def published_names(store: StoreLayout) -> dict[str, str]:
    """Of each digest that has a link, the name of the build it leads to."""
    links = (entry for entry in store.root.iterdir() if _DIGEST.fullmatch(entry.name) and entry.is_symlink())
    builds = {link.name: store.published(link.name) for link in links}
    return {digest: build.name for digest, build in builds.items() if build is not None}


def unpublished(store: StoreLayout) -> list[Path]:
    """Builds that no link leads to, without those that are kept because they failed."""
    names = {name for name, endings in build_names(store).items() if endings - KEPT_ENDINGS}
    return [store.builds / name for name in sorted(names - set(published_names(store).values()))]


def builder_of(store: StoreLayout, digest: str) -> DetachedWork:
    """The builder of one environment, at work or not. Makes the folder of its files."""
    folder = _folder(store)
    for directory in (store.directory, store.root, folder):
        make_directory(directory, store.directory_mode)
    judge(folder, parameter=store.parameter)
    return DetachedWork(folder=folder, key=digest)


def builders_of(store: StoreLayout) -> list[DetachedWork]:
    """Those of every environment of which anything is left. Makes nothing."""
    return works_in(_folder(store))


def _folder(store: StoreLayout) -> Path:
    return store.root / "detached"
