"""How is the command line taken apart? What the parsers of all commands have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich_argparse import RichHelpFormatter

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_CODES = (
    "Exit codes: 0 all is well (a warning is no failure), 1 something is wrong, 2 the command was used wrongly, "
    "130 it was interrupted, 141 nobody reads its output any more."
)


class HelpFormatter(RichHelpFormatter):
    """In color, with every text as it was written: ``[cosmos_venv]`` is a section and no markup, DAG no name."""

    text_markup = False
    help_markup = False
    group_name_formatter = str


def add_subject(
    subjects: Actions, name: str, what: str, description: str | None = None, aliases: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """A parser of its own below another."""
    parser: argparse.ArgumentParser = subjects.add_parser(
        name, help=what, description=description, epilog=EXIT_CODES, formatter_class=HelpFormatter, aliases=aliases
    )
    return parser


def add_actions(subjects: Actions, name: str, what: str) -> Actions:
    """A subject of which several things can be asked."""
    return add_subject(subjects, name, what).add_subparsers(title="Actions", required=True, metavar="ACTION")


def add_action(
    actions: Actions, name: str, what: str, description: str, aliases: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """A command, with ``--json``. Options that exclude each other are refused by ``options.parser.error``."""
    parser = add_subject(actions, name, what, description, aliases)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(parser=parser)
    return parser


def existing_file(text: str) -> Path:
    """The path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return path.resolve()


def existing_path(text: str) -> Path:
    """The path of a file or folder that is there."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} does not exist")
    return path.resolve()


def absolute_path(text: str) -> Path:
    """The path, whatever the working directory will be."""
    return Path(text).absolute()


def existing_directory(text: str) -> Path:
    """The same of a folder that is there."""
    path = absolute_path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {path}")
    return path


def whole_number(text: str) -> int:
    """A number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)
