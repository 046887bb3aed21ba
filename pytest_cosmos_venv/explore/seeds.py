"""Schedules as short texts, by which a test repeats one: ``a12(link) b30 a!``.

A word is a stretch of steps of one contender: ``a`` is ``contender-0``, the number counts its steps, and the name in
brackets is that of the step before which it was stopped. ``a!`` kills it there, ``a:ENOSPC`` lets its next step fail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.explore.schedule import Choice
from pytest_cosmos_venv.explore.steps import GO, KILL, KILLED_BEFORE, ExploredStep

_WORD = re.compile(r"([a-z])(?:(\d+)(?:\((\w+)\))?|(!)|:(E[A-Z]+))")


def seed_of(choices: Sequence[Choice], steps: Sequence[ExploredStep]) -> str:
    """Return the text of a schedule.

    :param choices: what was chosen; after that whoever goes on goes on.
    :param steps: all of its steps.
    """
    words = []
    at = 0
    for (index, action), group in groupby(choices):
        count = len(list(group))
        at += count
        letter = chr(ord("a") + index)
        if action == KILL:
            words.append(f"{letter}!")
        elif action != GO:
            words.append(f"{letter}:{action}")
        else:
            name = next((_name_of(step) for step in steps[at:] if step.contender == index), None)
            words.append(f"{letter}{count}{f'({name})' if name else ''}")
    return " ".join(words)


def _name_of(step: ExploredStep) -> str:
    """The name of a step that was made, or of the one before which its contender was killed."""
    return step.text.removeprefix(KILLED_BEFORE).partition(" ")[0] if step.action == KILL else step.name


def choices_of(seed: str) -> tuple[list[Choice], dict[int, str]]:
    """Return the choices of a text, and which step stands next for a contender after so many of them.

    :param seed: the text.
    :raises ToolkitMisuse: it is none of a schedule.
    """
    choices: list[Choice] = []
    names: dict[int, str] = {}
    for word in seed.split():
        found = _WORD.fullmatch(word)
        if found is None:
            raise ToolkitMisuse(
                f"seed={seed!r}: {word!r} is no part of a schedule, such as a12, a12(link), a! or a:EIO."
            )
        letter, count, name, kill, error = found.groups()
        index = ord(letter) - ord("a")
        if kill or error:
            choices.append((index, KILL if kill else error))
            continue
        choices += [(index, GO)] * int(count)
        if name:
            names[len(choices)] = name
    return choices, names
