"""Unpacking an environment: its archive becomes an environment of the Python and at the path of this machine.

The archive is read only after its SHA-256 is the one that its record names. Nevertheless each member is judged, as if
anybody had made it: none stands outside of the directory or where something stands already, no link leads out, and no
more is unpacked than the record says. Only what ``pack`` writes is understood: files, links and long names.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cosmos_venv.environments.archive.packing import BadArchive, Contents, is_below, leads_inside
from cosmos_venv.environments.archive.relocation import corrected_record, moved, source_of
from cosmos_venv.environments.archive.zstandard import zstd
from cosmos_venv.files.permissions import umask
from cosmos_venv.files.read_limits import sha256_of_file

_PIECE = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_LONGEST_NAME = 4_096
_BESIDE_CONTENT = 4 * _BLOCK + 2 * _LONGEST_NAME  # heads and padding of one member with two long names
_BEHIND_MEMBERS = tarfile.RECORDSIZE
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_SPECIAL_BITS = 0o7000
_FOLDER, _EXECUTABLE, _FILE = 0o755, 0o755, 0o644
_RECORDS = "lib*/*/site-packages/*.dist-info/RECORD"


def unpack(archive: Path, contents: Contents, environment: Path, *, on_file: Callable[[], None]) -> None:
    """Put the files of an archive into an empty environment, as if they had been installed there.

    :param archive: its file.
    :param contents: what stands in it, by its record.
    :param environment: directory of an environment that was just created, of the same Python.
    :param on_file: called before each file; what it raises ends the unpacking.
    :raises BadArchive: when the archive is another one than its record names, or a member is refused.
    :raises VirtualenvError: when zstandard is missing.
    :raises OSError: when it cannot be read, or the directory cannot be written.
    """
    found = archive.stat().st_size
    if found != contents.size:
        raise BadArchive(f"it has {found} bytes instead of {contents.size}")
    if sha256_of_file(archive) != contents.sha256:
        raise BadArchive("its SHA-256 is not that of its record")
    unpacking = _Unpacking(contents=contents, environment=environment)
    most = contents.unpacked + contents.files * _BESIDE_CONTENT + _BEHIND_MEMBERS
    with archive.open("rb", buffering=0) as file:
        unpacked = _Unpacked(file, most)
        for head in _heads(unpacked):
            on_file()
            unpacking.take(head, unpacked)
    unpacking.finish()


class _Unpacked:
    """The bytes of a file that is packed with zstandard, in order.

    :param file: the packed file.
    :param most: number of bytes that it may unpack to.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._left = most
        self._decompressor = zstd().ZstdDecompressor()
        self._ready = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return the next so many bytes.

        :param size: their number.
        :raises BadArchive: when there are fewer, or what was read is damaged.
        """
        end = self._at + size
        if end <= len(self._ready):
            piece, self._at = self._ready[self._at : end], end
            return piece
        pieces = [self._ready[self._at :]]
        missing = size - len(pieces[0])
        while missing > 0:
            pieces.append(self._next())
            missing -= len(pieces[-1])
        self._ready = pieces[-1]
        self._at = len(self._ready) + missing
        pieces[-1] = self._ready[: self._at]
        return b"".join(pieces)

    def padded(self, size: int) -> bytes:
        """Return the next so many bytes, and pass by what fills their last block.

        :param size: their number.
        :raises BadArchive: as ``read``.
        """
        piece = self.read(size)
        self.read(-size % _BLOCK)
        return piece

    def _next(self) -> bytes:
        piece = b""
        try:
            while not piece and not self._decompressor.eof:
                packed = self._file.read(_PIECE) if self._decompressor.needs_input else b""
                if self._decompressor.needs_input and not packed:
                    break
                piece = self._decompressor.decompress(packed, _PIECE)
        except zstd().ZstdError as error:
            raise BadArchive(f"it cannot be unpacked: {error}") from error
        if not piece:
            raise BadArchive("it is cut short")
        self._left -= len(piece)
        if self._left < 0:
            raise BadArchive("it holds more than its record says")
        return piece


def _heads(unpacked: _Unpacked) -> Iterator[tarfile.TarInfo]:
    """Yield the head of each member. Its content is read before the next one is asked for."""
    long: dict[bytes, str] = {}
    while (block := unpacked.read(_BLOCK)) != bytes(_BLOCK):
        try:
            head = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise BadArchive(f"it cannot be unpacked: {error}") from error
        if head.size < 0:
            raise BadArchive("it cannot be unpacked: a size is negative")
        if head.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            if head.size > _LONGEST_NAME:
                raise BadArchive(f"it holds a name with {head.size} bytes")
            name = unpacked.padded(head.size).partition(b"\0")[0]
            long[head.type] = name.decode("utf-8", "surrogateescape")
            continue
        head.name = long.pop(tarfile.GNUTYPE_LONGNAME, head.name)
        head.linkname = long.pop(tarfile.GNUTYPE_LONGLINK, head.linkname)
        yield head


@dataclass(kw_only=True)
class _Unpacking:
    contents: Contents
    environment: Path
    files: int = 0
    unpacked: int = 0
    links: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    relocated: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.contents.prefix.startswith("/"):
            raise BadArchive(f"the path {self.contents.prefix!r} is none that an environment can have")
        self._old, self._new = os.fsencode(self.contents.prefix), os.fsencode(self.environment)
        self._keeps_modes = not umask() & _FOLDER
        self._names_its_place = frozenset(self.contents.relocated)
        self._written_anew = {name for name in self.contents.relocated if name.endswith(".py")}

    def take(self, head: tarfile.TarInfo, unpacked: _Unpacked) -> None:
        """Write one member of the archive.

        :param head: its head.
        :param unpacked: from which its content is read.
        :raises BadArchive: when it is refused.
        """
        name = head.name
        self._judge(head)
        if head.issym():
            if name in self.links:
                raise _comes_twice(name)
            self.links[name] = head.linkname
            return
        content = unpacked.padded(head.size)
        if name in self._names_its_place:
            content = moved(content, self._old, self._new)
            self.relocated[name] = content
        elif self._written_anew and name.endswith(".pyc") and source_of(name) in self._written_anew:
            return  # of another source: its time is the same, and its size may be
        path = f"{self.environment}/{name}"
        self._make_folder(path)
        mode = _EXECUTABLE if head.mode & stat.S_IXUSR else _FILE
        # O_EXCL: what the creation of the environment has made stays, and no member comes twice.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, mode)
        except FileExistsError as error:
            raise _comes_twice(name) from error
        try:
            written = os.write(descriptor, content)
            while written < len(content):
                written += os.write(descriptor, memoryview(content)[written:])
            # Byte code counts only while the time of its source is the one that it was made of.
            os.utime(descriptor, (head.mtime, head.mtime))
            if not self._keeps_modes:  # what is executed must be, whatever the umask of this process is
                os.fchmod(descriptor, mode)
        except OverflowError as error:
            raise BadArchive(f"{name} has a time that is none") from error
        finally:
            os.close(descriptor)

    def _judge(self, head: tarfile.TarInfo) -> None:
        name = head.name
        if os.path.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
            raise BadArchive(f"{name!r} leads out of the environment")
        if not (head.type in _PLAIN or head.issym()):
            raise BadArchive(f"{name} is neither a file nor a link")
        if head.mode & _SPECIAL_BITS:
            raise BadArchive(f"{name} has special permissions ({head.mode:o})")
        if head.issym() and not leads_inside(name, head.linkname):
            raise _leads_out(name, head.linkname)
        self.files += 1
        self.unpacked += head.size
        if self.files > self.contents.files or self.unpacked > self.contents.unpacked:
            raise BadArchive("it holds more than its record says")

    def _make_folder(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder in self.made or len(folder) <= len(os.fspath(self.environment)):
            return
        self._make_folder(folder)
        try:
            os.mkdir(folder, _FOLDER)  # noqa: PTH102
            if not self._keeps_modes:
                os.chmod(folder, _FOLDER)  # noqa: PTH101
        except FileExistsError as error:
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise _comes_twice(folder) from error
        self.made.add(folder)

    def finish(self) -> None:
        """Make the links, and correct what RECORD files say of files that now name another path.

        :raises BadArchive: when files are missing, or a link leads out by way of another one.
        """
        if self.files != self.contents.files:
            raise BadArchive(f"it holds {self.files} files instead of {self.contents.files}")
        if self.unpacked != self.contents.unpacked:
            raise BadArchive(f"it holds {self.unpacked} bytes instead of {self.contents.unpacked}")
        for name, target in self.links.items():
            self._make_folder(f"{self.environment}/{name}")
            try:
                (self.environment / name).symlink_to(target)
            except FileExistsError as error:
                raise _comes_twice(name) from error
        for name, target in self.links.items():
            if not is_below(self.environment / name, self.environment):
                raise _leads_out(name, target)
        if self.relocated:
            for record in self.environment.glob(_RECORDS):
                text = record.read_bytes()
                name = record.relative_to(self.environment).as_posix()
                if (corrected := corrected_record(text, name, self.relocated)) != text:
                    record.write_bytes(corrected)


def _comes_twice(name: str) -> BadArchive:
    return BadArchive(f"{name} comes twice, or stands in an empty environment")


def _leads_out(name: str, target: str) -> BadArchive:
    return BadArchive(f"{name} is a link that leads to {target}, out of the environment")
