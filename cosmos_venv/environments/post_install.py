"""The steps after an installer: files held against their RECORD, shared libraries added, and writing out to disk.

- What was installed is on the disk before a record names it, so it survives a power cut.
- Shared libraries are put into ``lib/``, where a native program looks for them: dbt 2 loads its driver for DuckDB from
  there, by name.
- Installed distributions and missing files are found by their metadata. No installed code runs for that.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import itertools
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import credentials
from cosmos_venv.environments.spec import Library, library_name
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.files import os_errors
from cosmos_venv.files.read_limits import ANY_SIZE, read_file
from cosmos_venv.processes import guard
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import GuardedProcess

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_LONGEST_WAIT = 10.0  # a disk that others keep busy is no reason to fail, nor to wait for ever
_LONGEST_END = 1.5
_TURN = 0.1

# One call for all files took 0.1 s; one for each of 6,000 files took 20 s. Off Linux all file systems are flushed.
_WRITE_OUT = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "syncfs", lambda _: os.sync())(os.open(sys.argv[1], os.O_RDONLY))
"""

_ADDRESS = "direct_url.json"
_METADATA = (".dist-info", ".egg-info")
_LIBRARY = re.compile(r"lib[^/]+\.(so|dylib)")
_MODE = 0o644  # as installers write, whatever the umask of the worker is
_NOT_AS_PROMISED = (".pyc", ".dist-info/RECORD", f".dist-info/{_ADDRESS}")


@contextmanager
def flushed_to_disk(
    directory: Path, *, cancellation: Cancellation, report: Callable[[str], None], keep_open: Sequence[int] = ()
) -> Iterator[None]:
    """Flush the file system of a directory to the disk while the block runs, and wait for the flush at its end.

    Where the flush takes longer than 10 s, a line says so, and the wait ends.

    :param directory: a directory of the file system; all of that file system is written out.
    :param cancellation: ends the waiting.
    :param report: gets a line where the disk is too busy.
    :param keep_open: descriptors that the process which waits for the disk holds open.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    # A process of its own under a guard: nothing interrupts a process that waits for a disk.
    process = GuardedProcess([sys.executable, "-I", "-S", "-c", _WRITE_OUT, str(directory)], keep_open=keep_open)
    try:
        yield
        deadline = time.monotonic() + _LONGEST_WAIT
        while not guard.readable([process.output.fileno()], _TURN):
            cancellation.raise_if_requested()
            if time.monotonic() >= deadline:
                report(f"The disk of {directory} is busy: what was installed is not yet safe from a power cut.")
                break
    finally:
        # A process that waits for a disk cannot be killed. It changes nothing, so it may be left alone.
        process.close(within=_LONGEST_END)


def site_packages(environment: Path) -> list[Path]:
    """Return the directories that packages are installed into (``lib64`` is a link to ``lib`` or a directory of its
    own).

    :param environment: directory of a virtual environment.
    """
    found = {path.resolve(): path for path in sorted(environment.glob("lib*/*/site-packages"), reverse=True)}
    return sorted(found.values())


def distributions_in(environment: Path) -> list[Distribution]:
    """Return all distributions that are installed.

    :param environment: directory of a virtual environment.
    """
    from importlib.metadata import Distribution

    folders = (folder.glob("*.*-info") for folder in site_packages(environment))
    return [Distribution.at(path) for path in sorted(itertools.chain(*folders)) if path.suffix in _METADATA]


def pins_in(environment: Path) -> dict[str, str]:
    """Return the version of each distribution that is installed, by its name.

    Distributions whose METADATA is lost or damaged are left out.

    :param environment: directory of a virtual environment.
    """
    return dict(sorted(pin for each in distributions_in(environment) if (pin := _pin(each))))


def hide_credentials(environment: Path) -> None:
    """Take credentials out of the addresses that installers write down (``direct_url.json``).

    pip and uv leave out user and password themselves, and write a query as it is. The row of a RECORD is not corrected,
    since nothing compares it.

    :param environment: directory of a virtual environment that nobody uses yet.
    :raises OSError: when a file cannot be replaced.
    """
    for folder in site_packages(environment):
        for file in folder.glob(f"*.dist-info/{_ADDRESS}"):
            text = file.read_text(encoding="utf-8")
            hidden = credentials.remove(text)
            if hidden != text:
                file.write_text(hidden, encoding="utf-8", newline="")


def _hash(algorithm: str, content: bytes) -> str:
    """Return a hash as a RECORD has it."""
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _pin(distribution: Distribution) -> tuple[str, str] | None:
    """Return name and version; None where the METADATA of a distribution is lost or damaged."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    except (TypeError, KeyError, AttributeError, ValueError, OSError, ImportError):  # differs between Pythons
        return None
    return (name, version) if name and version else None


def file_faults(environment: Path, *, content: bool = False) -> dict[str, str]:
    """Return the faults of the installed files, missing or changed, one clause each, with the distribution of each.

    All files that a RECORD names are looked at, except byte code, addresses (``hide_credentials``) and the RECORD files
    themselves: their rows need not be right (uv adds its own files to a RECORD and keeps the size of the wheel's
    RECORD). The size of a command in ``bin`` is not compared: some installers record the size and then rewrite the
    command. With ``content`` the hash of a command is compared nevertheless. A file that several distributions bring
    must fit the RECORD of any one of them: dbt-core, dbt-adapters and each adapter all bring a ``dbt/__init__.py``, and
    the distribution installed last has overwritten those of the others.

    :param environment: directory of a virtual environment.
    :param content: whether each file is read, and its hash compared with that in the RECORD.
    :returns: name of the distribution by the clause.
    :raises OSError: when this process may open no more files.
    """
    found: dict[str, str] = {}
    for folder in site_packages(environment):
        promised: dict[str, list[_Promise]] = {}
        for record in sorted(folder.glob("*.dist-info")):
            name = record.name.partition("-")[0].replace("_", "-")
            try:
                for promise in _promises(record / "RECORD", name):
                    promised.setdefault(promise.name, []).append(promise)
            except (OSError, ValueError, csv.Error) as error:
                found[f"{record.name}/RECORD {_reason(error)}"] = name
        for name, promises in sorted(promised.items()):
            # Commands stand outside of the folder, and installers write them anew: their size need not be as promised.
            is_command = Path(os.path.normpath(folder / name)).parent == environment / "bin"
            if fault := _fault(folder / name, promises, is_command=is_command, content=content):
                shown = f"bin/{Path(name).name}" if is_command else name
                found[f"{shown} {fault}"] = promises[-1].distribution
    return found


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """One line of a RECORD: a file with its hash and its size; empty where the line does not say it."""

    distribution: str
    name: str
    hash: str
    size: str


def _promises(record: Path, distribution: str) -> list[_Promise]:
    lines = csv.reader(read_file(record, ANY_SIZE).decode().splitlines())
    found = [_Promise(distribution=distribution, name=name, hash=hash_, size=size) for name, hash_, size in lines]
    if not found:
        raise ValueError("it is empty")
    return [promise for promise in found if not promise.name.endswith(_NOT_AS_PROMISED)]


def _fault(path: Path, promises: Sequence[_Promise], *, is_command: bool, content: bool) -> str:
    hashes, sizes = {promise.hash for promise in promises}, {promise.size for promise in promises}
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "is no file"
        if is_command and not (status.st_size and os.access(path, os.X_OK)):
            return "is empty or may not be executed"
        if not is_command and "" not in sizes and str(status.st_size) not in sizes:
            return f"has {status.st_size} bytes instead of {' or '.join(sorted(sizes, key=int))}"
        if content and "" not in hashes:
            text = read_file(path, ANY_SIZE)
            if not any(_hash(each.partition("=")[0], text) == each for each in hashes):
                return "has another content than was installed"
    except OSError as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    """Return why a file is damaged, as a clause; an error that says nothing of the file is raised."""
    if isinstance(error, OSError) and error.errno in os_errors.OF_THIS_PROCESS:
        raise error
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"


def copy_libraries(libraries: Iterable[Library], environment: Path) -> dict[str, tuple[str, str]]:
    """Copy libraries into an environment, and return the hash and size of each by its name, as a RECORD has them.

    :param libraries: files, and distributions that are installed there; of two with one name the later one counts.
    :param environment: directory of a virtual environment.
    :raises VirtualenvBuildError: where a file cannot be read, or its content no longer fits its digest, or a
        distribution has brought no library.
    """
    copied: dict[str, tuple[str, str]] = {}
    for library in libraries:
        for source in [Path(library.source)] if library.digest else _libraries_of(library.source, environment):
            name = library_name(source)
            copy = environment / "lib" / name
            try:
                shutil.copyfile(source, copy)
                copy.chmod(_MODE)
            except OSError as error:
                words = os_errors.reason_of(error)
                raise VirtualenvBuildError(
                    f"adbc_drivers: {source} cannot be put into {copy.parent}: {words}."
                ) from error
            content = copy.read_bytes()
            if library.digest and hashlib.sha256(content).hexdigest() != library.digest:
                raise VirtualenvBuildError(f"{source} was changed while the environment was built. Try again.")
            copied[name] = _hash("sha256", content), str(len(content))
    return copied


def _libraries_of(distribution: str, environment: Path) -> list[Path]:
    from packaging.utils import canonicalize_name

    wanted = canonicalize_name(distribution)
    files = [
        file
        for each in distributions_in(environment)
        if canonicalize_name(each.metadata["Name"] or "") == wanted
        for file in each.files or ()
        if _LIBRARY.fullmatch(file.name)
    ]
    if not files:
        raise VirtualenvBuildError(
            f"adbc_drivers: the distribution {distribution} has brought no shared library (lib….so) into the "
            "environment. Name another one, or the path of a library."
        )
    return [Path(str(file.locate())) for file in files]


def library_faults(environment: Path, copied: Mapping[str, tuple[str, str]], *, content: bool) -> Iterator[str]:
    """Yield what is missing or changed of the libraries of an environment, one clause each.

    :param environment: directory of a virtual environment.
    :param copied: as ``copy_libraries`` gave it back.
    :param content: whether each file is read and compared with its hash.
    """
    for name, (hash_, size) in copied.items():
        promise = _Promise(distribution="", name=name, hash=hash_, size=size)
        if fault := _fault(environment / "lib" / name, [promise], is_command=False, content=content):
            yield f"lib/{name} {fault}"
