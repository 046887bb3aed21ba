"""Variants of the lock: who holds it for how long, and what is said of it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..mutants.mutant import around
from .variant import Variant


class WaitsWithoutAWord(Variant):
    """Has the directory for itself as long as its dbt runs, by a lock of the kernel, and waits for it in silence."""

    keeps = ("ENV-014", "LOCK-003")

    def spoil(self, operator: Any) -> None:
        if operator.virtualenv_dir is not None:
            around(operator, "execute", lambda sound: alone_in(Path(operator.virtualenv_dir), sound))


def alone_in(directory: Path, sound: Callable[..., Any]) -> Callable[..., Any]:
    def execute(*given: Any, **named: Any) -> Any:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "silent.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return sound(*given, **named)

    return execute
