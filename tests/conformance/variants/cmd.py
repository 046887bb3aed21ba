"""Variants of the command line."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from .variant import Variant

_IN_ONE_WORD = {"--profile", "--target"}


class _Equals:
    def run_subprocess(self, command: list[str], *args: Any, **kwargs: Any) -> Any:
        run: Any = super()
        return run.run_subprocess(joined(command), *args, **kwargs)


class SpellsOptionsWithEquals(Variant):
    """Hands an option and its value on as one word, `--target=dev`, which dbt takes as well."""

    keeps = ("CMD-00*", "CMD-010")
    methods: ClassVar[type] = _Equals


def joined(command: list[str]) -> list[str]:
    """The same with profile and target, each with its value, in one word."""
    pairs = pairwise(["", *command, ""])
    spelt = [(before, word) for before, word in pairs if before not in _IN_ONE_WORD]
    values = dict(pairwise(command))
    return [f"{word}={values[word]}" if word in _IN_ONE_WORD else word for _, word in spelt if word]
