"""Zstandard: the module of Python 3.14, or its backport."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cosmos_venv.exceptions import VirtualenvError


def zstd() -> Any:
    """Return the module ``compression.zstd``, or ``backports.zstd``, which has the same names.

    :raises VirtualenvError: when this Python has neither, with what to install.
    """
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise VirtualenvError("environments are packed with zstandard, which is missing: install cosmos-venv[remote]")
