"""The parser of dbt's command line: command, words and options. It refuses unknown commands and wrong values, in dbt's
words, and takes any option."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .tables import CHOICES, COMMAND_GROUPS, COMMANDS, INTEGERS, MANY_VALUES, ONE_VALUE


class UsageError(Exception):
    """A command line that dbt would refuse.

    :param message: the reason, as dbt 1 says it.
    """

    exit_code = 2


class Invocation:
    """One command line of dbt, read. ``words`` are neither options nor their values; ``options`` are name -> values.

    The attributes of the class are the tables of dbt 1. A subclass for another dbt has other tables.

    :param arguments: the command line without the executable.
    """

    commands = COMMANDS
    command_groups: Mapping[str, frozenset[str]] = COMMAND_GROUPS
    one_value = ONE_VALUE
    many_values = MANY_VALUES
    integers = INTEGERS
    choices_ignore_case = True

    def __init__(self, arguments: list[str]) -> None:
        self.words: list[str] = []
        self.options: dict[str, list[str]] = {}
        # For each option: the number of words before it, its name as written, and its values.
        self.given: list[tuple[int, str, list[str]]] = []
        rest = list(arguments)
        while rest:
            self._take(rest)

    @property
    def command(self) -> str:
        """The command: ``run``, ``docs generate``, ...; ``--version`` where that option is given.

        :raises UsageError: dbt has no such command.
        """
        if self.asks_for_version:
            return "--version"
        first, second = (*self.words, "", "")[:2]
        if second in self.command_groups.get(first, ()):
            return f"{first} {second}"
        if first in self.commands:
            return first
        name = second if first in self.command_groups else first
        raise UsageError(f"No such command '{name}'." if name else "Missing command.")

    @property
    def asks_for_version(self) -> bool:
        """Whether dbt only prints its version."""
        return bool({"--version", "-v", "-V"}.intersection(self.options))

    def last(self, *names: str, default: str) -> str:
        """Return the value of an option under any of its names; where it stands several times, the last.

        :param *names: names of the option, such as ``--target``, ``-t``.
        :param default: returned where the option has no value.
        """
        values = self.all(*names)
        return values[-1] if values else default

    def all(self, *names: str) -> list[str]:
        """Return every value of an option under any of its names, in the order of the command line.

        :param *names: names of the option, such as ``--target``, ``-t``.
        """
        return [value for _, name, values in self.given if name in names for value in values]

    def words_of(self, *names: str) -> list[str]:
        """Return the words in every value of an option under any of its names.

        :param *names: names of the option, such as ``--select``, ``-s``.
        """
        return [word for value in self.all(*names) for word in value.split()]

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Return the values that an option may have; empty where any value is allowed.

        :param name: the option.
        """
        return CHOICES.get(name, ())

    def check_values(self) -> None:
        """Refuse invalid values of options.

        :raises UsageError: a value is no valid choice, or no number.
        """
        for name, values in self.options.items():
            for value in values:
                self._check_value(name, value)

    def _check_value(self, name: str, value: str) -> None:
        choices = self.choices_of(name)
        if choices and (value.lower() if self.choices_ignore_case else value) not in choices:
            listed = ", ".join(map(repr, choices))
            raise UsageError(f"Invalid value for '{name}': {value!r} is not one of {listed}.")
        if name in self.integers and not value.lstrip("+-").isdecimal():
            raise UsageError(f"Invalid value for '{name}': {value!r} is not a valid integer.")

    def _take(self, rest: list[str]) -> None:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            self.words.append(word)
            return
        name, has_value, value = word.partition("=")
        values: list[str] = []
        self.given.append((len(self.words), name, values))
        if has_value:
            values.append(value)
        elif name in self.one_value:
            if not rest:
                raise UsageError(f"Option '{name}' requires an argument.")
            values.append(rest.pop(0))
        elif name in self.many_values:
            while rest and not rest[0].startswith("-"):
                values.append(rest.pop(0))
        self.options.setdefault(name, []).extend(values)


def variable(name: str) -> str | None:
    """Return the value of dbt's environment variable for an option; None where the variable is not set.

    :param name: the option without ``--``.
    """
    name = name.upper().replace("-", "_")
    return os.environ.get("DBT_ENGINE_" + name) or os.environ.get("DBT_" + name)
