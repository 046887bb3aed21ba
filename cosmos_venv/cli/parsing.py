"""The parts that the argument parsers of all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich_argparse import RichHelpFormatter

if TYPE_CHECKING:
    from cosmos_venv.cli.output import Result

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_CODES = (
    "Exit codes: 0 all is well (a warning is no failure), 1 something is wrong, 2 the command was used wrongly, 130 "
    "it was interrupted, 141 the reader of its output has gone."
)


class HelpFormatter(RichHelpFormatter):
    """Help in color, with every text as it was written: ``[cosmos_venv]`` is a section and no markup of rich."""

    text_markup = False
    help_markup = False
    group_name_formatter = str


def add_actions(subjects: Actions, name: str, what: str) -> Actions:
    """Add a sub-command that has sub-commands itself, and return these.

    :param subjects: the sub-commands to which it is added.
    :param name: the word on the command line.
    :param what: a few words for the list of sub-commands.
    """
    parser = subjects.add_parser(name, help=what, epilog=EXIT_CODES, formatter_class=HelpFormatter)
    return parser.add_subparsers(title="Actions", required=True, metavar="ACTION")


def add_action(
    actions: Actions, name: str, what: str, run: Callable[[argparse.Namespace], Result]
) -> argparse.ArgumentParser:
    """Add a command with ``--json``. Options that exclude each other are refused by ``options.parser.error``.

    :param actions: the sub-commands to which it is added.
    :param name: the word on the command line.
    :param what: a few words for the list of sub-commands.
    :param run: the command. Its docstring, up to the first field such as ``:param``, is its help.
    """
    description = " ".join((run.__doc__ or "").partition(":param")[0].split())
    parser = actions.add_parser(
        name, help=what, description=description, epilog=EXIT_CODES, formatter_class=HelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(parser=parser, run=run)
    return parser


def existing_path(text: str) -> Path:
    """Return the absolute path of a file or folder that is there.

    :param text: a word of the command line.
    """
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} does not exist")
    return path.resolve()


def absolute_path(text: str) -> Path:
    """Return a path that stays the same whatever the working directory will be.

    :param text: a word of the command line.
    """
    return Path(text).absolute()


def whole_number(text: str) -> int:
    """Return a number that is not negative.

    :param text: a word of the command line.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)
