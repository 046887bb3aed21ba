"""What an installer is asked to resolve for the check of requirements."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv.dag_checks.checks import words_to_resolve
from pytest_cosmos_venv.dag_checks.record import Installation


@pytest.mark.parametrize(
    ("requirements", "options", "words"),
    [
        pytest.param(["dbt-duckdb"], ["--no-index"], ["--no-index", "dbt-duckdb"], id="plain"),
        pytest.param(["-r 'a b.txt'"], [], ["-r", "a b.txt"], id="file"),
        pytest.param(["dbt-duckdb", "-r /dags/pylock.toml"], [], ["dbt-duckdb"], id="beside-a-lock-file"),
        pytest.param(["a"], ["-r", "pylock.x.toml", "--pre"], ["--pre", "a"], id="lock-file-as-an-option"),
        pytest.param(["a", "-rpylock.toml", "--requirement=/x/pylock.y.toml"], [], ["a"], id="in-one-word"),
        pytest.param(["-r /dags/pylock.toml"], ["--no-index"], [], id="lock-file-alone"),
        pytest.param(["./my-pylock.toml"], [], ["./my-pylock.toml"], id="another-name"),
    ],
)
def test_a_lock_file_is_resolved_and_the_requirements_beside_it_are_not(
    requirements: list[str], options: list[str], words: list[str]
) -> None:
    installation = Installation(requirements=tuple(requirements), options=tuple(options), python=None, task="run")

    assert words_to_resolve(installation) == words
