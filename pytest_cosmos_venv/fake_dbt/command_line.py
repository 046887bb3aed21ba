"""dbt's command line, read into a command, its words and its options; refused where dbt refuses it, in dbt's words."""

from __future__ import annotations

import os

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
    WITHOUT_VARIABLE,
    options_of,
)


class UsageError(Exception):
    """A command line that dbt would refuse.

    :param message: the reason, as dbt says it.
    :param of: the command whose usage dbt shows; empty: its own.
    """

    exit_code = 2

    def __init__(self, message: str, of: str = "") -> None:
        super().__init__(message)
        self.of = of

    def __str__(self) -> str:
        name = ("dbt " + self.of).strip()
        takes = "[OPTIONS]" if self.of and self.of not in COMMAND_GROUPS else "[OPTIONS] [COMMAND] [ARGS]..."
        return f"Usage: {name} {takes}\nTry '{name} --help' for help.\n\nError: {self.args[0]}"


class Invocation:
    """One command line of dbt, read. ``words`` are neither options nor their values; ``options`` are name -> values.

    :param arguments: the command line without the executable.
    """

    one_value = ONE_VALUE
    many_values = MANY_VALUES

    def __init__(self, arguments: list[str]) -> None:
        self.words: list[str] = []
        self.options: dict[str, list[str]] = {}
        # Of each option: the number of words before it, its name as it is written, and its values.
        self.given: list[tuple[int, str, list[str]]] = []
        rest = list(arguments)
        while rest:
            self._take(rest)

    @property
    def command(self) -> str:
        """The command: ``run``, ``docs generate``, ...; ``--version`` where that is asked for.

        :raises UsageError: dbt has no such command.
        """
        if {"--version", "-v", "-V"}.intersection(self.options):
            return "--version"
        if not self.words:
            raise UsageError("Missing command.")
        first = self.words[0]
        second = self.words[1] if len(self.words) > 1 else ""
        if first in COMMANDS:
            return first
        if first in COMMAND_GROUPS and second in COMMAND_GROUPS[first]:
            return f"{first} {second}"
        if first in COMMAND_GROUPS and not second:
            raise UsageError("Missing command.", of=first)
        if first in COMMAND_GROUPS:
            raise UsageError(f"No such command '{second}'.", of=first)
        raise UsageError(f"No such command '{first}'.")

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

    def lacking_value(self, name: str) -> UsageError:
        """Return the refusal of an option at the end of the line that takes a value.

        :param name: the option.
        """
        return UsageError(f"Option '{name}' requires an argument.", of=" ".join(self.words[:1]))

    def check(self, dbt_version: str) -> None:
        """Refuse what a dbt of a version refuses, as it does.

        :param dbt_version: the version, such as ``1.10.0``.
        :raises UsageError: an option or word that the command does not take, a value of another kind.
        """
        self._check_options(dbt_version)
        self.check_values()
        command = self.command
        if command == "--version":
            return
        extra = self.words[len(command.split()) + ARGUMENTS.get(command, 0) :]
        if extra:
            s = "s" if len(extra) > 1 else ""
            raise UsageError(f"Got unexpected extra argument{s} ({' '.join(extra)})", of=command)

    def check_values(self) -> None:
        """Refuse the values, of options and of dbt's variables for them, that no dbt could make sense of.

        :raises UsageError: a value is none of those to choose from, or no number.
        """
        for name in {*CHOICES, *INTEGERS}:
            for value in self.options.get(name, ()):
                _check_value(name, value, of=self.command)
            told = None if name in WITHOUT_VARIABLE else variable(name[2:])
            if told:
                _check_value(name, told, of="")

    def _check_options(self, dbt_version: str) -> None:
        in_group = self.words[:1] and self.words[0] in COMMAND_GROUPS
        for position, name, _ in self.given:
            if position == 0:
                known, of = BEFORE_THE_COMMAND, ""
            elif position == 1 and in_group:
                known, of = EVERYWHERE, self.words[0]
            else:
                known, of = options_of(self.command, dbt_version), self.command
            if name not in known:
                raise UsageError(f"No such option '{name}'.", of=of)
            self._check_values(name, of)

    def _check_values(self, name: str, of: str) -> None:
        for value in self.options[name]:
            if name not in ONE_VALUE and name not in MANY_VALUES:
                raise UsageError(f"Option '{name}' does not take a value.", of=of)
            _check_value(name, value, of)

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
                raise self.lacking_value(name)
            values.append(rest.pop(0))
        elif name in self.many_values:
            while rest and not rest[0].startswith("-"):
                values.append(rest.pop(0))
        self.options.setdefault(name, []).extend(values)


def variable(name: str) -> str | None:
    """Return the value of the environment variable that dbt has for an option; None where it is not set.

    :param name: the option without ``--``.
    """
    name = name.upper().replace("-", "_")
    return os.environ.get("DBT_ENGINE_" + name) or os.environ.get("DBT_" + name)


def _check_value(name: str, value: str, of: str) -> None:
    if name in CHOICES and value.lower() not in CHOICES[name]:
        listed = ", ".join(map(repr, CHOICES[name]))
        raise UsageError(f"Invalid value for '{name}': {value!r} is not one of {listed}.", of=of)
    if name in INTEGERS and not value.lstrip("+-").isdecimal():
        raise UsageError(f"Invalid value for '{name}': {value!r} is not a valid integer.", of=of)
