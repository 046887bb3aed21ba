"""The fake reads a command line into its command, words and options."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.fake_dbt.command_line import Invocation, UsageError


@pytest.mark.parametrize(
    ("line", "command"),
    [
        pytest.param("run", "run", id="plain"),
        pytest.param("--quiet --log-format json run --select a", "run", id="global-options-first"),
        pytest.param("source freshness --select source:a", "source freshness", id="two-words"),
        pytest.param("docs generate", "docs generate", id="docs"),
        pytest.param("run-operation grant --args {}", "run-operation", id="with-an-argument"),
        pytest.param("build --select a b c --threads 4", "build", id="several-values"),
        pytest.param("--version", "--version", id="version"),
    ],
)
def test_the_command_is_found_among_the_options(line: str, command: str) -> None:
    assert Invocation(line.split()).command == command


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "Missing command"),
        ("fly", "No such command 'fly'"),
        ("source", "Missing command"),
        ("docs fly", "No such command 'fly'"),
    ],
)
def test_what_dbt_has_no_command_for_is_refused(line: str, message: str) -> None:
    invocation = Invocation(line.split())

    with pytest.raises(UsageError, match=message):
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
