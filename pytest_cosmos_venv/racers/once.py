"""What several racers need, who makes it? The first that asks; the others get what it made."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.racers.meeting import LOOK_AGAIN, publish_json


def make_once(folder: Path, name: str, factory: Callable[[], Any], *, timeout: float) -> Any:
    """What ``factory`` returned in the one process that called it to the end.

    :param folder: of all racers; made when missing.
    :raises ToolkitMisuse: when it is no value that another process can be given, or not made in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{quote(name, safe='')}.json"
    with _locked(made.with_suffix(".lock"), name, timeout):
        if not made.exists():
            publish_json(made, _packed(name, factory()))
    kind, value = json.loads(made.read_bytes())
    return Path(value) if kind == "path" else value


def _packed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, Path):
        return "path", str(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise ToolkitMisuse(
            f"once({name!r}): the factory returned {type(value).__name__}, which the other racers, processes of their "
            "own, cannot be given. Return a path, or what JSON can hold."
        ) from None
    return "value", value


@contextmanager
def _locked(file: Path, name: str, timeout: float) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = real_time.monotonic() + timeout
        while not _takes(descriptor):
            if real_time.monotonic() > end:
                raise ToolkitMisuse(
                    f"once({name!r}): another racer is still making it after {timeout:g} s. Give it more time: "
                    f"once({name!r}, …, timeout={timeout * 4:g})."
                )
            real_time.sleep(LOOK_AGAIN)
        yield
    finally:
        os.close(descriptor)


def _takes(descriptor: int) -> bool:
    # lockf, not flock: it ends with this process, although one that the factory forked lives on.
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
