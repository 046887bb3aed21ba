"""Atomic writes: a reader never sees half of one, even if the writer is killed. Copied with the fake dbt."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_line(file: Path, facts: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file, which is readable by this user only, because a test may keep secrets.

    :param file: the file; made where it is missing.
    :param facts: the fields, as JSON can hold them.
    """
    # One write call for the whole line: the process may be killed, and other processes append at the same moment.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(facts)}\n".encode())
    finally:
        os.close(descriptor)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the complete JSON lines of a file, without an unfinished last line; none without a file.

    :param file: the file.
    """
    try:
        *lines, _unfinished = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file atomically: a reader finds the former content or the whole new content.

    :param file: the file.
    :param content: its content; a text is written in UTF-8.
    """
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.replace(file)
