"""What does a file of text hold that somebody else has written? Or why can it not be read?"""

from __future__ import annotations

import codecs
from pathlib import Path

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.limits import read_file
from cosmos_venv.os_errors import told

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path, parameter: str, *, way_out: str) -> str:
    """The file's text, without a byte order mark.

    :param parameter: that names the file, and ``way_out`` a sentence, both for errors.
    :raises CosmosLoadDbtException: when it cannot be read, is too long, is not UTF-8, or is blank.
    """
    try:
        content = read_file(path, settings.limit("artifact_max_bytes"))
    except OSError as error:
        raise CosmosLoadDbtException(f"{parameter} {path} cannot be read: {told(error, way_out)}") from error
    content = utf_8(content, f"{parameter} {path}", way_out=way_out)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CosmosLoadDbtException(f"{parameter} {path} is not UTF-8: {error}. {way_out}") from error


def utf_8(content: bytes, shown: str, *, way_out: str) -> bytes:
    """The content without a byte order mark.

    :param shown: what it is the content of, and ``way_out`` a sentence, both for errors.
    :raises CosmosLoadDbtException: when it is UTF-16, as some shells write what is redirected into a file, or blank.
    """
    if content.startswith(_UTF_16) or content[:2] in (b"{\0", b"\0{"):
        raise CosmosLoadDbtException(f"{shown} is UTF-16; UTF-8 is needed. {way_out}")
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content or content.isspace():
        raise CosmosLoadDbtException(f"{shown} is empty. {way_out}")
    return content
