"""The one reader of files and texts that somebody else may have written, or a full disk has cut short.

Records, notes of locks, journals, XComs, Variables and cached answers are read here. The bytes that such a text may
cost are limited, and its shape is checked. ``content_of``, ``value_of`` and ``unpacked`` return None for a bad text: it
is as good as no text.
"""

from __future__ import annotations

import base64
import os
import zlib
from pathlib import Path
from typing import TypeVar

from cosmos_venv.files.durable_files import open_own
from cosmos_venv.files.read_limits import MEBIBYTE, Limit, decoded, read_pieces

T = TypeVar("T")

SMALL = Limit(most=8 * MEBIBYTE)
"""The limit of one text. Python objects can take twenty times as much memory as the JSON that they come from."""


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
