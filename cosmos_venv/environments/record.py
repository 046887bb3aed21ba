"""What is written down about a build: what stands in it, made by whom, when, and how."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from cosmos_venv.environments import sources
from cosmos_venv.environments.installer import Installer
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.own_files import read_own, write_anew


@dataclass(frozen=True, kw_only=True)
class RecordedSpec:
    """``EnvironmentSpec.redacted``: what was asked for, without any credential."""

    requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...]
    interpreter: Interpreter
    system_site_packages: bool


@dataclass(frozen=True, kw_only=True)
class RecordedInstaller:
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RecordedBuilder:
    pid: int
    uid: int
    host: str


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """The record of one build.

    :param pins: version of each distribution that was installed.
    :param sources: hosts of the indexes, and folders, that the installer was told to take them from.
    :param built_at: ISO 8601, in UTC.
    :param seconds: that the building took.
    :param flaws: what does not fit its RECORD files since it was built. It is looked for where a build takes the place
        of a damaged one.
    """

    digest: str
    spec: RecordedSpec
    pins: dict[str, str]
    installer: RecordedInstaller
    built_by: RecordedBuilder
    built_at: str
    seconds: float
    sources: tuple[str, ...] = ()
    flaws: tuple[str, ...] = ()


def write_record(
    file: Path,
    spec: EnvironmentSpec,
    pins: dict[str, str],
    *,
    installer: Installer,
    seconds: float,
    flaws: tuple[str, ...] = (),
) -> None:
    """Write down what was built. Whatever could hold a credential is masked."""
    record = BuildRecord(
        digest=spec.digest,
        spec=RecordedSpec(**{**spec.redacted, "interpreter": spec.interpreter}),
        pins=pins,
        installer=RecordedInstaller(name=installer.name, reason=installer.reason),
        built_by=RecordedBuilder(pid=os.getpid(), uid=os.getuid(), host=socket.gethostname()),
        built_at=datetime.now(tz=timezone.utc).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        sources=sources.hosts(installer, spec.pip_install_options, spec.requirements, os.environ),
        flaws=flaws,
    )
    write_anew(file, json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n")


def read_record(file: Path) -> BuildRecord:
    """What was written down.

    :raises OSError: when it cannot be read.
    :raises ValueError: saying what is wrong with it.
    """
    import msgspec

    return msgspec.json.decode(read_own(file), type=BuildRecord)
