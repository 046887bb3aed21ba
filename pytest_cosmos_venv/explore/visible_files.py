"""The replacement for ``open``: its files are objects of ``io``, and stop before each read and write."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable
from typing import Any

from pytest_cosmos_venv.explore.stepping import stepper
from pytest_cosmos_venv.explore.steps import READ, WRITE
from pytest_cosmos_venv.explore.visible_calls import close_seen, look_at_process, of_descriptor, os_open

_real_open = io.open


class _SeenFile(io.FileIO):
    """A file below the explored folder."""

    def readinto(self, buffer: Any, /) -> Any:
        return self._step("read", READ, lambda: super(_SeenFile, self).readinto(buffer))

    def readall(self) -> Any:
        return self._step("read", READ, super().readall)

    def read(self, size: int | None = -1, /) -> Any:
        return self._step("read", READ, lambda: super(_SeenFile, self).read(-1 if size is None else size))

    def write(self, data: Any, /) -> Any:
        return self._step("write", WRITE, lambda: super(_SeenFile, self).write(data))

    def truncate(self, size: int | None = None, /) -> Any:
        return self._step("truncate", WRITE, lambda: super(_SeenFile, self).truncate(size))

    def close(self) -> None:
        here = stepper()
        if self.closed or here is None or not self.closefd:
            super().close()
            return
        close_seen(here, self.fileno(), super().close)

    def _step(self, name: str, mode: str, act: Callable[[], Any]) -> Any:
        here = stepper()
        path = None if here is None or self.closed else here.places.opened.get(self.fileno())
        if here is None or path is None:
            return act()
        return of_descriptor(here, name, mode, self.fileno(), path, act, mode == WRITE)


def replaced_open() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the real ``open`` and what is put in its place."""
    return {builtins.open: _open}


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> Any:
    here = stepper()
    if here is None or (here.places.path_of(file) is None and opener is None):
        rest = (mode, buffering, encoding, errors, newline, closefd, opener)
        process = None if here is None else here.places.process_of(file)
        return look_at_process(here, process, lambda: _real_open(file, *rest))
    raw_mode = "".join(letter for letter in mode if letter in "rwxa+")
    is_binary = "b" in mode
    if is_binary and (encoding is not None or errors is not None or newline is not None):
        raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
    raw = _SeenFile(file, raw_mode, closefd, opener or _opener)
    if buffering == 0:
        if not is_binary:
            raw.close()
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    buffer: Any = (
        io.BufferedRandom(raw, size)
        if "+" in mode
        else io.BufferedReader(raw, size)
        if "r" in mode
        else io.BufferedWriter(raw, size)
    )
    if is_binary:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode  # type: ignore[misc] # as open() does
    return text


def _opener(path: str, flags: int) -> int:
    return os_open(path, flags, 0o666)
