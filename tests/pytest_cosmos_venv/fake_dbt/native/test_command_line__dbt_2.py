"""The fake of dbt 2 takes and refuses the command lines that the real one takes and refuses."""

from __future__ import annotations

import re
from functools import cache

import pytest

from pytest_cosmos_venv.fake_dbt.command_line import UsageError
from pytest_cosmos_venv.fake_dbt.native.command_line import (
    CHOICES,
    COMMAND_GROUPS,
    COMMANDS,
    EVERYWHERE,
    HIDDEN,
    MANY_VALUES,
    ONE_VALUE,
    OPTIONS,
    NativeInvocation,
    options_of,
)
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Answer, Dbt
from tests.pytest_cosmos_venv.inner_run import python_of

NEVER = "--zzz"
"""An option that no dbt has: what stands before it on a command line was taken where this is what is refused."""
TAKEN = [
    "run --select a b --exclude c --full-refresh --vars {} -t dev --threads 4",
    "--quiet --log-format json run -s a",
    "run -x -q -d",
    "run -m a --no-partial-parse --warn-error-options {}",
    "build --resource-type model seed --indirect-selection cautious --empty",
    "ls --output json --output-keys unique_id name --resource-type model",
    "source --quiet freshness --check-all",
    "run-operation grant --args {}",
    "run --threads=4 --select=a",
    "run -s a -s b -t a -t b",
    "--host x run --static-analysis unsafe",
    "--fail-fast --select a --no-write-json ls",
]
REFUSED = [
    "fly",
    "source",
    "--select a run",
    "run -q --quiet",
    "run --nope",
    "run --resource-type model",
    "run extra",
    "run-operation one two three",
    "run --threads many",
    "run --log-format xml",
    "ls --resource-type all",
    "ls --resource-types modle",
    "run --full-refresh=yes",
    "run --target",
    "run -s",
    "deps --add-package",
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """The real dbt 2 in an empty folder: what it takes it cannot do there."""
    return Dbt(python_of("dbt2").with_name("dbt"), tmp_path_factory.mktemp("empty"))


@cache
def help_of(dbt: Dbt, command: str) -> str:
    return dbt.run(*command.split(), "--help").stdout


def options_in(text: str) -> dict[str, str]:
    """Option -> how its value is shown; empty for a flag."""
    found = re.findall(r"^  (?:    |(-\w), )(--[\w-]+)(?: (.+))?$", text, re.MULTILINE)
    return {name: value for short, long, value in found for name in (short, long) if name}


@pytest.mark.long
def test_the_tables_are_those_of_its_help(real: Dbt) -> None:
    every_option: dict[str, str] = {}
    for command in [*OPTIONS]:
        options = options_in(help_of(real, command))
        visible = {name for name in options_of(command) if name in OPTIONS[command].split()}
        assert set(options) == EVERYWHERE | visible, command
        every_option |= options

    assert {name for name, value in every_option.items() if value and "..." not in value} == ONE_VALUE - HIDDEN
    hidden = {*HIDDEN, "--resource-types", "--exclude-resource-types"}
    assert {name for name, value in every_option.items() if "..." in value} == MANY_VALUES - hidden
    commands = set(re.findall(r"^  ([\w-]+)  ", help_of(real, ""), re.MULTILINE))
    assert commands - {"help", "system"} == COMMANDS | {"source"}
    for group, below in COMMAND_GROUPS.items():
        text = help_of(real, group).partition("Commands:")[2].partition("Options:")[0]
        assert set(re.findall(r"^  ([\w-]+)  ", text, re.MULTILINE)) - {"help"} == below


@pytest.mark.long
def test_what_stands_in_no_help_is_taken_too_and_before_the_command(real: Dbt) -> None:
    values = {"--indirect-selection": "eager", **{name: choices[0] for name, choices in CHOICES.items()}}
    for name in sorted((HIDDEN | EVERYWHERE) - {"--help", "-h"}):
        value = [values.get(name, "{}" if name in ("--vars", "--warn-error-options") else "1")]
        option = [name, *(value if name in ONE_VALUE | MANY_VALUES else [])]
        for words in (["run", *option, NEVER], [*option, "--no-print", "run", NEVER]):
            if "--no-print" not in option:
                assert first_line(real.run(*words)) == f"error: unexpected argument '{NEVER}' found", words


@pytest.mark.parametrize("line", TAKEN)
def test_a_line_is_taken(real: Dbt, line: str) -> None:
    NativeInvocation(line.split()).check("2.0.0a4")

    refusal = first_line(real.run(*line.split(), NEVER))
    assert refusal == f"error: unexpected argument '{NEVER}' found", "dbt refuses this line"


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_is_refused_in_dbts_words(real: Dbt, line: str) -> None:
    expected = real.run(*line.split())

    with pytest.raises(UsageError) as refused:
        NativeInvocation(line.split()).check("2.0.0a4")

    assert str(refused.value).splitlines()[0] == first_line(expected)
    assert refused.value.exit_code == expected.exit_code


def first_line(answer: Answer) -> str:
    return (answer.stderr.splitlines() or [""])[0]
