"""The commands of the reference, from the parsers of the command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from unittest.mock import patch

from conformance import command as conformance_command
from cosmos_venv import cli
from tools.site.undocumented import refuse

Main = Callable[[Sequence[str]], int]
MAINS: Mapping[str, Main] = {
    "cosmos-venv": cli.main,
    "cosmos-conformance": conformance_command.main,
}
"""Command -> the function that it calls. Each makes its parser first."""
_USAGE = "usage: "
_WIDTH = 88  # columns of a usage line
_UNNAMED = ("positional arguments", "options")


class _Made(BaseException):
    """A parser is made, and is to parse now."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def commands_text(mains: Mapping[str, Main] = MAINS) -> str:
    """Return a section for each command, with its arguments and options.

    :raises Undocumented: a command has no sentence, or an argument or option no help.
    """
    found = [each for name, main in mains.items() for each in _commands(parser_of(name, main))]
    missing = [line for command in found for line in _missing(command)]
    refuse(missing)
    return "\n".join(line for command in found for line in _section(command))


def parser_of(name: str, main: Main) -> argparse.ArgumentParser:
    """Return the parser that a command makes for its command line.

    :param name: of the command.
    :param main: the function that makes the parser and has it parse.
    """

    def stop(parser: argparse.ArgumentParser, *_: object) -> argparse.Namespace:
        raise _Made(parser)

    with patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            main([])
        except _Made as made:
            return made.parser
    raise TypeError(f"{name} has parsed nothing")


def _sub_commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """The commands below a parser, each with the words of its other names and of its help."""
    for action in parser._actions:  # argparse offers no other way to them
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {each.dest: each.help or "" for each in action._choices_actions}
        named: dict[int, list[str]] = {}
        for name, each in action.choices.items():
            named.setdefault(id(each), []).append(name)
        for first, *others in named.values():
            words = next((text for dest, text in helps.items() if dest.partition(" ")[0] == first), "")
            yield ", ".join(others), action.choices[first], words


class _Command:
    """A command that runs something, and not only groups other commands.

    :param parser: its parser.
    :param others: its other names.
    :param words: its line in the list of commands.
    """

    def __init__(self, parser: argparse.ArgumentParser, others: str, words: str) -> None:
        self.parser = parser
        self.others = others
        self.words = words
        self.arguments = [
            each
            for each in parser._actions
            if not isinstance(each, argparse._HelpAction | argparse._SubParsersAction)
            if each.help != argparse.SUPPRESS
        ]
        groups = [group for group in parser._action_groups if group._group_actions and group.title not in _UNNAMED]
        self.first_of = {group._group_actions[0]: group.title for group in groups}


def _commands(parser: argparse.ArgumentParser, others: str = "", words: str = "") -> Iterator[_Command]:
    below = list(_sub_commands(parser))
    if not below:
        yield _Command(parser, others, words)
    for other_names, each, text in below:
        yield from _commands(each, other_names, text)


def _missing(command: _Command) -> list[str]:
    name = command.parser.prog
    said = [] if command.parser.description or command.words else [f"the command {name} has no sentence"]
    return said + [f"{_name(each)} of the command {name} has no help" for each in command.arguments if not each.help]


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else _metavar(action)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _section(command: _Command) -> Iterator[str]:
    parser = command.parser
    yield from (f"## `{parser.prog}`", "")
    description = (parser.description or f"{command.words}.").replace("%(prog)s", parser.prog)
    yield from (_plain(description[0].upper() + description[1:]), "")
    if command.others:
        yield from (f"Also: {', '.join(f'`{each}`' for each in command.others.split(', '))}.", "")
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=_WIDTH)
    usage = parser.format_usage().rstrip().replace(f"\n{' ' * len(_USAGE)}", "\n").removeprefix(_USAGE)
    yield from ("```text", usage, "```", "")
    for action in command.arguments:
        if (title := command.first_of.get(action)) is not None:
            yield from (f"**{_plain(title)}**", "")
        yield from (f"`{_as_written(action)}`", f": {_plain(_help(action, parser.prog))}", "")


def _as_written(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"{_metavar(action)}…" if action.nargs in ("*", "+") else _metavar(action)
    value = "" if action.nargs == 0 else f" {_metavar(action)}" + ("…" if action.nargs in ("*", "+") else "")
    return f"{', '.join(action.option_strings)}{value}"


def _help(action: argparse.Action, prog: str) -> str:
    text = (action.help or "") % {**vars(action), "prog": prog}
    text = text.rstrip(".") + "."
    if action.choices is not None and isinstance(action.metavar, str):
        text += f" Values: {', '.join(map(str, action.choices))}."
    is_told = "default" in text.lower()
    if is_told or action.nargs == 0 or action.default in (None, "", argparse.SUPPRESS) or action.default == []:
        return text
    return f"{text} Default: {action.default}."


def _plain(text: str) -> str:
    """The text, with nothing in it that Markdown would take for markup."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text
