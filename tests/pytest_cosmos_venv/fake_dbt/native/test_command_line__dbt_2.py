"""The fake of dbt 2 takes and refuses the command lines that the real one takes and refuses."""

from __future__ import annotations

import re

import pytest

from pytest_cosmos_venv.fake_dbt.command_line import UsageError
from pytest_cosmos_venv.fake_dbt.native.command_line import (
    CHOICES,
    COMMAND_GROUPS,
    COMMANDS,
    EVERYWHERE,
    MANY_VALUES,
    ONE_VALUE,
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
    "run --threads -1",
    "run --profile --target",
    "run --log-format xml",
    "run --log-format JSON",
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


@pytest.mark.long
def test_it_knows_the_options_of_each_command(real: Dbt) -> None:
    for command in {*COMMANDS, *(f"{first} {n}" for first in COMMAND_GROUPS for n in COMMAND_GROUPS[first])}:
        told = real.run(*command.split(), "--help").stdout
        named = {
            name
            for line in told.splitlines()
            if line.startswith("  ")
            for name in re.findall(r"^ +(?:-\w, )?(--[\w-]+)", line)
        }

        assert named <= options_of(command) | EVERYWHERE, "dbt names an option that the fake does not know"
        for name in sorted(options_of(command)):
            words = [*command.split(), name, *value_of(name, command), NEVER]
            assert first_line(real.run(*words)) == f"error: unexpected argument '{NEVER}' found", words


@pytest.mark.long
def test_what_every_command_takes_may_stand_before_it_too(real: Dbt) -> None:
    for name in sorted(EVERYWHERE - {"--help", "-h", "--no-print"}):
        words = [name, *value_of(name, "run"), "--no-print", "run", NEVER]
        assert first_line(real.run(*words)) == f"error: unexpected argument '{NEVER}' found", words


def value_of(name: str, command: str) -> list[str]:
    """A value of the option that dbt takes; none for a flag."""
    if name not in ONE_VALUE | MANY_VALUES:
        return []
    if name == "--output" and command in ("ls", "list"):
        return ["json"]
    long = name.replace("types", "type")
    return [CHOICES[long][0] if long in CHOICES else "{}" if name in ("--vars", "--warn-error-options") else "1"]


@pytest.mark.parametrize("line", TAKEN)
def test_a_line_is_taken(real: Dbt, line: str) -> None:
    NativeInvocation(line.split()).check("2.0.0a4")

    refusal = first_line(real.run(*line.split(), NEVER))
    assert refusal == f"error: unexpected argument '{NEVER}' found", "dbt refuses this line"


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_is_refused_with_dbts_exit_code(real: Dbt, line: str) -> None:
    expected = real.run(*line.split())

    with pytest.raises(UsageError) as refused:
        NativeInvocation(line.split()).check("2.0.0a4")

    assert refused.value.exit_code == expected.exit_code


def first_line(answer: Answer) -> str:
    return (answer.stderr.splitlines() or [""])[0]
