"""The subjects and the findings of the checks of ``doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

Outcome = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The subjects that the checks examine.

    :param files: DAG files, which need not be importable.
    :param directories: directories of environments, those of ``virtualenv_search_path`` among them.
    :param searched: the directories of the search path, which may be read-only.
    """

    files: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    searched: frozenset[Path] = frozenset()


class Finding(NamedTuple):
    """The finding of a check about one subject.

    :param subject: a file, a folder, an option or a program.
    :param outcome: a warning is no failure: something works in another way than it could.
    :param text: a sentence.
    :param way_out: a sentence that says what to do; empty where all is well.
    """

    subject: str
    outcome: Outcome
    text: str
    way_out: str = ""
