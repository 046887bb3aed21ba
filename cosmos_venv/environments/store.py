"""The store of environments in one ``virtualenv_dir``, their records, and the stores of a search path.

- ``envs-v2/<digest>.json`` is record and pointer at once: it names the folder ``envs-v2/<digest>-<suffix>``. Publishing
  is one rename, retiring is one unlink. A folder that no record names is a build in progress, a replaced build that
  tasks still use, or a leftover that the next builder removes. No suffix is used twice.
- An environment is found without a lock: read the record, take a shared lease, read the record again.
- The caller of ``publish`` holds the lock of the directory. ``maintenance.pruner`` takes builds out of sight and
  deletes them.
- The stores of a search path, such as one in an image, are never written to.
- No credential is in a record: each text that could hold one is masked before it is written.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter, Library
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.files import os_errors, own_files
from cosmos_venv.files.kernel_lock import LOCK_NOT_POSSIBLE, Lease
from cosmos_venv.files.own_files import make_directory, refuse_untrusted
from cosmos_venv.files.read_limits import parsed, read_plain
from cosmos_venv.processes.cancellation import Cancellation

# The layout's version is in its name: releases share a directory without reading each other's entries.
LAYOUT = "envs-v2"
DETACHED = "detached"
"""The folder of the files of detached builders, below the layout's."""
LOOKED_FOR = "cosmos_venv.virtualenv_dir"
"""The audit event (PEP 578) before an environment is looked for: the directory, and the parameter that names it."""
PARAMETER = "virtualenv_search_path"

_NAME = re.compile(r"(?P<digest>[0-9a-f]{64})(-[0-9a-f]{8}(?:\.lease)?|\.json)")
_TURN = 0.005
# Retiring a build takes milliseconds; a pruner that hangs meanwhile blocks a task no longer than this.
_LONGEST_RETIRING = 5.0
_OF_A_DISK = {*os_errors.FULL, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class RecordedSpec:
    """The spec of a build without any credential, as ``EnvironmentSpec.redacted`` gives it.

    :param requirements: as in ``EnvironmentSpec``, masked.
    :param pip_install_options: as in ``EnvironmentSpec``, masked.
    :param interpreter: the Python that the environment was made of.
    :param system_site_packages: whether packages of the worker are visible in it.
    :param libraries: as in ``EnvironmentSpec``.
    """

    requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...]
    interpreter: Interpreter
    system_site_packages: bool
    libraries: tuple[Library, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """The record of one build.

    :param digest: of its spec, 64 hexadecimal digits.
    :param build: name of its folder: ``<digest>-<8 hexadecimal digits>``.
    :param spec: the spec that was asked for.
    :param pins: version of each distribution that was installed.
    :param installer: the tool that installed them: ``uv``, ``pip``, or the name of a tool that was handed down.
    :param built_by: name of the host that built.
    :param built_at: ISO 8601, in UTC.
    :param seconds: that the building took.
    :param sources: hosts of the indexes, and folders, from which the installer was told to take the distributions.
    :param provides: facts that the check of the spec has printed, by name, such as the engine and version of dbt.
    :param libraries: hash and size of each file that was copied into ``lib/``, as a RECORD has them, by its name.
    :param fetched_from: the remote store that it came from, without credentials; empty where it was built here.
    :param upgrade_failed_at: when the last upgrade failed that was to replace this build, as ISO 8601; empty: none did.
    """

    digest: str
    build: str
    spec: RecordedSpec
    pins: dict[str, str]
    installer: str
    built_by: str
    built_at: str
    seconds: float
    sources: tuple[str, ...] = ()
    provides: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, tuple[str, str]] = field(default_factory=dict)
    fetched_from: str = ""
    upgrade_failed_at: str = ""

    @classmethod
    def of(
        cls,
        spec: EnvironmentSpec,
        build: Path,
        pins: Mapping[str, str],
        *,
        installer: str,
        seconds: float,
    ) -> BuildRecord:
        """Return the record of a build that this process has just made. Texts that could hold credentials are masked.

        :param spec: the spec that was asked for.
        :param build: the folder.
        :param pins: version of each installed distribution.
        :param installer: name of the tool that installed them.
        :param seconds: that the building took.
        """
        return cls(
            digest=spec.digest,
            build=build.name,
            spec=RecordedSpec(**{**spec.redacted, "interpreter": spec.interpreter, "libraries": spec.libraries}),
            pins=dict(pins),
            installer=installer,
            built_by=socket.gethostname(),
            built_at=now(),
            seconds=round(seconds, 3),
        )

    def to_json(self) -> str:
        """Return the record as it is written down."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def now() -> str:
    """Return the time as records have it: ISO 8601, in UTC."""
    return datetime.now(tz=timezone.utc).isoformat(timespec="milliseconds")


def is_within(instant: str, seconds: float) -> bool:
    """Return whether an instant lies in the past and is no older than some seconds.

    :param instant: a time of a record. An empty time, and a time that lies ahead, give False: after a clock was set
        back nobody would upgrade for years.
    :param seconds: the age in question.
    """
    # By the record and not by the time of a file, which a copy of the store or a restored backup would change.
    try:
        age = (datetime.now(tz=timezone.utc) - datetime.fromisoformat(instant)).total_seconds()
    except ValueError:
        return False
    return 0 <= age < seconds


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A ready environment. It stays as it is until ``close``.

    :param path: its folder.
    :param record: the record of its build.
    :param was_built: whether it was made for this caller; False: it was there already.
    :param lease: what keeps it from being removed; None where none is needed or the mount knows no locks.
    :param is_temporary: whether it is this caller's alone, and gone after use.
    :param held_by: further descriptors that keep it from being removed; ``close`` leaves them open.
    :param was_pushed: whether it was put into the remote store for this caller.
    :param seconds: duration of its build or download for this caller, without the wait for a lock; 0 where it stood
        there.
    """

    path: Path
    record: BuildRecord
    was_built: bool
    lease: Lease | None = None
    is_temporary: bool = False
    held_by: tuple[int, ...] = ()
    was_pushed: bool = False
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """The digest of its spec, 64 hexadecimal digits."""
        return self.record.digest

    @property
    def python(self) -> Path:
        """The environment's own interpreter."""
        return self.path / "bin" / "python"

    def script(self, name: str) -> Path:
        """Return the path of a console script, which is there if some package brought it.

        :param name: of the command, such as ``dbt``.
        """
        return self.path / "bin" / name

    @property
    def engine(self) -> str:
        """The kind of its dbt, by the record of its build: ``python`` or ``native``; empty where it does not say so."""
        return self.record.provides.get("engine", "")

    @property
    def keep_open(self) -> tuple[int, ...]:
        """Descriptors for a guarded command, so that the environment counts as used until its last descendant ends."""
        return self.held_by if self.lease is None else (*self.held_by, *self.lease.hand_on())

    def close(self) -> None:
        """Give up the lease. May be called again."""
        # The path stays valid for processes that were started in it: the guard holds descriptors of its own.
        if self.lease is not None:
            self.lease.close()


@dataclass(eq=False)
class EnvironmentStore:
    """The managed environments of one directory. Making a store touches no file.

    :param directory: the user's ``virtualenv_dir``; made when the first environment is built.
    :param directory_mode: permissions of directories that are made, as for ``files.own_files.make_directory``.
    :param parameter: the parameter or setting that the user gave the directory as, for messages.
    :param is_read_only: whether environments are only looked for; nothing is written then, not even a lease.
    :param may_be_open: whether only the owners are judged in the directory, on a mount that lets everybody write.
    """

    directory: Path
    directory_mode: str = field(default="", kw_only=True)
    parameter: str = field(default="virtualenv_dir", kw_only=True)
    is_read_only: bool = field(default=False, kw_only=True)
    may_be_open: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        # Not resolved: another user may be able to replace a link in the path as it was written, so links are judged.
        self._given = Path.cwd() / self.directory
        # Resolved once: a parent link that is pointed to another place later changes nothing. Not by Path.resolve,
        # which raises a RuntimeError for a link to itself.
        self.directory = Path(os.path.realpath(self.directory))
        self.root = self.directory / LAYOUT

    def record_file(self, digest: str) -> Path:
        """Return the file whose record names the ready build of a digest.

        :param digest: 64 hexadecimal digits, as in ``EnvironmentSpec.digest``.
        """
        return self.root / f"{digest}.json"

    def make_directory(self) -> None:
        """Make the ``virtualenv_dir``, in which the lock stands, and judge it before anything there is opened or run.

        :raises VirtualenvError: when another user can have written there.
        :raises OSError: when it cannot be made.
        """
        make_directory(self.directory, self.directory_mode)
        self.refuse_untrusted()

    def make(self, *more: Path) -> None:
        """Make the directories of the store where they are missing, and judge them before anything in them is run.

        :param *more: further directories in it.
        :raises VirtualenvError: when another user can have written there.
        :raises OSError: when one cannot be made.
        """
        for directory in (self.directory, self.root, *more):
            make_directory(directory, self.directory_mode)
        self.refuse_untrusted(*more)

    def refuse_untrusted(self, *more: Path) -> bool:
        """Return whether all places exist. Nobody else can have written to them then.

        :param *more: further places in it.
        :raises VirtualenvError: when another user can have written there, or can replace a directory on the way.
        :raises OSError: when a directory on the way cannot be looked at.
        """
        try:
            # The path as the user wrote it, since its links count too; then the resolved path, which is used later.
            places = (self._given, self.root, *more)
            refuse_untrusted(*places, parameter=self.parameter, is_open_allowed=self.may_be_open)
        except FileNotFoundError:
            return False
        return True

    def published(self, digest: str) -> BuildRecord | None:
        """Return the record of the ready build of a digest; None when there is none that can be read.

        :param digest: 64 hexadecimal digits.
        :raises OSError: when the record is there and cannot be read.
        """
        try:
            record = parsed(read_plain(self.record_file(digest)), BuildRecord)
        except (FileNotFoundError, ValueError):
            return None  # a record that a power cut has damaged is replaced by the next build
        return record if _NAME.fullmatch(record.build) and record.build.startswith(f"{digest}-") else None

    def find(self, spec: EnvironmentSpec, *, cancellation: Cancellation | None = None) -> Environment | None:
        """Return the ready environment, leased to the caller, who closes it; None when there is none. No lock is taken.

        :param spec: what it must hold.
        :param cancellation: ends the search; None: nothing does.
        :raises CosmosValueError: when ``virtualenv_dir`` is a file.
        :raises VirtualenvError: when it cannot be read, or somebody else can have written there.
        :raises CommandKilled: when ``cancellation`` was requested meanwhile.
        """
        # The pytest plugin watches this event, to know which directories a test has used.
        if not self.is_read_only:
            sys.audit(LOOKED_FOR, str(self._given), self.parameter)
        with self.errors_name_the_directory():
            if not self.refuse_untrusted():
                return None
            deadline = time.monotonic() + _LONGEST_RETIRING
            # The record is read in each turn: while a build is retired, another one may be published.
            while (record := self._usable(spec.digest)) is not None and time.monotonic() < deadline:
                if cancellation is not None:
                    cancellation.raise_if_requested()
                build = self.root / record.build
                try:
                    lease = self._leased(build)
                except BlockingIOError:
                    time.sleep(_TURN)
                    continue
                # Between reading the record and locking the lease the build may have been retired or replaced.
                if lease is None or self.published(spec.digest) == record:
                    if self.is_read_only:  # a store of a search path counts as used only when it has the environment
                        sys.audit(LOOKED_FOR, str(self._given), self.parameter)
                    return Environment(path=build, record=record, was_built=False, lease=lease)
                lease.close()
        return None

    def holds(self, spec: EnvironmentSpec) -> bool:
        """Return whether ``find`` would find an environment now. Errors are those of ``find``.

        :param spec: what it must hold.
        """
        environment = self.find(spec)
        if environment is not None:
            environment.close()
        return environment is not None

    def _usable(self, digest: str) -> BuildRecord | None:
        """Return the record of a digest whose build may be used; None when the build is gone, or its interpreter."""
        record = self.published(digest)
        # Asked of the file system and not of the record: a base Python that was uninstalled leaves a dangling link.
        if record is None or not (self.root / record.build / "bin" / "python").exists():
            return None
        return record if self.refuse_untrusted(self.root / record.build) else None

    def _leased(self, build: Path) -> Lease | None:
        """Return a lease for the caller; None where the mount knows no locks, or this user may not open the file.

        Without a lease the environment is used as it is: nobody prunes there.

        :raises BlockingIOError: while a process retires the build.
        """
        try:
            lease = Lease.shared(build, make=not self.is_read_only)
        except OSError as error:
            if not self.is_read_only and error.errno not in LOCK_NOT_POSSIBLE:
                raise
            # Nobody prunes a mount that is read-only or knows no locks. In another user's store only that user can open
            # the leases: the least age at which its pruner removes a build protects the environments in use.
            return None
        if lease is None:
            raise BlockingIOError
        return lease

    def new_build(self, digest: str) -> Path:
        """Return a folder for a new build; no other build ever has this name.

        :param digest: 64 hexadecimal digits.
        """
        return self.root / f"{digest}-{os.urandom(4).hex()}"

    def publish(self, record: BuildRecord) -> None:
        """Let the record of a digest name a build. This is atomic: a task sees the old record or the new one.

        :param record: of a build that is whole, and stands in its folder.
        :raises OSError: when it cannot be written.
        """
        with own_files.replace_atomically(self.record_file(record.digest)) as apart:
            own_files.write_new(apart, record.to_json())

    def names(self) -> dict[str, set[str]]:
        """Return the entries of the store: name -> endings. A build has ``""`` (its folder) and ``.lease``, and a
        digest has ``.json``.

        :raises OSError: when the store cannot be read.
        """
        found: dict[str, set[str]] = {}
        for name in os.listdir(self.root):  # noqa: PTH208 - names are wanted
            if _NAME.fullmatch(name):
                stem, dot, ending = name.partition(".")
                found.setdefault(stem, set()).add(f"{dot}{ending}")
        return found

    @contextmanager
    def errors_name_the_directory(self) -> Iterator[None]:
        """Turn errors of the file system within this block into errors that name ``virtualenv_dir`` and the way out."""
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> VirtualenvError | CosmosValueError:
        if isinstance(error, FileExistsError | NotADirectoryError) and not self.directory.is_dir():
            return CosmosValueError(
                f"{self.parameter}: {self.directory} is not a directory, or a file stands where one of its parents "
                "should. Give the path of a directory."
            )
        place = os_errors.place_of(error)
        # Below the temporary folder, too, the error names the directory: the user can choose another directory.
        is_ours = error.errno in _OF_A_DISK and (place is None or place.is_relative_to(self.directory))
        if not is_ours and (words := os_errors.shortage(error)):
            return VirtualenvError(words)
        way_out = f"Make it readable and writable for user id {os.getuid()}, or choose another directory."
        if self.is_read_only:
            way_out = f"Make it readable for user id {os.getuid()}, or leave it out."
        elif error.errno in os_errors.FULL:
            room = os_errors.free_megabytes(self.directory)
            way_out = f"Make room there ({room:.1f} MB free; cosmos-venv env prune), or choose another directory."
        elif error.errno == errno.EROFS:
            way_out = "Mount it writable; what is built into an image is found by virtualenv_search_path."
        where = f" ({error.filename})" if error.filename else ""
        return VirtualenvError(
            f"{self.parameter} {self.directory} cannot be used: {error.strerror or error}{where}. {way_out}"
        )


def digest_of(build: Path) -> str:
    """Return the digest of a build.

    :param build: its folder.
    """
    return build.name.partition("-")[0]


def stores_of(text: str, *, may_be_open: bool = False) -> list[EnvironmentStore]:
    """Return the stores of a search path. A directory that does not exist is an empty store.

    :param text: absolute paths, parted as in ``PATH``.
    :param may_be_open: as for ``EnvironmentStore``.
    :raises CosmosValueError: naming ``virtualenv_search_path``, for a relative path.
    """
    paths = [Path(entry.strip()) for entry in text.split(os.pathsep) if entry.strip()]
    for path in paths:
        # The DAG processor, a worker and a shell have different working directories.
        if not path.is_absolute():
            raise CosmosValueError(
                f"[cosmos_venv] {PARAMETER}: {str(path)!r} is relative, and would be another directory for each "
                "process. Write the whole path."
            )
    return [EnvironmentStore(path, parameter=PARAMETER, is_read_only=True, may_be_open=may_be_open) for path in paths]
