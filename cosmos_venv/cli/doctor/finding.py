"""What is examined, and what may be found?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Examined:
    """:param files: DAG files, which need not be importable."""

    files: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault.

    :param check: name of the check that found it, for programs.
    :param subject: what has the fault: a file, a folder.
    :param fault: a sentence; likewise ``way_out``.
    """

    check: str
    subject: str
    fault: str
    way_out: str
