"""Which lock file ``cosmos-venv env lock`` writes for which environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.cli.dag_files import WantedEnvironment
from cosmos_venv.cli.env import lock
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed.resolve import VirtualenvArguments

DAGS = Path("/dags")


def arguments(*requirements: str, **more: tuple[str, ...]) -> VirtualenvArguments:
    return VirtualenvArguments(py_requirements=requirements, **more)  # type: ignore[arg-type] # tuples of texts


def targets(*environments: VirtualenvArguments, output: Path | None = None) -> dict[str, VirtualenvArguments]:
    """By the name of the file, for environments of one DAG file."""
    file = DAGS / "dag.py"
    wanted = [
        WantedEnvironment(directory=Path(f"/e{i}"), arguments=each, file=file) for i, each in enumerate(environments)
    ]
    found = lock._targets(wanted, output)
    return {str(path.relative_to(DAGS)): each for path, each in found.items()}


@pytest.mark.parametrize(
    ("environments", "names"),
    [
        pytest.param([("dbt-duckdb",)], ["pylock.toml"], id="one"),
        pytest.param([("dbt-duckdb",), ("dbt-duckdb", "-r /dags/pylock.toml")], ["pylock.toml"], id="one-named-once"),
        pytest.param([("dbt-duckdb", "-r /dags/pylock.x.toml")], ["pylock.x.toml"], id="named"),
        pytest.param([("dbt-duckdb", "-r /dags/sub/pylock.toml")], ["sub/pylock.toml"], id="named-elsewhere"),
        pytest.param(
            [("dbt-core==1", "dbt_duckdb>=1"), ("dbt-core==1", "dbt-postgres[x]")],
            ["pylock.dbt-duckdb.toml", "pylock.dbt-postgres.toml"],
            id="two-adapters",
        ),
        pytest.param(
            [("dbt.core==1.10",), ("dbt-core==1.11",), ("dbt-core==1.12", "-r /dags/pylock.dbt-core-2.toml")],
            ["pylock.dbt-core.toml", "pylock.dbt-core-3.toml", "pylock.dbt-core-2.toml"],
            id="two-versions-and-one-named",
        ),
        pytest.param([("./pkg",), ("git+https://h/r",)], ["pylock.other.toml", "pylock.git.toml"], id="without-names"),
    ],
)
def test_each_environment_has_a_file_that_says_what_it_is_for(
    environments: list[tuple[str, ...]], names: list[str]
) -> None:
    assert list(targets(*(arguments(*each) for each in environments))) == names


def test_environments_with_other_options_are_others() -> None:
    found = targets(arguments("a"), arguments("a", pip_install_options=("--pre",)))

    assert list(found) == ["pylock.a.toml", "pylock.a-2.toml"]


def test_one_file_cannot_be_that_of_two_environments() -> None:
    named = "-r /dags/pylock.toml"

    with pytest.raises(CosmosValueError, match=r"of two environments: a; and b\. Give each of them a lock file"):
        targets(arguments("a", named), arguments("b", named))
    with pytest.raises(CosmosValueError, match=r"of two environments: a; and b\. Leave --output out"):
        targets(arguments("a"), arguments("b"), output=DAGS / "pylock.toml")
    assert list(targets(arguments("a"), output=DAGS / "pylock.y.toml")) == ["pylock.y.toml"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        pytest.param(arguments("a", "-r /x/pylock.toml"), arguments("a"), id="requirement"),
        pytest.param(arguments("a", "-r b.txt -r pylock.toml"), arguments("a", "-r b.txt"), id="among-others"),
        pytest.param(
            arguments("a", pip_install_options=("-r", "pylock.toml", "--pre")),
            arguments("a", pip_install_options=("--pre",)),
            id="option",
        ),
    ],
)
def test_what_is_resolved_is_what_stands_beside_the_lock_file(
    given: VirtualenvArguments, left: VirtualenvArguments
) -> None:
    assert lock.without_lock_file(given) == left
