"""The fake dbt knows the commands of the real one, and refuses a wrong value in its words."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_cosmos_venv.fake_dbt.command_line import Invocation, UsageError
from pytest_cosmos_venv.fake_dbt.tables import COMMAND_GROUPS, COMMANDS, MANY_VALUES, ONE_VALUE
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import write_project
from tests.pytest_cosmos_venv.inner_run import python_of

PYTHON_VERSIONS = ["1.10", "1.11"]
LINES = [
    "run",
    "run --select a b --exclude c --full-refresh --vars {} -t dev --threads 4",
    "build --resource-type model seed --indirect-selection cautious --empty",
    "ls --output json --output-keys unique_id name fqn --resource-type all",
    "source freshness --select source:a -o out.json",
    "run-operation grant --args {}",
    "compile --inline x --no-introspect",
    "show --limit 3 --inline x",
    "run --threads=4 --select=a",
    # Refused, each for a reason of its own.
    "fly",
    "source fly --select a",
    "run --threads many",
    "run --log-format xml",
    "run --target",
]

# Run by the Python of an environment that has the real dbt. Nothing is executed: click reads the lines, that is all.
DESCRIBE = """
import click, json, sys
from dbt.cli.main import cli

def options(command):
    found = {}
    for option in command.params:
        if isinstance(option, click.Option):
            many = option.multiple or type(option).__name__ == "MultiOption"
            for name in (*option.opts, *option.secondary_opts):
                found[name] = "flag" if option.is_flag else "many" if many else "one"
    return found

commands, groups = {}, {}
for name, command in cli.commands.items():
    if isinstance(command, click.Group):
        groups[name] = sorted(command.commands)
        for below in command.commands:
            commands[f"{name} {below}"] = options(command.commands[below])
    else:
        commands[name] = options(command)

def read(command, name, words, parent):
    with command.make_context(name, list(words), parent=parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            name, below, after = command.resolve_command(context, rest)
            read(below, name, after, context)

def answer(line):
    try:
        read(cli, "dbt", line.split(), None)
    except click.UsageError as error:
        return [error.exit_code, error.format_message()]
    except click.exceptions.Exit as ended:
        return [ended.exit_code, ""]
    return [0, ""]

print(json.dumps([options(cli), commands, groups, [answer(line) for line in json.load(sys.stdin)]]))
"""


@dataclass(frozen=True)
class RealCommandLine:
    """The command line of the real dbt of one version, as it tells it itself."""

    version: str
    everywhere: dict[str, str]
    commands: dict[str, dict[str, str]]
    groups: dict[str, list[str]]
    answers: dict[str, Any]


@pytest.fixture(scope="module", params=PYTHON_VERSIONS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RealCommandLine:
    python = python_of(f"dbt{request.param.replace('.', '')}")
    project = write_project(tmp_path_factory.mktemp("read"))  # dbt looks for a profile before it reads on

    done = subprocess.run(
        [python, "-c", DESCRIBE], cwd=project, input=json.dumps(LINES), capture_output=True, text=True, check=True
    )

    everywhere, commands, groups, answers = json.loads(done.stdout)
    return RealCommandLine(request.param, everywhere, commands, groups, dict(zip(LINES, answers, strict=True)))


@pytest.mark.long
def test_the_tables_are_those_of_the_real_dbt(real: RealCommandLine) -> None:
    single = {name for name in real.commands if " " not in name}
    every_option = real.everywhere | {key: kind for command in real.commands.values() for key, kind in command.items()}

    assert single == COMMANDS
    assert {name: set(below) for name, below in real.groups.items()} == COMMAND_GROUPS
    if real.version == PYTHON_VERSIONS[-1]:  # -s is a flag of init only
        assert {name for name, kind in every_option.items() if kind == "one"} == ONE_VALUE
        every_command = real.commands.values()
        assert {name for options in every_command for name in options if options[name] == "many"} == MANY_VALUES


@pytest.mark.long
def test_each_line_is_taken_or_refused_in_dbts_words(real: RealCommandLine) -> None:
    for line, (exit_code, message) in real.answers.items():
        refusal = refusal_of(line)

        assert exit_code == (2 if refusal else 0), (line, message, refusal)
        if refusal is not None:
            assert refusal.args[0] == re.sub(r" \(?Did you mean.*", "", message)


def refusal_of(line: str) -> UsageError | None:
    try:
        invocation = Invocation(line.split())
        invocation.check_values()
        _ = invocation.command
    except UsageError as error:
        return error
    return None
