"""Calls of ``cosmos-venv env`` in the process of the test."""

from __future__ import annotations

from typing import Any, Protocol

Printed = tuple[int, dict[str, Any]]
"""The exit code, and what is printed with ``--json``; under ``stderr``, what is said beside it."""


class Cli(Protocol):
    """Call ``cosmos-venv env`` with these words."""

    def __call__(self, *arguments: object) -> Printed: ...


class Fetch(Protocol):
    """Let ``cosmos-venv env fetch`` fetch ``hello`` into a directory of ``tmp_path``."""

    def __call__(self, directory: str) -> Printed: ...
