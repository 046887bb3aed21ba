"""The parser of dbt's command line: command, words and options. It refuses what dbt refuses, in dbt's words."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .tables import (
    ARGUMENTS,
    BEFORE_THE_COMMAND,
    CHOICES,
    COMMAND_GROUPS,
    COMMANDS,
    EVERYWHERE,
    INTEGERS,
    MANY_VALUES,
    ONE_VALUE,
    options_of,
)


class UsageError(Exception):
    """A command line that dbt would refuse.

    :param message: the reason, as dbt 1 says it.
    :param exit_code: that of dbt.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Invocation:
    """One command line of dbt, read. ``words`` are neither options nor their values; ``options`` are name -> values.

    The attributes of the class are the tables of dbt 1. A subclass for another dbt has other tables.

    :param arguments: the command line without the executable.
    """

    exit_code_of_unexpected = 2
    commands = COMMANDS
    command_groups: Mapping[str, frozenset[str]] = COMMAND_GROUPS
    one_value = ONE_VALUE
    many_values = MANY_VALUES
    integers = INTEGERS
    number_of_words: Mapping[str, int] = ARGUMENTS
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

    def known_options(self, position: int, dbt_version: str) -> frozenset[str]:
        """Return the options that are allowed in a position.

        :param position: the number of words before the option.
        :param dbt_version: the version, such as ``1.10.0``.
        """
        if position == 0:
            return BEFORE_THE_COMMAND
        if position == 1 and self.words[0] in self.command_groups:
            return EVERYWHERE
        return options_of(self.command, dbt_version)

    def choices_of(self, name: str) -> tuple[str, ...]:
        """Return the values that an option may have; empty where any value is allowed.

        :param name: the option.
        """
        return CHOICES.get(name, ())

    def check(self, dbt_version: str) -> None:
        """Refuse a command line as a version of dbt does.

        :param dbt_version: the version, such as ``1.10.0``.
        :raises UsageError: the command does not take an option or word, or a value has the wrong type.
        """
        for position, name, values in self.given:
            if name not in self.known_options(position, dbt_version):
                raise UsageError(f"No such option '{name}'.", self.exit_code_of_unexpected)
            if values and name not in self.one_value | self.many_values:
                raise UsageError(f"Option '{name}' does not take a value.")
        self.check_values()
        command = self.command
        extra = self.words[len(command.split()) + self.number_of_words.get(command, 0) :]
        if extra and command != "--version":
            s = "s" if len(extra) > 1 else ""
            raise UsageError(f"Got unexpected extra argument{s} ({' '.join(extra)})", self.exit_code_of_unexpected)

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
