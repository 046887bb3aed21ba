"""What is a copy of a file that lies elsewhere, and what is said where there is none?"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cosmos_venv.files.read_limits import NO_ROOM

T = TypeVar("T")


class RemoteError(Exception):
    """The file cannot be had. The text says why, without credentials.

    :ivar has_answered: whether that is the answer of who keeps the file; else none came, and a later one may differ.
    """

    def __init__(self, reason: str, *, has_answered: bool) -> None:
        super().__init__(reason)
        self.has_answered = has_answered


@dataclass(frozen=True, kw_only=True)
class Copy:
    """:param version: by which who keeps the file can tell whether it has changed; empty where it names none."""

    content: bytes
    version: Mapping[str, str]

    def packed(self) -> bytes:
        """As one text of bytes, to be kept."""
        head = {"version": dict(self.version), "crc32": zlib.crc32(self.content)}
        return json.dumps(head).encode() + b"\n" + self.content

    @classmethod
    def unpacked(cls, packed: bytes) -> Copy | None:
        """What was packed; None where it was cut short."""
        head, _, content = packed.partition(b"\n")
        try:
            said = json.loads(head)
            is_whole = said["crc32"] == zlib.crc32(content)
            return cls(content=content, version=said["version"]) if is_whole else None
        except (ValueError, KeyError, TypeError):
            return None


def within(seconds: float, work: Callable[[], T]) -> T:
    """What the work gives, which is left to itself when it takes longer: clients of object stores wait for minutes.

    :raises RemoteError: when it takes longer. What the work raises is raised here.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it belongs
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="cosmos-venv-remote")
    thread.start()
    thread.join(seconds)
    if errors:
        if isinstance(errors[0], MemoryError):
            raise RemoteError(NO_ROOM, has_answered=True)
        raise errors[0]
    if not results:
        raise RemoteError(f"there was no answer within {seconds:.0f} s", has_answered=False)
    return results[0]
