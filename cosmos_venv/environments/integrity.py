"""What is installed in an environment, and what of it is missing: read from its metadata, without running it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import credentials
from cosmos_venv.limits import ANY_SIZE, UnfitFileError, open_file, refuse_unfit
from cosmos_venv.os_errors import OF_THIS_PROCESS

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from _typeshed import StrPath

_PART = 1 << 20
_ADDRESS = "direct_url.json"
_METADATA = (".dist-info", ".egg-info")
_NOT_AS_PROMISED = (".pyc", ".dist-info/RECORD")


def site_packages(environment: Path) -> list[Path]:
    """The directories that packages are installed into (``lib64`` is a link to ``lib`` or a directory of its own)."""
    found = {path.resolve(): path for path in sorted(environment.glob("lib*/*/site-packages"), reverse=True)}
    return sorted(found.values())


@dataclass(frozen=True, kw_only=True)
class Installed:
    """:param pins: version of each installed distribution.
    :param console_scripts: names of the commands that they bring and that stand in ``bin``.
    """

    pins: dict[str, str]
    console_scripts: list[str]


def distributions_in(environment: Path) -> list[Distribution]:
    """Everything that is installed, with its metadata, of which nothing is there that is no file."""
    from importlib.metadata import PathDistribution

    class Installation(PathDistribution):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.path = path

        def read_text(self, filename: StrPath) -> str | None:
            try:
                refuse_unfit(self.path / filename)  # one that is a named pipe would never be read to its end
            except OSError:
                return None
            return super().read_text(filename)

    folders = (folder.glob("*.*-info") for folder in site_packages(environment))
    return [Installation(path) for path in sorted(itertools.chain(*folders)) if path.suffix in _METADATA]


def installed(environment: Path) -> Installed:
    """What the metadata says."""
    found = distributions_in(environment)
    commands = {
        entry_point.name
        for each in found
        for entry_point in each.entry_points
        if entry_point.group == "console_scripts"
    }
    return Installed(
        pins=pins_of(found),
        console_scripts=sorted(name for name in commands if (environment / "bin" / name).is_file()),
    )


def pins_of(found: Iterable[Distribution]) -> dict[str, str]:
    """The version of each distribution."""
    return dict(sorted(pin for each in found if (pin := _pin(each))))


def hide_credentials(environment: Path) -> None:
    """Take credentials out of the addresses that installers write down (``direct_url.json``), and correct the RECORDs.

    pip and uv leave out user and password themselves, and write a query as it is.
    """
    for folder in site_packages(environment):
        for file in folder.glob(f"*.dist-info/{_ADDRESS}"):
            text = file.read_text(encoding="utf-8")
            hidden = credentials.remove(text)
            if hidden != text:
                record = file.with_name("RECORD")
                promised = record.read_text(encoding="utf-8")
                name = file.relative_to(folder).as_posix()
                digest = base64.urlsafe_b64encode(hashlib.sha256(hidden.encode()).digest()).rstrip(b"=").decode()
                row = f"{name},sha256={digest},{len(hidden.encode())}"
                _replace(file, hidden)
                _replace(record, re.sub(rf"(?m)^{re.escape(name)},[^\n\r]*", row, promised))


def _replace(file: Path, text: str) -> None:
    """As a new file: the old one may be a link into an installer's cache."""
    file.unlink()
    file.write_text(text, encoding="utf-8", newline="")


def _pin(distribution: Distribution) -> tuple[str, str] | None:
    """Name and version; None where its METADATA is lost or damaged."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    except (TypeError, KeyError, AttributeError, ValueError, OSError, ImportError):  # as this Python has it
        return None
    return (name, version) if name and version else None


def faults(environment: Path, *, content: bool = False) -> list[str]:
    """What is missing or changed of the files that were installed, one clause each.

    Looked at are all files that a RECORD names. Byte code and the RECORD files themselves are promised by nobody (uv
    adds its own files to a RECORD and repeats what the wheel's said of its size). The size of a command in ``bin``
    counts only as part of its content: some installers write the size that it had before they wrote it anew. A file
    that several distributions bring is as any one of them has it: dbt-core, dbt-adapters and each adapter all bring a
    ``dbt/__init__.py``, and the one installed last has overwritten the others'.

    :param content: whether each file is read, and its hash compared with that in the RECORD.
    :raises OSError: when this process may open no more files.
    """
    commands = environment / "bin"
    return [fault for folder in site_packages(environment) for fault in _faults_in(folder, commands, content=content)]


def faults_in(folder: Path) -> list[str]:
    """The same of one directory that packages were installed into, or a wheel was unpacked into."""
    return list(_faults_in(folder, folder / "bin", content=False))


def _faults_in(folder: Path, commands: Path, *, content: bool) -> Iterator[str]:
    promised: dict[str, list[_Promise]] = {}
    for distribution in sorted(folder.glob("*.dist-info")):
        try:
            for promise in _promises(distribution / "RECORD"):
                promised.setdefault(promise.name, []).append(promise)
        except FileNotFoundError:
            yield f"{distribution.name}/RECORD is missing"
        except (UnfitFileError, IsADirectoryError):
            yield f"{distribution.name}/RECORD is no file"
        except (OSError, ValueError, csv.Error) as error:
            if isinstance(error, OSError) and error.errno in OF_THIS_PROCESS:
                raise
            yield f"{distribution.name}/RECORD cannot be read: {error}"
    for name, promises in sorted(promised.items()):
        is_command = name.startswith("../") and Path(os.path.normpath(folder / name)).parent == commands
        path = os.path.join(folder, name)  # noqa: PTH118 - a Path for each of some thousand files takes longer
        if fault := _fault(path, promises, is_command=is_command, content=content):
            yield f"bin/{Path(name).name} {fault}" if is_command else f"{name} {fault}"


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """What a RECORD says of one file; None where it says nothing."""

    name: str
    hash: str | None
    size: int | None


def _promises(record: Path) -> Iterator[_Promise]:
    with io.TextIOWrapper(open_file(record, ANY_SIZE), encoding="utf-8", newline="") as lines:
        for name, hash_, size in csv.reader(lines):
            if not name.endswith(_NOT_AS_PROMISED):
                yield _Promise(name=name, hash=hash_ or None, size=int(size) if size else None)


def _fault(path: str, promises: Sequence[_Promise], *, is_command: bool, content: bool) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 - as above
    except (FileNotFoundError, NotADirectoryError):
        return f"leads to {Path(path).readlink()}, which is missing" if Path(path).is_symlink() else "is missing"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    sizes = {promise.size for promise in promises}
    if is_command and not status.st_size and 0 not in sizes:
        return "is empty"
    if not is_command and None not in sizes and status.st_size not in sizes:
        return f"has {status.st_size} bytes instead of {' or '.join(map(str, sorted(filter(None, sizes))))}"
    if not os.access(path, os.R_OK):
        return f"may not be read by user id {os.geteuid()}"
    if is_command and not os.access(path, os.X_OK):
        return "may not be executed"
    try:
        is_same = not content or _has_content(path, promises)
    except OSError as error:
        if error.errno in OF_THIS_PROCESS:
            raise
        return f"cannot be read: {error.strerror}"
    return "" if is_same else "has another content than was installed"


def _has_content(path: str, promises: Sequence[_Promise]) -> bool:
    """Whether it is what some RECORD says; True where one says nothing, or names a hash that cannot be had here."""
    hashes = {promise.hash for promise in promises}
    if None in hashes:
        return True
    with open_file(path, ANY_SIZE) as file:
        for algorithm in sorted({each.partition("=")[0] for each in hashes if each is not None}):
            try:
                digest = hashlib.new(algorithm)
            except ValueError:  # a host that allows no md5
                return True
            file.seek(0)
            while part := file.read(_PART):
                digest.update(part)
            if f"{algorithm}={base64.urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()}" in hashes:
                return True
    return False
