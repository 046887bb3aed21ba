"""The fake of dbt 2 knows its commands, and refuses the values that it refuses."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.fake_dbt.command_line import UsageError
from pytest_cosmos_venv.fake_dbt.native.command_line import (
    CHOICES,
    MANY_VALUES,
    ONE_VALUE,
    NativeInvocation,
)
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Answer, Dbt
from tests.pytest_cosmos_venv.inner_run import python_of

NEVER = "--zzz"
"""An option that no dbt has: what stands before it on a command line was taken where this is what is refused."""
COMMAND_OF = {
    "--add-package": "deps",
    "--args": "run-operation",
    "--inline": "compile",
    "--output-keys": "ls",
    "--pre-schema": "man",
    "--project-name": "init",
    "--schema": "man",
    "--sql": "run-operation",
}
"""Options that dbt build does not have -> a command that has them."""
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
    "run --threads many",
    "run --log-format xml",
    "run --log-format JSON",
    "ls --resource-type all",
    "ls --resource-types modle",
    "run --target",
    "run -s",
    "deps --add-package",
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """The real dbt 2 in an empty folder: what it takes it cannot do there."""
    return Dbt(python_of("dbt2").with_name("dbt"), tmp_path_factory.mktemp("empty"))


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(ONE_VALUE | MANY_VALUES))
def test_an_option_takes_values(real: Dbt, name: str) -> None:
    words = [COMMAND_OF.get(name, "build"), name, *value_of(name), NEVER]

    assert first_line(real.run(*words)) == f"error: unexpected argument '{NEVER}' found"


def value_of(name: str) -> list[str]:
    """A value of the option that dbt takes."""
    if name == "--output-keys":
        return ["name"]
    long = name.replace("types", "type")
    return [CHOICES[long][0] if long in CHOICES else "{}" if name in ("--vars", "--warn-error-options") else "1"]


@pytest.mark.parametrize("line", TAKEN)
def test_a_line_is_taken(real: Dbt, line: str) -> None:
    assert read(line)

    refusal = first_line(real.run(*line.split(), NEVER))
    assert refusal == f"error: unexpected argument '{NEVER}' found", "dbt refuses this line"


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_is_refused_with_dbts_exit_code(real: Dbt, line: str) -> None:
    expected = real.run(*line.split())

    with pytest.raises(UsageError) as refused:
        read(line)

    assert refused.value.exit_code == expected.exit_code


def read(line: str) -> str:
    """The command of a line that the fake takes."""
    invocation = NativeInvocation(line.split())
    invocation.check_values()
    return invocation.command


def first_line(answer: Answer) -> str:
    return (answer.stderr.splitlines() or [""])[0]
