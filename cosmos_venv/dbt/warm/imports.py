"""What is imported before commands come, and which environment variables does that look at?"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def import_all(modules: Mapping[str, bool], packages: list[str]) -> None:
    """Import modules, and each package inside of some packages.

    :param modules: by name, whether it must be there.
    :raises BaseException: whatever a module raises that must be there.
    """
    for name, is_required in modules.items():
        _import(name, is_required=is_required)
    for name in packages:
        parent = sys.modules.get(name)
        for found in pkgutil.iter_modules(getattr(parent, "__path__", ())):
            if found.ispkg:
                _import(f"{name}.{found.name}", is_required=False)


def _import(name: str, *, is_required: bool) -> None:
    try:
        importlib.import_module(name)
    except Exception:
        if is_required:
            raise


@contextmanager
def variables_read() -> Iterator[dict[str, str | None]]:
    """The environment variables that are looked at within this block, each with its value then."""
    kind: Any = type(os.environ)
    looked_at: dict[str, str | None] = {}
    before = kind.__getitem__

    def recording(self: Any, name: Any) -> Any:
        try:
            value = before(self, name)
        except KeyError:
            looked_at[os.fsdecode(name)] = None
            raise
        looked_at[os.fsdecode(name)] = os.fsdecode(value)
        return value

    kind.__getitem__ = recording
    try:
        yield looked_at
    finally:
        kind.__getitem__ = before
