"""Unpacking an environment: its archive becomes an environment of the Python and at the path of this machine.

The archive is read only after its SHA-256 is the one that its record names. Nevertheless each member is judged, as if
anybody had made it: none stands outside of the directory or where something stands already, no link leads out, and no
more is unpacked than the record says. Only what ``pack`` writes is understood: files, links and long names.
"""

from __future__ import annotations

import os
import queue
import stat
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cosmos_venv.environments.archive.packing import BadArchive, Contents, is_below, leads_inside
from cosmos_venv.environments.archive.relocation import corrected_record, moved, source_of
from cosmos_venv.environments.archive.zstandard import zstd
from cosmos_venv.files.permissions import umask
from cosmos_venv.files.read_limits import sha256_of_file

_PIECE = 1 << 20
_AHEAD = 8  # pieces that wait in memory
_TURN = 0.1
_BLOCK = tarfile.BLOCKSIZE
_LONGEST_NAME = 4_096
_BESIDE_CONTENT = 4 * _BLOCK + 2 * _LONGEST_NAME  # heads and padding of one member with two long names
_BEHIND_MEMBERS = tarfile.RECORDSIZE
_END = bytes(_BLOCK)
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
    with closing(_Unpacked(archive, most)) as unpacked:
        for head in _heads(unpacked):
            on_file()
            unpacking.take(head, unpacked)
    unpacking.finish()


class _Unpacked:
    """The bytes of a file that is packed with zstandard, in order.

    A thread unpacks what comes next, so that another processor does a quarter of the work.

    :param archive: the packed file.
    :param most: number of bytes that it may unpack to.
    """

    def __init__(self, archive: Path, most: int) -> None:
        self._zstd = zstd()
        self._left = most
        self._ready = memoryview(b"")
        self._at = 0
        self._pieces: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
        self._is_closed = False
        self._thread = threading.Thread(target=self._unpack, args=(archive,), daemon=True, name="cosmos-venv-unpack")
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._pieces.get(timeout=_TURN)

    def read(self, size: int) -> bytes:
        """Return the next so many bytes.

        :param size: their number.
        :raises BadArchive: when there are fewer, or what was read is damaged.
        :raises OSError: when the file cannot be read.
        """
        end = self._at + size
        if end <= len(self._ready):
            piece, self._at = self._ready[self._at : end], end
            return bytes(piece)
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield the next so many bytes, uncopied: they are half of an environment's files.

        :param size: their number.
        :raises BadArchive: as ``read``.
        :raises OSError: as ``read``.
        """
        while size:
            if self._at == len(self._ready):
                self._ready, self._at = memoryview(self._next()), 0
            piece = self._ready[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def _next(self) -> bytes:
        piece = self._pieces.get()
        if isinstance(piece, self._zstd.ZstdError):
            raise BadArchive(f"it cannot be unpacked: {piece}") from piece
        if isinstance(piece, Exception):
            raise piece
        if not piece:
            raise BadArchive("it is cut short")
        self._left -= len(piece)
        if self._left < 0:
            raise BadArchive("it holds more than its record says")
        return piece

    def _unpack(self, archive: Path) -> None:
        decompressor = self._zstd.ZstdDecompressor()
        try:
            with archive.open("rb", buffering=0) as file:
                while not (decompressor.eof or self._is_closed):
                    packed = file.read(_PIECE) if decompressor.needs_input else b""
                    if decompressor.needs_input and not packed:
                        break
                    if piece := decompressor.decompress(packed, _PIECE):
                        self._pieces.put(piece)
            self._pieces.put(b"")
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            self._pieces.put(error)


class _Head(NamedTuple):
    """What stands before the content of a member."""

    name: str
    mode: int
    size: int
    mtime: int
    kind: bytes
    target: str

    @property
    def is_link(self) -> bool:
        return self.kind == tarfile.SYMTYPE

    @property
    def padding(self) -> int:
        """The bytes that fill the last block of the content."""
        return -self.size % _BLOCK


def _heads(unpacked: _Unpacked) -> Iterator[_Head]:
    """Yield the head of each member. Its content is read before the next one is asked for."""
    long: dict[bytes, str] = {}
    while (block := unpacked.read(_BLOCK)) != _END:
        head = _head(block)
        if head.kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            if head.size > _LONGEST_NAME:
                raise BadArchive(f"it holds a name with {head.size} bytes")
            long[head.kind] = _text(unpacked.read(head.size + head.padding))
            continue
        if long:
            name = long.pop(tarfile.GNUTYPE_LONGNAME, head.name)
            head = head._replace(name=name, target=long.pop(tarfile.GNUTYPE_LONGLINK, head.target))
        yield head


def _head(block: bytes) -> _Head:
    """Return what a block says in GNU's format.

    ``tarfile`` takes fifteen times as long, and reads what no environment needs. The checksum in it counts for nothing:
    that of the archive was looked at.
    """
    if block[257:265] != tarfile.GNU_MAGIC:
        raise BadArchive("it is no tar file of GNU's format")
    try:
        mode, size, mtime = int(block[100:107], 8), int(block[124:135], 8), int(block[136:147], 8)
    except ValueError as error:
        raise BadArchive(f"it cannot be unpacked: {error}") from None
    if min(mode, size, mtime) < 0:
        raise BadArchive("it cannot be unpacked: a number is negative")
    return _Head(_text(block[:100]), mode, size, mtime, block[156:157], _text(block[157:257]))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


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

    def take(self, head: _Head, unpacked: _Unpacked) -> None:
        """Write one member of the archive.

        :param head: its head.
        :param unpacked: from which its content is read.
        :raises BadArchive: when it is refused.
        """
        name = head.name
        self._judge(head)
        if head.is_link:
            if name in self.links:
                raise _comes_twice(name)
            self.links[name] = head.target
            return
        content: Iterable[bytes | memoryview] = unpacked.pieces(head.size)
        if name in self._names_its_place:
            self.relocated[name] = moved(b"".join(content), self._old, self._new)
            content = [self.relocated[name]]
        if self._written_anew and name.endswith(".pyc") and source_of(name) in self._written_anew:
            unpacked.read(head.size)  # of another source: its time is the same, and its size may be
        else:
            self._write(head, content)
        unpacked.read(head.padding)

    def _write(self, head: _Head, content: Iterable[bytes | memoryview]) -> None:
        name = head.name
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
            for piece in content:
                written = os.write(descriptor, piece)
                while written < len(piece):
                    written += os.write(descriptor, memoryview(piece)[written:])
            # Byte code counts only while the time of its source is the one that it was made of.
            os.utime(descriptor, (head.mtime, head.mtime))
            if not self._keeps_modes:  # what is executed must be, whatever the umask of this process is
                os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def _judge(self, head: _Head) -> None:
        name = head.name
        if not (head.kind == tarfile.REGTYPE or head.is_link):
            raise BadArchive(f"{name} is neither a file nor a link")
        if os.path.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
            raise BadArchive(f"{name!r} leads out of the environment")
        if head.mode & _SPECIAL_BITS:
            raise BadArchive(f"{name} has special permissions ({head.mode:o})")
        if head.is_link and not leads_inside(name, head.target):
            raise _leads_out(name, head.target)
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
