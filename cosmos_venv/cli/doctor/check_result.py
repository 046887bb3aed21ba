"""The subjects and the results of the checks of ``doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The subjects that the checks examine.

    :param files: DAG files, which need not be importable.
    :param directories: where environments are or are to be; those on ``virtualenv_search_path`` may be read-only.
    :param searched: those of ``directories`` that are on the search path.
    :param requirements: pip requirement strings of an environment that is built to see whom it asks; empty: none is.
    :param adbc_drivers: as in ``VirtualenvArguments``, of the same environment.
    :param adapters: the databases, such as ``duckdb``, whose driver a native dbt is let look for.
    """

    files: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    searched: frozenset[Path] = frozenset()
    requirements: tuple[str, ...] = ()
    adbc_drivers: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ("duckdb",)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of a check for one subject.

    :param check: name of the check, for programs.
    :param subject: a file, a folder, an option or a program.
    :param outcome: a warning is no failure: something works in another way than it could.
    :param text: a sentence.
    :param way_out: a sentence that says what to do; empty where all is well.
    """

    check: str
    subject: str
    outcome: Outcome
    text: str
    way_out: str = ""
