"""Packing an environment: what was installed into it goes into one file, as tar with zstandard.

What the creation of an empty environment makes stays out: the interpreter's links, ``pyvenv.cfg``, the scripts that
activate it. It is made anew where the archive is unpacked, of the Python there.
"""

from __future__ import annotations

import mmap
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cosmos_venv.environments.archive.zstandard import zstd
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.read_limits import sha256_of_file
from cosmos_venv.files.untrusted import value_of

# Of a dbt with DuckDB (180 MB): level 1 makes 58 MB in 1.3 s, 3 makes 50 MB in 1.7 s, 6 makes 47 MB in 3.0 s.
_LEVEL = 3
_THREADS = 2

_MADE_BY_CREATION = frozenset({"pyvenv.cfg", "CACHEDIR.TAG", ".gitignore", ".lock", "lib64"})
_ACTIVATION = frozenset(
    {f"activate{ending}" for ending in ("", ".bat", ".csh", ".fish", ".nu", ".ps1", ".xsh", "_this.py")}
    | {"Activate.ps1", "deactivate.bat", "pydoc.bat"}
)
_EXECUTABLE, _PLAIN = 0o755, 0o644
_LARGE = 4 << 20
_MOST_OF_ONE = _LATEST = 0o77777777777  # what eleven octal digits hold: 8 GB, and the year 2242
# An environment with a machine-learning framework and its CUDA has 10 GB and 60,000 files.
_MOST_BYTES, _MOST_FILES = 64 << 30, 1_000_000


class NotPortable(VirtualenvError):
    """An environment that works only where it was built. The text says why, as a clause."""


class BadArchive(VirtualenvError):
    """An archive or a record that is damaged, or holds what no environment holds. The text says what, as a clause."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What stands in one archive.

    :param sha256: of the archive, 64 hexadecimal digits.
    :param size: bytes of the archive.
    :param unpacked: bytes of its files together.
    :param files: number of its files and links.
    :param prefix: path of the environment that was packed.
    :param relocated: names of the files that name this path, and name another one where they are unpacked.
    """

    sha256: str
    size: int
    unpacked: int
    files: int
    prefix: str
    relocated: tuple[str, ...]

    def why_too_large(self) -> str:
        """Return why such an archive is neither made nor unpacked, as a clause; empty where it is."""
        largest = max(self.size, self.unpacked)
        if largest > _MOST_BYTES:
            return f"it has {largest:,} bytes, more than the {_MOST_BYTES:,} that are unpacked"
        if self.files > _MOST_FILES:
            return f"it has {self.files:,} files, more than the {_MOST_FILES:,} that are unpacked"
        return ""


def pack(environment: Path, archive: Path, *, on_file: Callable[[], None]) -> Contents:
    """Write an archive of an environment, and return what stands in it. The same environment makes the same bytes.

    :param environment: directory of a build, which nobody changes.
    :param archive: the file to be made.
    :param on_file: called before each file; what it raises ends the packing.
    :raises NotPortable: when a file can only work where it stands.
    :raises VirtualenvError: when zstandard is missing.
    :raises OSError: when a file cannot be read, or the archive cannot be written.
    """
    refuse_quotation_mark(environment)
    parameters = zstd().CompressionParameter
    options = {parameters.compression_level: _LEVEL, parameters.nb_workers: _THREADS, parameters.checksum_flag: 1}
    unpacked = files = 0
    relocated: list[str] = []
    # In the format of GNU a long name costs one block more, in that of POSIX two for each file with a fraction of a
    # second in its time.
    with (
        archive.open("xb") as file,
        zstd().ZstdFile(file, "w", options=options) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in all_names(environment):
            if is_made_by_creation(environment, name):
                continue
            on_file()
            with open_member(environment, name) as member:
                files += 1
                unpacked += member.info.size
                if member.names_its_place:
                    relocated.append(name)
                tar.addfile(member.info, member.file)
    contents = Contents(
        sha256=sha256_of_file(archive),
        size=archive.stat().st_size,
        unpacked=unpacked,
        files=files,
        prefix=str(environment),
        relocated=tuple(relocated),
    )
    if refusal := contents.why_too_large():
        raise NotPortable(refusal)
    return contents


def refuse_quotation_mark(path: Path) -> None:
    """Raise where no text can be relied upon to name a path as it is.

    :param path: of an environment.
    :raises NotPortable: when it has a quotation mark.
    """
    if "'" in str(path):
        raise NotPortable(f"its path {path} has a quotation mark, which scripts write in more than one way")


def all_names(environment: Path) -> list[str]:
    """Return the names of all files and links of an environment, in order.

    :param environment: directory of a build.
    """
    found: list[str] = []
    for folder, folders, files in os.walk(environment):
        relative = os.path.relpath(folder, environment)
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114
        found += [name if relative == "." else f"{relative}/{name}" for name in (*files, *links)]
    return sorted(found)


def is_made_by_creation(environment: Path, name: str) -> bool:
    """Return whether a file or link was there before anything was installed.

    :param environment: directory of a build.
    :param name: relative to it.
    """
    if name in _MADE_BY_CREATION:
        return True
    folder, _, last = name.rpartition("/")
    if folder != "bin":
        return False
    # python, python3, python3.11: links to each other and to the interpreter, which is another machine's own.
    return last in _ACTIVATION or (environment / name).is_symlink()


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file or link of an environment.

    :param info: its head in an archive.
    :param file: its content, to be read from the beginning; None: it is a link.
    :param names_its_place: whether it names the path of the environment, so that it is another file at another path.
    """

    info: tarfile.TarInfo
    file: BinaryIO | None = None
    names_its_place: bool = False


@contextmanager
def open_member(environment: Path, name: str) -> Iterator[Member]:
    """Open a file or link of an environment.

    :param environment: directory of a build.
    :param name: relative to it.
    :raises NotPortable: when it can only work where it stands.
    :raises OSError: when it cannot be read.
    """
    path = environment / name
    status = path.lstat()
    info = tarfile.TarInfo(name)
    # Byte code counts only while the time of its source is the one that it was made of.
    info.mtime = min(max(int(status.st_mtime), 0), _LATEST)
    info.mode = _EXECUTABLE if status.st_mode & stat.S_IXUSR else _PLAIN
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115 - as it is written
        if not (leads_inside(name, info.linkname) and is_below(path, environment)):
            raise NotPortable(f"{name} is a link that leads to {info.linkname}, out of the environment")
        yield Member(info=info)
        return
    if not stat.S_ISREG(status.st_mode):
        raise NotPortable(f"{name} is neither a file nor a link")
    with path.open("rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        if info.size > _MOST_OF_ONE:
            raise NotPortable(f"{name} has {info.size:,} bytes, more than the {_MOST_OF_ONE:,} that one may have")
        # A library may have gigabytes.
        is_large = info.size > _LARGE
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if is_large else file.read()
        names_its_place = _names_its_place(environment, name, content)
        file.seek(0)
        yield Member(info=info, file=file, names_its_place=names_its_place)


def _names_its_place(environment: Path, name: str, content: bytes | mmap.mmap) -> bool:
    if name.endswith("/direct_url.json") and is_editable(content[:]):
        raise NotPortable(f"{name.split('/')[-2]} is installed in editable mode, from a folder elsewhere")
    # Byte code names its source, and Python puts the right name there when it loads it.
    if content.find(os.fsencode(environment)) < 0 or name.endswith(".pyc"):
        return False
    if content.find(b"\0") >= 0:
        raise NotPortable(f"{name} is a binary file that names its place {environment}")
    if not _is_utf_8(f"{environment}/{name}"):
        raise NotPortable(f"{name!r} names its place, and one of both is no UTF-8")
    return True


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class _DirInfo:
    editable: bool = False


@dataclass(frozen=True)
class _DirectUrl:
    dir_info: _DirInfo = _DirInfo()


def is_editable(direct_url: bytes) -> bool:
    """Return whether a package stands in the folder of its source, by the file that its installer has left.

    :param direct_url: content of its ``direct_url.json``.
    """
    found = value_of(direct_url, _DirectUrl)
    return found is not None and found.dir_info.editable


def leads_inside(name: str, target: str) -> bool:
    """Return whether a relative link stays in the folder that it stands in.

    :param name: of the link, relative to that folder.
    :param target: that it holds.
    """
    if not target or target.startswith("/"):
        return False
    return not os.path.normpath(f"{name.rpartition('/')[0]}/{target}".lstrip("/")).startswith("..")


def is_below(path: Path, folder: Path) -> bool:
    """Return whether a path leads to a place in a folder, whatever links are on the way.

    :param path: of a link, which may lead to nothing.
    :param folder: an existing directory.
    """
    return f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder)}/")
