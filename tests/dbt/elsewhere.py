"""A place that other machines reach, in the memory of a test."""

from __future__ import annotations

import time


class Shelf:
    """Files by name, each with the time at which it was written, and the names that were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, float]] = {}
        self.asked: list[str] = []

    def read(self, name: str) -> tuple[bytes, float] | None:
        self.asked.append(name)
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.files[name] = content, time.time()
