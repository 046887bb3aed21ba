"""Variants of the command line."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..mutants.mutant import around
from .variant import Variant


class SpellsOptionsWithEquals(Variant):
    """Hands each option on as one word, `--target=dev`, which dbt takes as well."""

    keeps = ("CMD-00*", "CMD-010")

    def spoil(self, operator: Any) -> None:
        around(
            operator, "run_subprocess", lambda sound: lambda line, *rest, **named: sound(joined(line), *rest, **named)
        )


def joined(line: list[str]) -> list[str]:
    """The same with profile and target, each with its value, in one word."""
    options = {"--profile", "--target"}
    words = [f"{word}={value}" if word in options else word for word, value in pairwise([*line, ""])]
    return [word for before, word in pairwise(["", *words]) if before.partition("=")[0] not in options]
