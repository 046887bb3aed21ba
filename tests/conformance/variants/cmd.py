"""Variants of the command line, and of what has to be given for one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pytest_cosmos_venv.conformance.adapter import Outcome, Task

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


class SaysItByAVariable(Variant):
    """Tells dbt by its variable to parse anew, and not by an option."""

    keeps = ("CMD-019",)

    def begin(self) -> None:
        base = part("operators.virtualenv").DbtVirtualenvBaseOperator
        sound = base.run_subprocess

        def run_subprocess(operator: Any, command: list[str], env: dict[str, str], *args: Any, **kwargs: Any) -> Any:
            words = [word for word in command if word != "--no-partial-parse"]
            said = {"DBT_PARTIAL_PARSE": "False"} if words != command else {}
            return sound(operator, words, {**env, **said}, *args, **kwargs)

        base.run_subprocess = run_subprocess


class RefusesToRunWithoutRequirements(Variant):
    """Raises an error without requirements, which it calls by a name of its own, and writes no record beside it."""

    keeps = ("ENV-009",)

    def perform(self, task: Task) -> Outcome:
        if "py_requirements" in task.arguments and not task.arguments["py_requirements"]:
            return Outcome(state="failed", exception="ValueError: requirements are missing: name dbt-core at least.")
        return super().perform(task)


def joined(command: list[str]) -> list[str]:
    """The same with profile and target, each with its value, in one word."""
    pairs = pairwise(["", *command, ""])
    spelt = [(before, word) for before, word in pairs if before not in _IN_ONE_WORD]
    values = dict(pairwise(command))
    return [f"{word}={values[word]}" if word in _IN_ONE_WORD else word for _, word in spelt if word]
