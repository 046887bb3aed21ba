"""The commands in the reference are those of the parsers, and what has no help is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import entry_points

import pytest

from tools.site.commands_page import MAINS, commands_text, parser_of
from tools.site.undocumented import Undocumented


def boat(parser: argparse.ArgumentParser) -> int:
    """A command whose parser this is."""
    parser.parse_args([])
    return 0


def sail(_: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("sail", description="Sails.")
    commands = parser.add_subparsers(required=True)
    go = commands.add_parser("go", help="sail away", aliases=["leave"])
    go.add_argument("ports", nargs="+", metavar="PORT", help="where to, with [brackets]")
    go.add_argument("-k", "--knots", type=int, default=7, help="how fast")
    go.add_argument("--rig", choices=["sloop", "ketch"], help="which rig %(prog)s takes")
    go.add_argument("--hidden", help=argparse.SUPPRESS)
    return boat(parser)


def test_a_command_is_told_with_its_usage_arguments_options_and_defaults() -> None:
    assert commands_text({"sail": sail}).splitlines() == [
        "## `sail go`",
        "",
        "Sail away.",
        "",
        "Also: `leave`.",
        "",
        "```text",
        "sail go [-h] [-k KNOTS] [--rig {sloop,ketch}] PORT [PORT ...]",
        "```",
        "",
        "`PORT…`",
        r": where to, with \[brackets\].",
        "",
        "`-k, --knots KNOTS`",
        ": how fast. Default: 7.",
        "",
        "`--rig sloop|ketch`",
        ": which rig sail go takes.",
    ]


def test_all_commands_of_both_distributions_are_told() -> None:
    installed = {
        each.name
        for each in entry_points(group="console_scripts")
        if each.module.startswith(("cosmos_venv", "pytest_cosmos_venv"))
    }

    assert set(MAINS) == installed
    assert "## `cosmos-venv env warm`" in commands_text()


def test_each_command_that_a_parser_has_is_told_once() -> None:
    headings = [line for line in commands_text().splitlines() if line.startswith("## ")]

    assert len(headings) == len(set(headings)) > 15


def test_an_option_without_help_is_refused() -> None:
    def main(_: Sequence[str]) -> int:
        parser = argparse.ArgumentParser("sail", description="Sails.")
        parser.add_argument("--knots")
        parser.add_argument("port")
        return boat(parser)

    with pytest.raises(Undocumented) as refused:
        commands_text({"sail": main})

    assert refused.value.missing == (
        "--knots of the command sail has no help",
        "PORT of the command sail has no help",
    )


def test_a_command_without_a_sentence_is_refused() -> None:
    with pytest.raises(Undocumented, match=r"^the command sail has no sentence$"):
        commands_text({"sail": lambda _: boat(argparse.ArgumentParser("sail"))})


def test_a_command_that_parses_nothing_is_an_error() -> None:
    with pytest.raises(TypeError, match="sail has parsed nothing"):
        parser_of("sail", lambda _: 0)
