"""The steps after an installer: byte code, files held against their RECORD, and writing out to disk.

- Byte code is written once, before anybody uses the environment, by its own Python. The installers do not write it: uv
  starts a Python for each processor and pip compiles in one; the Python that checks the environment anyway does it
  first, and shares the files with others only where there are many.
- What was installed is on the disk before a link leads to it, so it survives a power cut.
- What is installed, and what of it is missing, is read from metadata. Nothing that was installed runs for that.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import credentials
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.files.os_errors import OF_THIS_PROCESS
from cosmos_venv.files.read_limits import ANY_SIZE, UnfitFileError, open_file, refuse_unfit_file
from cosmos_venv.processes import guard
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import GuardedProcess

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from _typeshed import StrPath


# What ends the output of this part; what comes after it is the check's.
WRITTEN = "cosmos-venv: byte code written"

# Run with the source of the check and the folders as arguments. What cannot be read or compiled is no failure (packages
# bring templates and tests for other Pythons), nor is it one for pip; what cannot be written is.
COMPILE_AND_CHECK = f"""
import sys

def compile_all(folders, files_each=150, most=8):
    import errno, importlib.util, marshal, os, warnings
    from importlib.machinery import SourceFileLoader

    def sources():
        for top in folders:
            for folder, below, names in os.walk(top):
                if "__pycache__" in below:
                    below.remove("__pycache__")
                yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))

    def compiled(file):
        loader = SourceFileLoader("byte_code", file)
        status = os.stat(file)
        # PEP 552: magic number, flags (0: judged by time and size), time, size.
        numbers = (0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        head = importlib.util.MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in numbers)
        return head + marshal.dumps(loader.source_to_code(loader.get_data(file), file))

    def write(files):
        for file in files:
            target = importlib.util.cache_from_source(file)
            if os.path.exists(target):
                continue
            try:
                content = compiled(file)
            except Exception:
                continue
            apart = f"{{target}}.{{os.getpid()}}"
            try:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                # Not as importlib writes it, which takes a file that was cut short by a full disk for a whole one.
                with open(apart, "wb") as file_apart:
                    file_apart.write(content)
                os.replace(apart, target)
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    continue
                print(f"byte code cannot be written: {{error}}", flush=True)
                return 1
        return 0

    files = list(sources())
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = max(1, min(processors, most, len(files) // files_each))
    own, helpers = files[::shares], {{}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(1, shares):
            try:
                pid = os.fork()
            except OSError:  # no process more: it takes longer
                own = own + files[number::shares]
                continue
            if not pid:
                status = 2
                try:
                    status = write(files[number::shares])
                finally:
                    os._exit(status)
            helpers[pid] = number
        failed = write(own)
        for pid, number in helpers.items():
            status = os.waitpid(pid, 0)[1]
            if status:  # it has told why, or died: what it has not done is tried here
                failed |= write(files[number::shares])
    return failed

if compile_all(sys.argv[2:]):
    sys.exit(1)
print({WRITTEN!r}, flush=True)
exec(compile(sys.argv[1], "<check>", "exec"), {{"__name__": "__main__"}})
"""

# Run with folders as arguments: names each file of byte code that Python would take for its source's and cannot read. A
# broken one is an error of the import, whatever its source.
CHECK = """
import importlib.util, marshal, os, sys

for top in sys.argv[1:]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if not path.endswith("." + sys.implementation.cache_tag + ".pyc"):
                continue
            if not os.path.isfile(path):
                print(os.path.relpath(path, top), "is no file")
                continue
            try:
                with open(path, "rb") as file:
                    content = file.read()
                # What is shorter than its head, or begins with another Python's, is written anew by an import.
                if len(content) >= 16 and content[:4] == importlib.util.MAGIC_NUMBER:
                    marshal.loads(content[16:])
            except OSError as error:
                print(os.path.relpath(path, top), "cannot be read:", error.strerror)
            except Exception as error:
                print(os.path.relpath(path, top), "is broken:", error)
"""


_LONGEST_WAIT = 10.0  # a disk that others keep busy is no reason to fail, nor to wait for ever
_LONGEST_END = 1.5
_TURN = 0.1

_DISK_ERROR = 3

# One call for all files: one for each of 6,000 took 20 s where this took 0.1 s. Elsewhere all file systems are asked.
_WRITE_OUT = f"""
import errno, os, sys
try:
    import ctypes
    library = ctypes.CDLL(None, use_errno=True)
    syncfs = library.syncfs
except (ImportError, AttributeError, OSError):
    os.sync()
    sys.exit()
if syncfs(os.open(sys.argv[1], os.O_RDONLY)) and ctypes.get_errno() in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
    print(os.strerror(ctypes.get_errno()))
    sys.exit({_DISK_ERROR})
"""

_PART = 1 << 20
_ADDRESS = "direct_url.json"
_METADATA = (".dist-info", ".egg-info")
_COMMAND = re.compile(r"(?m)^(?:\.\./)+bin/([^,/\r\n]+),")
_NOT_AS_PROMISED = (".pyc", ".dist-info/RECORD")


@contextmanager
def written_out(
    directory: Path, *, cancellation: Cancellation, report: Callable[[str], None], keep_open: Sequence[int] = ()
) -> Iterator[None]:
    """See to it that, at the end of this block, the disk has what stood in the directory's file system at its
    beginning.

    The disk works while the block does. Where it takes longer than 10 s, that is reported, and nobody waits any more.

    :param directory: a directory of the file system; all of that file system is written out.
    :param cancellation: ends the waiting.
    :param report: gets a line where the disk is too busy.
    :param keep_open: descriptors that the process which waits for the disk holds open.
    :raises VirtualenvBuildError: when the disk cannot take it.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    # A process of its own under a guard: nothing interrupts a process that waits for a disk.
    command = [sys.executable, "-I", "-S", "-c", _WRITE_OUT, str(directory)]
    process = GuardedProcess(command, keep_open=keep_open)
    try:
        with cancellation.stopping(process.stop):
            yield
            if not _ends_in_time(process, cancellation):
                report(f"The disk of {directory} is busy: what was installed is not yet safe from a power cut.")
                return
            said = b"".join(process.lines()).decode(errors="replace").strip()
            failed = process.wait() == _DISK_ERROR
        cancellation.raise_if_requested()
        if failed:
            raise VirtualenvBuildError(f"What was installed cannot be written to the disk of {directory}: {said}.")
    finally:
        # Nothing ends a process that waits for a disk, and it changes nothing.
        process.close(within=_LONGEST_END)


def _ends_in_time(process: GuardedProcess, cancellation: Cancellation) -> bool:
    """Return whether the process says something or ends before it has been waited for long enough."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while not guard.readable([process.output.fileno()], _TURN):
        cancellation.raise_if_requested()
        if time.monotonic() >= deadline:
            return False
    return True


def site_packages(environment: Path) -> list[Path]:
    """Return the directories that packages are installed into (``lib64`` is a link to ``lib`` or a directory of its
    own).

    :param environment: directory of a virtual environment.
    """
    found = {path.resolve(): path for path in sorted(environment.glob("lib*/*/site-packages"), reverse=True)}
    return sorted(found.values())


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The packages of an environment, by their metadata.

    :param pins: version of each installed distribution.
    :param commands: names of the commands that they bring and that stand in ``bin``: scripts and programs.
    """

    pins: dict[str, str]
    commands: list[str]


def distributions_in(environment: Path) -> list[Distribution]:
    """Return all distributions that are installed. A metadata file that is no regular file counts as missing.

    :param environment: directory of a virtual environment.
    """
    from importlib.metadata import PathDistribution

    class Installation(PathDistribution):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.path = path

        def read_text(self, filename: StrPath) -> str | None:
            try:
                refuse_unfit_file(self.path / filename)  # one that is a named pipe would never be read to its end
            except OSError:
                return None
            return super().read_text(filename)

    folders = (folder.glob("*.*-info") for folder in site_packages(environment))
    return [Installation(path) for path in sorted(itertools.chain(*folders)) if path.suffix in _METADATA]


def installed(environment: Path) -> Installed:
    """Return what the metadata says is installed.

    :param environment: directory of a virtual environment.
    """
    found = distributions_in(environment)
    commands = {name for each in found for name in _commands_of(each)}
    return Installed(
        pins=pins_of(found),
        commands=sorted(name for name in commands if (environment / "bin" / name).is_file()),
    )


def pins_in(environment: Path) -> dict[str, str]:
    """Return the version of each distribution that is installed, by its name.

    :param environment: directory of a virtual environment, which may be damaged.
    """
    return pins_of(distributions_in(environment))


def _commands_of(distribution: Distribution) -> set[str]:
    """Return the commands of a distribution; none where its metadata is damaged."""
    try:
        scripts = {each.name for each in distribution.entry_points if each.group == "console_scripts"}
        # dbt 2 is a program that its wheel brings as it is, without an entry point.
        return scripts | set(_COMMAND.findall(distribution.read_text("RECORD") or ""))
    except ValueError:
        return set()


def pins_of(found: Iterable[Distribution]) -> dict[str, str]:
    """Return the version of each distribution, by its name.

    :param found: distributions; those whose METADATA is lost or damaged are left out.
    """
    return dict(sorted(pin for each in found if (pin := _pin(each))))


def hide_credentials(environment: Path) -> None:
    """Take credentials out of the addresses that installers write down (``direct_url.json``), and correct the RECORDs.

    pip and uv leave out user and password themselves, and write a query as it is.

    :param environment: directory of a virtual environment that nobody uses yet.
    :raises OSError: when a file cannot be replaced.
    """
    for folder in site_packages(environment):
        for file in folder.glob(f"*.dist-info/{_ADDRESS}"):
            text = file.read_text(encoding="utf-8")
            hidden = credentials.remove(text)
            if hidden != text:
                record = file.with_name("RECORD")
                promised = record.read_text(encoding="utf-8")
                name = file.relative_to(folder).as_posix()
                file.write_text(hidden, encoding="utf-8", newline="")
                record.write_text(with_row(promised, name, hidden.encode()), encoding="utf-8", newline="")


def with_row(record: str, name: str, content: bytes) -> str:
    """Return the text of a RECORD with hash and size of a file as it is now; as it was, where it does not name it.

    :param record: the text.
    :param name: of the file, as the RECORD names it.
    :param content: of the file.
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    row = f"{name},sha256={digest},{len(content)}"
    return re.sub(rf"(?m)^{re.escape(name)},[^\n\r]*", lambda _: row, record)


def _pin(distribution: Distribution) -> tuple[str, str] | None:
    """Return name and version; None where the METADATA of a distribution is lost or damaged."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    except (TypeError, KeyError, AttributeError, ValueError, OSError, ImportError):  # as this Python has it
        return None
    return (name, version) if name and version else None


def faults(environment: Path, *, content: bool = False) -> dict[str, str]:
    """Return what is missing or changed of the files that were installed, one clause each, and whose files they are.

    All files that a RECORD names are looked at. Byte code and the RECORD files themselves are promised by nobody (uv
    adds its own files to a RECORD and repeats what the wheel's said of its size). The size of a command in ``bin``
    counts only as part of its content: some installers write the size that it had before they wrote it anew. A file
    that several distributions bring is as any one of them has it: dbt-core, dbt-adapters and each adapter all bring a
    ``dbt/__init__.py``, and the one installed last has overwritten the others'.

    :param environment: directory of a virtual environment.
    :param content: whether each file is read, and its hash compared with that in the RECORD.
    :returns: name of the distribution by the clause.
    :raises OSError: when this process may open no more files.
    """
    commands = environment / "bin"
    found = (_faults_in(folder, commands, content=content) for folder in site_packages(environment))
    return dict(itertools.chain(*found))


def _faults_in(folder: Path, commands: Path, *, content: bool) -> Iterator[tuple[str, str]]:
    promised: dict[str, list[_Promise]] = {}
    for distribution in sorted(folder.glob("*.dist-info")):
        name = distribution.name.partition("-")[0].replace("_", "-")
        try:
            found = list(_promises(distribution / "RECORD", name))
            for promise in found:
                promised.setdefault(promise.name, []).append(promise)
            if not found:
                yield f"{distribution.name}/RECORD is empty", name
        except FileNotFoundError:
            yield f"{distribution.name}/RECORD is missing", name
        except (UnfitFileError, IsADirectoryError):
            yield f"{distribution.name}/RECORD is no file", name
        except (OSError, ValueError, csv.Error) as error:
            if isinstance(error, OSError) and error.errno in OF_THIS_PROCESS:
                raise
            yield f"{distribution.name}/RECORD cannot be read: {error}", name
    for name, promises in sorted(promised.items()):
        # Commands stand outside of the folder, and installers write them anew: their size need not be the promised one.
        is_command = name.startswith("../") and Path(os.path.normpath(folder / name)).parent == commands
        path = os.path.join(folder, name)  # noqa: PTH118 - a Path for each of some thousand files takes longer
        if fault := _fault(path, promises, is_command=is_command, content=content):
            yield f"{f'bin/{Path(name).name}' if is_command else name} {fault}", promises[-1].distribution


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """One line of a RECORD: a file with its hash and its size; None where the line does not say it."""

    distribution: str
    name: str
    hash: str | None
    size: int | None


def _promises(record: Path, distribution: str) -> Iterator[_Promise]:
    with io.TextIOWrapper(open_file(record, ANY_SIZE), encoding="utf-8", newline="") as lines:
        for name, hash_, size in csv.reader(lines):
            if not name.endswith(_NOT_AS_PROMISED):
                size_ = int(size) if size else None
                yield _Promise(distribution=distribution, name=name, hash=hash_ or None, size=size_)


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
    """Return whether a file has the content that some RECORD promises.

    True too where one promises none, or names a hash that cannot be had here.
    """
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
