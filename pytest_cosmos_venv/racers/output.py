"""What did each racer print? Its standard streams and its log go into files of its own, which outlive its death."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import UnsupportedOperation
from pathlib import Path
from typing import Any

_STREAMS = (("stdout", 1), ("stderr", 2))
_NAMES = ("stdout", "stderr", "log")
_LOG_FORMAT = "%(levelname)-8s %(name)s:%(filename)s:%(lineno)d %(message)s"


@dataclass(frozen=True)
class Output:
    """The files of all racers of one race.

    :param folder: where they lie; made when something is written.
    :param captured: False lets the racers write where the tests' process does, as ``pytest -s`` asks for.
    """

    folder: Path
    captured: bool

    def flush(self) -> None:
        """Before forking: what is still in a buffer would be written by every child again."""
        for name, _ in _STREAMS:
            getattr(sys, name).flush()

    @contextmanager
    def redirected(self, index: int) -> Iterator[None]:
        """In the racer's own process, for good: nothing is put back, since it ends with the block."""
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if not self.captured:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: self._file(index, name).open("w+b", buffering=0) for name in _NAMES}
        for name, descriptor in _STREAMS:
            for number in {descriptor, _number(getattr(sys, name))} - {None}:
                os.dup2(files[name].fileno(), int(number or descriptor))
        handler = logging.StreamHandler(open(files["log"].fileno(), "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        handler.setFormatter(logging.Formatter(_LOG_FORMAT))
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            for name, _ in _STREAMS:
                files[name].write(_in_memory(getattr(sys, name)))

    def of(self, index: int) -> Iterator[tuple[str, str]]:
        """``("stdout", "…")`` and so on, for what that racer wrote."""
        for name in _NAMES:
            with suppress(FileNotFoundError):
                text = self._file(index, name).read_text(encoding="utf-8", errors="replace")
                if text:
                    yield name, text

    def _file(self, index: int, name: str) -> Path:
        return self.folder / f"{index}.{name}"


def _number(stream: Any) -> int | None:
    """The file that pytest captures a stream in; None where that is memory."""
    try:
        stream.flush()
        return int(stream.fileno())
    except (AttributeError, UnsupportedOperation, ValueError):
        return None


def _in_memory(stream: Any) -> bytes:
    stream.flush()
    return str(stream.getvalue()).encode() if _number(stream) is None and hasattr(stream, "getvalue") else b""
