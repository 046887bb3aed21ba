"""The environments of one ``virtualenv_dir``: where each stands, and how a ready one is found without a lock.

``envs-v1/<digest>`` is a link to ``builds/<digest>-<n>``; who makes and publishes builds is ``publisher``.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import os_errors
from cosmos_venv.environments.environment import Damaged, Environment
from cosmos_venv.environments.put_off import LONGEST_PAUSE, is_put_off
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import Cancellation
from cosmos_venv.kernel_lock import NOBODY_LOCKS, describe_strangers
from cosmos_venv.lease import Lease, lease_path, strangers_who_keep, take_from_strangers
from cosmos_venv.trust import Way, Writers, judge

if TYPE_CHECKING:
    from cosmos_venv.environments.installer import InstallerPreference
    from cosmos_venv.environments.upkeep import Upkeep

__all__ = ["BUILD_NAME", "LAYOUT", "EnvironmentStore"]

# The layout's version is in its name: releases share a directory without reading each other's entries.
LAYOUT = "envs-v1"
BUILD_NAME = re.compile(r"(?P<digest>[0-9a-f]{64})-(?P<number>\d+)")
LOOKED_FOR = "cosmos_venv.virtualenv_dir"
"""The audit event (PEP 578) before an environment is looked for: the directory, and the parameter that names it."""
_ANOTHER = "or choose another directory."
_OF_A_DISK = {*os_errors.FULL, errno.EROFS}
_REMOVAL_IN_PROGRESS = 0.005
# Taking a build out of sight is a matter of milliseconds; a pruner that was stopped in the middle keeps nobody.
_LONGEST_REMOVAL = 5.0


class EnvironmentStore:
    """Managed environments below one directory. Making a store touches no file.

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

    def find(
        self,
        spec: EnvironmentSpec,
        *,
        instead_of: Damaged | None = None,
        cancellation: Cancellation | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> Environment | None:
        """The ready environment, leased to the caller (who closes it); None when there is none. Takes no lock.

        None too when it is being removed and that does not come to an end, and when others could have written to it:
        whoever may build does so then.

        :param instead_of: a build that counts as none.
        :param warn: gets a line when an environment is there and is not used.
        :raises CosmosValueError: when ``virtualenv_dir`` is a file.
        :raises VirtualenvError: when it cannot be read, or somebody else can have written there, or, in a read-only
            store, to the environment.
        :raises CommandKilled: when ``cancellation`` was requested meanwhile.
        """
        if not self.is_read_only:
            sys.audit(LOOKED_FOR, str(self._given), self.parameter)
        with self.naming_the_directory():
            way = self.judge()
        deadline = time.monotonic() + _LONGEST_REMOVAL
        while way is not None:
            if cancellation is not None:
                cancellation.raise_if_requested()
            build = self._whole_build(spec, way)
            if build is None or (instead_of is not None and build == instead_of.path):
                return None
            with suppress(BlockingIOError):
                lease = self._leased(build, warn)
                # Between reading the link and locking the lease the build may have been removed or replaced.
                if lease is None or (self._whole_build(spec, way) == build and lease.is_of(build)):
                    return self._found(spec, build, way, lease=lease, warn=warn)
                lease.close()
            if time.monotonic() >= deadline:
                if warn is not None:
                    warn(f"{lease_path(build)} stays locked, by whom cannot be seen: {build} is built anew.")
                return None
            time.sleep(_REMOVAL_IN_PROGRESS)
        return None

    @contextmanager
    def open(
        self,
        spec: EnvironmentSpec,
        *,
        preference: InstallerPreference = "auto",
        max_tries: int,
        upgrade_after: float | None = None,
        instead_of: Damaged | None = None,
        cancellation: Cancellation,
        report: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        upkeep: Upkeep | None = None,
    ) -> Iterator[Environment]:
        """The environment, built first when it is not there yet, kept for as long as the block runs.

        :param preference: which installer builds it.
        :param max_tries: seconds to wait for another builder that makes no progress.
        :param upgrade_after: age in seconds at which a spec that asks for ``--upgrade`` is resolved anew, into a newer
            generation, by one task at a time; the others use what is ready. None: never. When that fails, what is
            ready is used, and the next attempt is put off for as long, at most an hour.
        :param instead_of: a build that counts as missing: unless another one has taken its place already, a newer
            generation is built and published over it. Tasks that use it keep it.
        :param report: gets lines for the task's log.
        :param warn: gets those that somebody should act on; None: ``report`` does.
        :param upkeep: what happens to the directory's other environments when this one had to be built.
        :raises CosmosValueError: when ``virtualenv_dir`` is a file.
        :raises VirtualenvBuildError: when it cannot be built.
        :raises VirtualenvLockTimeout: when another builder holds the lock for too long.
        :raises VirtualenvError: when the directory cannot be read or written, or somebody else can have written there.
        :raises CommandKilled: when ``cancellation`` was requested.
        """
        environment = self.find(spec, instead_of=instead_of, cancellation=cancellation, warn=warn or report)
        if environment is None or _is_outdated(environment, spec, upgrade_after):
            # Its imports are for the one task that builds, not for all that find their environment.
            from cosmos_venv.environments.publisher import Publisher

            publisher = Publisher(
                self, spec, instead_of=instead_of, cancellation=cancellation, report=report, warn=warn, upkeep=upkeep
            )
            if environment is None:
                environment = publisher.make_ready(preference=preference, max_tries=max_tries)
            else:
                environment = publisher.upgrade(environment, preference=preference, pause=_pause(upgrade_after))
        try:
            yield environment
        finally:
            environment.close()

    def environment_of(
        self, spec: EnvironmentSpec, build: Path, *, lease: Lease | None, was_built: bool = False
    ) -> Environment:
        """The environment that stands in a build's directory."""
        return Environment(
            path=build,
            digest=spec.digest,
            record_file=self.record_file(build),
            was_built=was_built,
            lease=lease,
        )

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

    def _whole_build(self, spec: EnvironmentSpec, way: Way) -> Path | None:
        """The published build whose Python is there: not when it is gone, nor when the interpreter it links to is."""
        build = self.published(spec.digest, way)
        with self.naming_the_directory():
            return build if build is not None and (build / "bin" / "python").exists() else None

    def _leased(self, build: Path, warn: Callable[[str], None] | None) -> Lease | None:
        """A lease for the caller; None where nobody has any, or this user may not have one.

        :raises BlockingIOError: while somebody removes the build.
        """
        try:
            lease = Lease.shared(build, make=not self.is_read_only)
        except OSError as error:
            if not self.is_read_only and error.errno not in NOBODY_LOCKS:
                with self.naming_the_directory():
                    raise
            # Nobody prunes a mount that is read-only or knows no locks. A store of another user keeps its leases for
            # that user alone: what is used there is protected by the age at which its pruner begins.
            return None
        if lease is not None:
            return lease
        strangers = strangers_who_keep(build)
        if strangers and (self.is_read_only or not take_from_strangers(build)):
            if warn is not None:
                warn(f"{build} is used without its lease: {describe_strangers(strangers)}.")
            return None
        raise BlockingIOError

    def _found(
        self,
        spec: EnvironmentSpec,
        build: Path,
        way: Way,
        *,
        lease: Lease | None,
        warn: Callable[[str], None] | None,
    ) -> Environment | None:
        """The environment that stands there; None when others could have written to what runs first in it."""
        try:
            with self.naming_the_directory():
                unsafe = _who_else_may_write(build, way.writers)
            if not unsafe:
                if self.is_read_only:  # only looking there, as in each store of a search path, is no matter
                    sys.audit(LOOKED_FOR, str(self._given), self.parameter)
                return self.environment_of(spec, build, lease=lease)
            text = f"{build} is not used because of {unsafe}: what it runs may be somebody else's."
            if self.is_read_only:
                raise VirtualenvError(f"{self.parameter}: {text} Build it anew.")
            if warn is not None:
                warn(f"The virtualenv {text} It has to be built anew.")
        except BaseException:
            if lease is not None:
                lease.close()
            raise
        if lease is not None:
            lease.close()
        return None

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


def _is_outdated(environment: Environment, spec: EnvironmentSpec, upgrade_after: float | None) -> bool:
    if upgrade_after is None or not spec.asks_for_upgrade:
        return False
    age = environment.age
    return (age is None or age >= upgrade_after) and not is_put_off(environment.path, pause=_pause(upgrade_after))


def _pause(upgrade_after: float | None) -> float:
    return LONGEST_PAUSE if upgrade_after is None else min(upgrade_after, LONGEST_PAUSE)


def _who_else_may_write(build: Path, writers: Writers) -> str | None:
    """To what is read or run first in a build, and who, in words; None when nobody.

    All of it is judged once, before it is published. A build of a release that did not do so is known by these: what
    the umask has opened of the whole, it has opened of them.
    """
    first = [f"{build}/{name}" for name in ("pyvenv.cfg", "bin", "lib")]
    with suppress(FileNotFoundError):
        first += [f"{build}/bin/{name}" for name in os.listdir(first[1])]  # noqa: PTH208 - each task comes by here
        for name in os.listdir(first[2]):  # noqa: PTH208
            first += [f"{build}/lib/{name}", f"{build}/lib/{name}/site-packages"]
    for path in first:
        with suppress(FileNotFoundError):
            if reason := writers.why_untrusted(os.lstat(path)):
                return f"{path}: {reason}"
    return None
