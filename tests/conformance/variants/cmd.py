"""Variants of the command line."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..mutants.inside import part
from .variant import Variant

_IN_ONE_WORD = {"--profile", "--target"}


class SpellsOptionsWithEquals(Variant):
    """Hands an option and its value on as one word, `--target=dev`, which dbt takes as well."""

    keeps = ("CMD-00*", "CMD-010")

    def begin(self) -> None:
        base = part("operators.virtualenv").DbtVirtualenvBaseOperator
        sound = base.run_subprocess

        def run_subprocess(operator: Any, command: list[str], *args: Any, **kwargs: Any) -> Any:
            return sound(operator, joined(command), *args, **kwargs)

        base.run_subprocess = run_subprocess


def joined(command: list[str]) -> list[str]:
    """The same with profile and target, each with its value, in one word."""
    pairs = pairwise(["", *command, ""])
    spelt = [(before, word) for before, word in pairs if before not in _IN_ONE_WORD]
    values = dict(pairwise(command))
    return [f"{word}={values[word]}" if word in _IN_ONE_WORD else word for _, word in spelt if word]
