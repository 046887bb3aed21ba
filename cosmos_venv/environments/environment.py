"""One ready environment in a task's hands, and the record of its build.

The record of a digest is the commit: an environment is ready from the moment at which the record names its folder. No
credential is in a record: each text that could hold one is masked before it is written.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter, Library
from cosmos_venv.processes.lease import Lease


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
class RecordedInstaller:
    """The tool that installed.

    :param name: ``uv``, ``pip``, or the name of one that was handed down.
    :param reason: why it was chosen, in words.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RecordedBuilder:
    """The process that built.

    :param pid: its process id.
    :param uid: user id that it ran under.
    :param host: name of its host.
    """

    pid: int
    uid: int
    host: str


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """The record of one build.

    :param digest: of its spec, 64 hexadecimal digits.
    :param build: name of its folder: ``<digest>-<8 hexadecimal digits>``.
    :param spec: the spec that was asked for.
    :param pins: version of each distribution that was installed.
    :param installer: the tool that installed them.
    :param built_by: the process that built.
    :param built_at: ISO 8601, in UTC.
    :param seconds: that the building took.
    :param sources: hosts of the indexes, and folders, that the installer was told to take them from.
    :param provides: facts that the check of the spec has found out, by name: of dbt its engine and version.
    :param libraries: size in bytes of each file that was copied into ``lib/``, by its name.
    :param fetched_from: the remote store that it came from, without credentials; empty where it was built here.
    :param upgrade_failed_at: when the last upgrade failed that was to replace this build, as ISO 8601; empty: none did.
    """

    digest: str
    build: str
    spec: RecordedSpec
    pins: dict[str, str]
    installer: RecordedInstaller
    built_by: RecordedBuilder
    built_at: str
    seconds: float
    sources: tuple[str, ...] = ()
    provides: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, int] = field(default_factory=dict)
    fetched_from: str = ""
    upgrade_failed_at: str = ""

    @classmethod
    def of(
        cls,
        spec: EnvironmentSpec,
        build: Path,
        pins: Mapping[str, str],
        *,
        installer: RecordedInstaller,
        seconds: float,
    ) -> BuildRecord:
        """Return the record of what this process has built now. Whatever could hold a credential is masked.

        :param spec: the spec that was asked for.
        :param build: the folder.
        :param pins: version of each installed distribution.
        :param installer: the tool that installed them.
        :param seconds: that the building took.
        """
        return cls(
            digest=spec.digest,
            build=build.name,
            spec=RecordedSpec(**{**spec.redacted, "interpreter": spec.interpreter, "libraries": spec.libraries}),
            pins=dict(pins),
            installer=installer,
            built_by=RecordedBuilder(pid=os.getpid(), uid=os.getuid(), host=socket.gethostname()),
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

    :param instant: a time of a record. No time, and a time that lies ahead, are within nothing: with a clock that was
        set back nobody would upgrade for years.
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
    :param was_built: whether it was made for this caller; False: it stood there.
    :param lease: what keeps it from being removed; None where none is needed or the mount knows no locks.
    :param is_temporary: whether it is this caller's alone, and gone after use.
    :param held_by: further descriptors that keep it, which are not ours to close.
    :param was_pushed: whether it was put into the remote store for this caller.
    """

    path: Path
    record: BuildRecord
    was_built: bool
    lease: Lease | None = None
    is_temporary: bool = False
    held_by: tuple[int, ...] = ()
    was_pushed: bool = False

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
        return self.held_by if self.lease is None else (*self.held_by, *self.lease.descriptors)

    def close(self) -> None:
        """Give up the lease. May be called again."""
        # The path stays valid for what was started in it: the guard holds descriptors of its own.
        if self.lease is not None:
            self.lease.close()
