"""Reading files and texts of users, of others, and of ours: only kinds that have an end, and at most so many bytes.

A DAG file is parsed in a process that parses others too, again and again. A named pipe that nobody writes to, and a
file of gigabytes, are refused with one sentence, before they cost anything.

Somebody else may have written a record, a note of a lock, a journal, an XCom, a Variable or a cached answer, or a full
disk has cut it short. ``content_of``, ``value_of`` and ``unpacked`` check its shape too, and return None for a bad
text: it is as good as no text.
"""

from __future__ import annotations

import base64
import codecs
import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.own_files import open_own

T = TypeVar("T")
C = TypeVar("C")

MEBIBYTE = 1024 * 1024

_PIECE = MEBIBYTE
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENDLESS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The number of bytes that are read of one text.

    :param most: bytes; 0: any number.
    :param setting: the name of the setting in ``[cosmos_venv]`` that gives the limit; empty where there is none.
    """

    most: int
    setting: str = ""

    def is_exceeded_by(self, size: int) -> bool:
        """Return whether a text has too many bytes.

        :param size: of the text, in bytes.
        """
        return 0 < self.most < size

    def refusal(self, size: int | None = None) -> str:
        """Return why a text is not read, to be put behind its name and a colon.

        :param size: in bytes; None where reading ended at the limit.
        """
        found = f"it has {'too many' if size is None else f'{size:,}'} bytes"
        if not self.setting:
            return f"{found}, and at most {self.most:,} are read of such a file"
        return f"{found}, more than [cosmos_venv] {self.setting} = {self.most} (raise that if the file is right)"


CONFIGURATION_FILE = Limit(most=32 * MEBIBYTE)
"""The limit of one ``dbt_project.yml``, ``packages.yml`` or ``profiles.yml``. PyYAML reads 32 MiB in half a minute."""

ANY_SIZE = Limit(most=0)
"""No limit, for files that our own dbt has just written."""

SMALL = Limit(most=8 * MEBIBYTE)
"""The limit of one text. Python objects can take twenty times as much memory as the JSON that they come from."""


class UnfitFileError(OSError):
    """A file that is not read, although it could be opened; ``strerror`` says why."""


def open_file(path: Path | str, limit: Limit) -> BinaryIO:
    """Open a regular file for reading, however the path leads to it.

    :param path: of the file, or of a link to it.
    :param limit: number of bytes that it may have.
    :raises UnfitFileError: when it is no regular file, such as a named pipe, or is longer than the limit.
    :raises OSError: when it cannot be read; IsADirectoryError for a directory.
    """
    # Looked at first: opening a device may already do something.
    _refuse_unfit(path, os.stat(path), limit)  # noqa: PTH116 - each parse reads thousands
    # Should a named pipe take the file's place just now: opening it like this does not wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_unfit(path, os.fstat(descriptor), limit)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path | str, limit: Limit = CONFIGURATION_FILE) -> bytes:
    """Return the content of a regular file.

    :param path: of the file, or of a link to it.
    :param limit: number of bytes that it may have.
    :raises OSError: as ``open_file``; an UnfitFileError too when it has grown longer than the limit.
    """
    with open_file(path, limit) as file:
        return read_pieces(file.read, expected=os.fstat(file.fileno()).st_size, limit=limit, where=str(path))


def read_text(path: Path, parameter: str, *, limit: Limit, way_out: str) -> str:
    """The text of a file that a user names by a parameter, without a byte order mark.

    :param path: the file.
    :param parameter: the parameter that names it, for errors: ``RenderConfig.dbt_ls_path``.
    :param limit: the largest size that is read.
    :param way_out: a sentence that says how to get a right file, for errors.
    :raises CosmosLoadDbtException: when it cannot be read, is longer than the limit, is not UTF-8, or is blank.
    """
    try:
        content = read_file(path, limit)
    except OSError as error:
        raise CosmosLoadDbtException(f"{parameter} {path} cannot be read: {reason_of(error, way_out)}") from None
    content = utf_8(content, f"{parameter} {path}", way_out=way_out)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CosmosLoadDbtException(f"{parameter} {path} is not UTF-8: {error}. {way_out}") from None


def utf_8(content: bytes, shown: str, *, way_out: str) -> bytes:
    """The content without a byte order mark.

    :param content: the bytes of a whole file.
    :param shown: what errors call the file.
    :param way_out: a sentence that says how to get a right file, for errors.
    :raises CosmosLoadDbtException: when it is UTF-16, as some shells write what is redirected into a file, or blank.
    """
    if content.startswith(_UTF_16) or content[:2] in (b"{\0", b"\0{"):
        raise CosmosLoadDbtException(f"{shown} is UTF-16; UTF-8 is needed. {way_out}")
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content or content.isspace():
        raise CosmosLoadDbtException(f"{shown} is empty. {way_out}")
    return content


def sha256_of_file(path: Path | str) -> str:
    """Return the SHA-256 of a regular file of any size, as 64 hexadecimal digits.

    :param path: of the file, or of a link to it.
    :raises OSError: as ``open_file``.
    """
    digest = hashlib.sha256()
    with open_file(path, ANY_SIZE) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def read_pieces(read: Callable[[int], bytes], *, expected: int, limit: Limit, where: str) -> bytes:
    """Return everything that a stream gives, which may be more than it has promised.

    :param read: takes a number of bytes, and returns at most so many; no bytes at the end.
    :param expected: number of bytes that the stream has promised; most often they come in one piece then.
    :param limit: number of bytes that it may have.
    :param where: name of the stream, for the error's ``filename``.
    :raises UnfitFileError: when there are too many.
    """
    if limit.is_exceeded_by(expected):
        raise UnfitFileError(errno.EFBIG, limit.refusal(expected), where)
    pieces, size = [], 0
    piece = read(expected + 1)
    while piece:
        pieces.append(piece)
        size += len(piece)
        if limit.is_exceeded_by(size):
            raise UnfitFileError(errno.EFBIG, limit.refusal(), where)
        piece = read(_PIECE)
    return b"".join(pieces)


def refuse_unfit_file(path: Path | str, limit: Limit = CONFIGURATION_FILE) -> None:
    """Check kind and size of a file that is read later, perhaps by dbt, without opening it.

    :param path: of the file, or of a link to it.
    :param limit: number of bytes that it may have.
    :raises UnfitFileError: as ``read_file``.
    :raises OSError: when there is none, or it is a directory.
    """
    _refuse_unfit(path, os.stat(path), limit)  # noqa: PTH116 - as above


def endless_kind_of(mode: int) -> str | None:
    """Return the kind of a file that has no end, or may keep its reader waiting; None for files, directories and links.

    :param mode: ``st_mode`` of the file.
    """
    return _ENDLESS.get(stat.S_IFMT(mode))


def decoded(content: C, decode: Callable[[C], T]) -> T:
    """Return what a decoder of JSON or MessagePack makes of a text.

    A caller that catches the ValueError of a decoder catches these errors too.

    :param content: of the type that the decoder takes.
    :param decode: the decoder.
    :raises ValueError: a ``msgspec.DecodeError`` where the text is nested deeper than Python follows.
    """
    try:
        return decode(content)
    except RecursionError:
        import msgspec  # callers that decode with json have mostly not imported it

        raise msgspec.DecodeError("it is nested too deeply") from None


def walk(folder: Path | str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield folders, their sub-folders and file names as ``os.walk`` does, through links too, but through no link that
    leads back to a folder it lies in.

    Two links back in one folder make a million paths to it: the kernel follows 40 of them on one path.

    :param folder: where the walk begins.
    """
    inside: dict[str, frozenset[tuple[int, int]]] = {}
    for here, below, names in os.walk(folder, followlinks=True):
        above = inside.pop(here, frozenset())
        try:
            status = os.stat(here)  # noqa: PTH116 - thousands of them
        except OSError:
            continue
        this = (status.st_dev, status.st_ino)
        if this in above:
            below.clear()
            continue
        yield here, below, names
        inside |= {os.path.join(here, name): above | {this} for name in below}  # noqa: PTH118


def content_of(path: Path, limit: Limit = SMALL) -> bytes | None:
    """Return the content of a plain file; None when there is none, or it cannot be read, or is longer than the limit.

    :param path: of the file. No link is followed, and no named pipe is waited for.
    :param limit: number of bytes that it may have.
    """
    try:
        return read_plain(path, limit)
    except OSError:
        return None


def read_plain(path: Path, limit: Limit = SMALL) -> bytes:
    """Return the content of a plain file, as ``content_of`` does.

    :param path: as for ``content_of``.
    :param limit: as for ``content_of``.
    :raises OSError: when it cannot be read; an OddFile when it is no plain file, an UnfitFileError when it is too long.
    """
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return read_pieces(file.read, expected=os.fstat(file.fileno()).st_size, limit=limit, where=str(path))


def whole_lines(path: Path, start: int = 0, limit: Limit = SMALL) -> tuple[list[bytes], int]:
    """Return the next lines of a plain file, and where the lines after them begin, in bytes.

    Call again until no lines come; the place is ``start`` then. A line that is still being written has no end yet.
    Nothing is read behind a line that is longer than the limit.

    :param path: as for ``content_of``.
    :param start: where the first line begins, in bytes.
    :param limit: number of bytes that are read at once.
    """
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
            file.seek(start)
            lines, _, _ = file.read(limit.most).rpartition(b"\n")
    except OSError:
        return [], start
    return (lines.split(b"\n"), start + len(lines) + 1) if lines else ([], start)


def value_of(text: object, kind: type[T], limit: Limit = SMALL) -> T | None:
    """Return the value of a JSON text; None when it is no JSON, or no value of this kind.

    :param text: a text, bytes, or the plain data that Airflow has made of such a text (an XCom).
    :param kind: such as ``dict[str, Any]``, a dataclass or a msgspec Struct. Fields that it does not have are left out.
    :param limit: number of bytes, or characters, that it may have.
    """
    try:
        return parsed(text, kind, limit)
    except ValueError:
        return None


def parsed(text: object, kind: type[T], limit: Limit = SMALL) -> T:
    """Return the value of a JSON text, as ``value_of`` does.

    :param text: as for ``value_of``.
    :param kind: as for ``value_of``.
    :param limit: as for ``value_of``.
    :raises ValueError: saying what is wrong with it.
    """
    import msgspec  # not needed by a task that finds no lock and no other record

    if not isinstance(text, str | bytes):
        return decoded(text, lambda data: msgspec.convert(data, kind))
    if limit.is_exceeded_by(len(text)):
        raise ValueError(limit.refusal(len(text)))
    return decoded(text, msgspec.json.Decoder(kind).decode)


def packed(content: bytes) -> str:
    """Return bytes as a short text, for an XCom or a Variable: base64 of zlib.

    :param content: the bytes.
    """
    return base64.b64encode(zlib.compress(content)).decode()


def unpacked(text: object, limit: Limit = SMALL) -> bytes | None:
    """Return the bytes of a text that ``packed`` has made; None for any other text, and for too many bytes.

    :param text: the text; any other type gives None.
    :param limit: number of bytes, packed and unpacked.
    """
    if not isinstance(text, str) or limit.is_exceeded_by(len(text)):
        return None
    stream = zlib.decompressobj()
    try:
        # A packed text can unpack to a thousand times its size.
        content = stream.decompress(base64.b64decode(text, validate=True), limit.most)
    except (ValueError, zlib.error):
        return None
    return content if stream.eof else None


def _refuse_unfit(path: Path | str, status: os.stat_result, limit: Limit) -> None:
    if kind := endless_kind_of(status.st_mode):
        raise UnfitFileError(errno.EINVAL, f"it is {kind}, and no file that has an end", str(path))
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if limit.is_exceeded_by(status.st_size):
        raise UnfitFileError(errno.EFBIG, limit.refusal(status.st_size), str(path))
