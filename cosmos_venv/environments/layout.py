"""Paths, names and links of a store of environments, its lock files, and the values that limit a store.

``envs-v1/<digest>`` is a link to ``builds/<digest>-<n>``. Everything that belongs to a build stands beside it, under
the name of the build and an ending. A build that no link leads to is rubbish for the next builder.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.files.durable_files import write_anew
from cosmos_venv.files.permissions import Way, judge, make_directory
from cosmos_venv.processes.detached_process import DetachedWork, works_in

# The layout's version is in its name: releases share a directory without reading each other's entries.
LAYOUT = "envs-v1"
BUILD_NAME = re.compile(r"(?P<digest>[0-9a-f]{64})-(?P<number>\d+)")

LOCK_FILENAME = "cosmos_virtualenv.lock"
"""File with the PID of the builder, in the format of other implementations."""
KERNEL_LOCK_FILENAME = "cosmos_virtualenv.flock"
"""File that the kernel lock is taken on; it is never removed."""

_ANOTHER = "or choose another directory."
_OF_A_DISK = {*os_errors.FULL, errno.EROFS}

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENDINGS = {"", ".lease", ".json", ".rubbish", ".upgrade-failed"}

LONGEST_UPGRADE_PAUSE = 3600.0
"""Seconds until a failed upgrade is tried again; less where upgrades are wanted more often."""

DAY = 86_400


def failure_file(build: Path) -> Path:
    """Return the file that tells of a failed upgrade of a build. Its content is the error, its time that of the
    attempt.

    :param build: the build that could not be replaced by a newer one.
    """
    return build.with_name(f"{build.name}.upgrade-failed")


def upgrade_failed_recently(build: Path, *, pause: float) -> bool:
    """Return whether an upgrade of a build has failed a short time ago.

    :param build: the build that was to be replaced.
    :param pause: seconds that count as short.
    """
    try:
        age = time.time() - failure_file(build).stat().st_mtime
    except OSError:
        return False
    # A time that lies ahead proves nothing: with a clock that was set back nobody would upgrade for years.
    return 0 <= age < pause


def note_failed_upgrade(build: Path, message: str) -> None:
    """Note that an upgrade of a build has just failed.

    :param build: the build that stays in use.
    :param message: the error, for people who look into the store.
    :raises OSError: when that cannot be noted.
    """
    # Anew: another user's file could not be written to, and the time must be that of this attempt.
    write_anew(failure_file(build), f"{message}\n")


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
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise CosmosValueError(f"{field.name} is {getattr(self, field.name)}: give 0 (no limit) or more.")


class StoreLayout:
    """The places of the environments of one directory. Making a layout touches no file.

    :param directory: the user's ``virtualenv_dir``; made when the first environment is built.
    :param directory_mode: permissions of directories that are made; None: the group may write where it may in the
        directory above (see ``files.permissions.make_directory``).
    :param parameter: the parameter or setting that the user gave the directory as, for messages.
    :param is_read_only: whether environments are only looked for; nothing is written then, not even a lease.
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
        # Not resolved: a link on the way as the user wrote it can be replaced by another user, and is judged too.
        self._given = directory if directory.is_absolute() else Path.cwd() / directory
        # Resolved once: a link above that is turned to another place later changes nothing. Not by Path.resolve, which
        # raises a RuntimeError for a link to itself.
        self.directory = Path(os.path.realpath(directory))
        self.root = self.directory / LAYOUT
        self.builds = self.root / "builds"

    def link(self, digest: str) -> Path:
        """Return the link that leads to the published build of a digest.

        :param digest: 64 hexadecimal digits, as in ``EnvironmentSpec.digest``.
        """
        return self.root / digest

    def record_file(self, build: Path) -> Path:
        """Return the file beside a build in which its record stands.

        :param build: directory of the build.
        """
        return build.with_name(f"{build.name}.json")

    def judge(self) -> Way | None:
        """Return the trusted way to the environments; None when there is no such place yet.

        :raises VirtualenvError: when another user can have written there, or can replace a directory on the way.
        :raises OSError: when a directory on the way cannot be looked at.
        """
        try:
            # As it was given, for a link on that way counts too; then as it is used from here on.
            return judge(self._given, self.directory, self.root, self.builds, parameter=self.parameter)
        except FileNotFoundError:
            return None

    def published(self, digest: str, way: Way | None = None) -> Path | None:
        """Return the build that the link of a digest leads to; None when there is no link of ours, or no build.

        :param digest: 64 hexadecimal digits.
        :param way: the way by which link and build are judged; None: they are not judged.
        :raises VirtualenvError: when another user can have made or written to one of them, or when the directory cannot
            be read.
        """
        with self.naming_the_directory():
            try:
                target = self.link(digest).readlink()
                # A link to anywhere else is none of ours: the next build sets it aside.
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
        """Turn errors of the file system within this block into errors that name ``virtualenv_dir`` and the way out."""
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
    """Return the name that a build has from when nobody can find it any more until it is deleted.

    :param build: the name that it had before.
    """
    return build.with_name(f"{build.name}.rubbish")


def build_names(store: StoreLayout) -> dict[str, set[str]]:
    """Return the names of all builds of which anything is left.

    :param store: a store whose directory of builds exists.
    :returns: by the name of each build, the endings of what is left of it: ``""`` for its directory, ``.lease``, …
    :raises OSError: when the directory cannot be read.
    """
    names: dict[str, set[str]] = {}
    for entry in store.builds.iterdir():
        match = BUILD_NAME.match(entry.name)
        ending = entry.name[match.end() :] if match else None
        if match and ending in _ENDINGS:
            names.setdefault(match.group(), set()).add(ending)
    return names


def published_names(store: StoreLayout) -> dict[str, str]:
    """Return the name of the published build of each digest that has one.

    :param store: a store whose root exists.
    :raises OSError: when the root cannot be read.
    """
    links = (entry for entry in store.root.iterdir() if _DIGEST.fullmatch(entry.name) and entry.is_symlink())
    builds = {link.name: store.published(link.name) for link in links}
    return {digest: build.name for digest, build in builds.items() if build is not None}


def unpublished(store: StoreLayout) -> list[Path]:
    """Return the builds that no link leads to.

    :param store: a store whose directories exist.
    :raises OSError: when one of them cannot be read.
    """
    # A lease alone makes a name too: a builder that was killed before it made its directory leaves only that.
    return [store.builds / name for name in sorted({*build_names(store)} - {*published_names(store).values()})]


def builder_of(store: StoreLayout, digest: str) -> DetachedWork:
    """Return the detached builder of one environment, at work or not. The folder of its files is made.

    :param store: where the environment is to stand.
    :param digest: of the environment, 64 hexadecimal digits.
    :raises VirtualenvError: when another user can write to that folder.
    :raises OSError: when it cannot be made.
    """
    folder = _folder(store)
    for directory in (store.directory, store.root, folder):
        make_directory(directory, store.directory_mode)
    judge(folder, parameter=store.parameter)
    return DetachedWork(folder=folder, key=digest)


def builders_of(store: StoreLayout) -> list[DetachedWork]:
    """Return the detached builders of which a file is left. Nothing is made.

    :param store: whose builders are looked for.
    """
    return works_in(_folder(store))


def _folder(store: StoreLayout) -> Path:
    return store.root / "detached"
