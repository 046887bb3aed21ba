"""What is examined, and what may be found?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """:param files: DAG files, which need not be importable.
    :param directories: where environments are or are to be; on ``virtualenv_search_path`` they may be read-only.
    :param searched: those of ``directories`` that are on it.
    """

    files: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    searched: frozenset[Path] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check has to say of one subject.

    :param check: name of the check, for programs.
    :param subject: what it is about: a file, a folder, an option, a program.
    :param outcome: a warning is no failure: something works in another way than it could.
    :param text: a sentence.
    :param way_out: likewise, what to do; empty where all is well.
    """

    check: str
    subject: str
    outcome: Outcome
    text: str
    way_out: str = ""
