"""Does the look-alike read a command line as dbt does?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.lookalike.main import COMMAND_GROUPS, COMMANDS, MANY_VALUES, ONE_VALUE, Invocation, UsageError

REPOSITORY = Path(__file__).resolve().parents[3]
WHEELS = REPOSITORY / ".cache" / "wheelhouse"

# Run by the Python of an environment that has the real dbt.
DESCRIBE_DBT = """
import click, json
from dbt.cli.main import cli

one, many, commands, groups = set(), set(), [], {}

def look(command):
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag:
            takes_many = option.multiple or type(option).__name__ == "MultiOption"
            (many if takes_many else one).update(option.opts)

look(cli)
for name, command in cli.commands.items():
    look(command)
    if isinstance(command, click.Group):
        groups[name] = sorted(command.commands)
        for below in command.commands.values():
            look(below)
    else:
        commands.append(name)
print(json.dumps([sorted(commands), groups, sorted(one), sorted(many)]))
"""


@pytest.mark.parametrize(
    ("line", "command"),
    [
        pytest.param("run", "run", id="plain"),
        pytest.param("--quiet --log-format json run --select a", "run", id="global-options-first"),
        pytest.param("source freshness --select source:a", "source freshness", id="two-words"),
        pytest.param("docs generate", "docs generate", id="docs"),
        pytest.param("run-operation grant --args {}", "run-operation", id="with-an-argument"),
        pytest.param("build --select a b c --threads 4", "build", id="several-values"),
    ],
)
def test_the_command_is_found_among_the_options(line: str, command: str) -> None:
    assert Invocation(line.split()).command == command


@pytest.mark.parametrize("line", ["", "fly", "source", "docs fly"])
def test_what_dbt_has_no_command_for_is_refused(line: str) -> None:
    invocation = Invocation(line.split())

    with pytest.raises(UsageError, match="No such command"):
        _ = invocation.command


def test_an_option_without_its_value_is_refused() -> None:
    with pytest.raises(UsageError, match="'--project-dir' requires an argument"):
        Invocation(["run", "--project-dir"])


def test_values_are_taken_in_every_spelling() -> None:
    invocation = Invocation(["run", "--target=dev", "--vars", "-x: 1", "-s", "a", "b", "--full-refresh"])

    assert invocation.options == {
        "--target": ["dev"],
        "--vars": ["-x: 1"],
        "-s": ["a", "b"],
        "--full-refresh": [],
    }


def test_the_tables_are_those_of_the_real_dbt(tmp_path: Path) -> None:
    if not list(WHEELS.glob("dbt_core-*.whl")):
        pytest.skip("no wheel of dbt-core in .cache/wheelhouse, where `make test` puts it")
    uv = pytest.importorskip("uv", reason="installs the real dbt").find_uv_bin()
    python = str(tmp_path / "environment" / "bin" / "python")
    for command in (
        ["venv", "--python", sys.executable, str(tmp_path / "environment")],
        ["pip", "install", "--python", python, "--no-index", "--find-links", str(WHEELS), "dbt-core"],
    ):
        subprocess.run([uv, "--quiet", "--offline", *command], check=True)

    answer = subprocess.run([python, "-c", DESCRIBE_DBT], capture_output=True, text=True, check=True)

    commands, groups, one, many = json.loads(answer.stdout)
    assert set(commands) == COMMANDS
    assert {name: set(below) for name, below in groups.items()} == COMMAND_GROUPS
    assert set(one) == ONE_VALUE
    assert set(many) == MANY_VALUES
