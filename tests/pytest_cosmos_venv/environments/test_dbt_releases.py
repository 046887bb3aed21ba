"""The releases of dbt that a run names, and what installs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.dbt_releases import parse_releases
from pytest_cosmos_venv.errors import ToolkitMisuse


@pytest.mark.parametrize(
    ("named", "requirements"),
    [
        ("1.11", ("dbt-core~=1.11.0", "dbt-duckdb")),
        ("1", ("dbt-core>=1.0.0,<2", "dbt-duckdb")),
        ("2", ("dbt-core>=2.0.0a0,<3",)),
        ("2.0", ("dbt-core~=2.0.0a0",)),
        ("2.0.0a4", ("dbt-core==2.0.0a4",)),
    ],
)
def test_a_number_says_what_is_installed(named: str | None, requirements: tuple[str, ...]) -> None:
    (release,) = parse_releases(named)

    assert release.requirements == requirements


def test_the_ini_file_says_how_a_release_is_installed_otherwise() -> None:
    lines = ["1.12: dbt-core==1.12.0 dbt-duckdb", "fusion: dbt-core==2.0.0a4"]

    one, two = parse_releases(" 1.12, fusion,1.12", lines, drivers=[Path("libduckdb.so")])

    assert (one.name, one.requirements, one.drivers) == ("1.12", ("dbt-core==1.12.0", "dbt-duckdb"), ())
    assert (two.name, two.requirements, two.drivers) == ("fusion", ("dbt-core==2.0.0a4",), (Path("libduckdb.so"),))


@pytest.mark.parametrize(
    ("name", "line", "is_native"),
    [
        ("1", None, False),
        ("2", None, True),
        ("nightly", "nightly: dbt-core==1.12.0 dbt-duckdb", False),
        ("1.x", "1.x: dbt-core==2.0.0a4", True),
    ],
)
def test_dbt_2_is_told_by_what_is_installed(name: str, line: str | None, is_native: bool) -> None:
    (release,) = parse_releases(name, [line] if line else [])

    assert release.is_native is is_native


@pytest.mark.parametrize(
    ("named", "lines", "words"),
    [
        (",", [], "--cosmos-dbt=,: it names no release"),
        ("latest", [], "--cosmos-dbt: 'latest' is no release of dbt"),
        ("1.11", ["dbt-core==1.12.0"], "'dbt-core==1.12.0' names no release"),
    ],
)
def test_what_names_no_release_is_refused(named: str, lines: list[str], words: str) -> None:
    with pytest.raises(ToolkitMisuse, match=words):
        parse_releases(named, lines)
