"""The releases of dbt that are tested for real, each as arguments of an operator that installs it offline."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.installed import IS_CI, ROOT, WHEELS
from tools.bootstrap import OTHER_DBTS, wheelhouse_of

DRIVER = ROOT / ".cache" / "drivers" / "libduckdb.so"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One release of dbt.

    :param name: the name of the release in the docs, such as ``1.12``.
    :param requirements: the requirements that a user writes.
    :param wheels: the folder with the wheels that ``make test`` has fetched.
    :param drivers: the database drivers that the release needs.
    :param below: the first version of Python that the release does not support.
    """

    name: str
    requirements: tuple[str, ...]
    wheels: Path = WHEELS
    drivers: tuple[Path, ...] = ()
    below: tuple[int, int] = (4, 0)

    @property
    def is_native(self) -> bool:
        """Whether it is dbt 2."""
        return self.name.startswith("2")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of an operator."""
        return {
            "py_requirements": list(self.requirements),
            "pip_install_options": ["--no-index", "--find-links", str(self.wheels)],
            "adbc_drivers": [str(driver) for driver in self.drivers],
        }

    def require(self) -> None:
        """Skip a test where this Python has no such release, or it was not fetched; in CI all must be fetched."""
        python = sys.version_info[:2]
        if python >= self.below:
            pytest.skip(f"dbt {self.name} has no release for Python {python[0]}.{python[1]}")
        if not IS_CI and not (self.wheels.is_dir() and all(driver.is_file() for driver in self.drivers)):
            pytest.skip(f"dbt {self.name} is not in {self.wheels.name}: make test fetches it")


OLD_ENGINES = (
    Engine(
        name="1.5",
        requirements=("dbt-core~=1.5.0", "dbt-duckdb~=1.5.0"),
        wheels=wheelhouse_of("dbt15"),
        below=OTHER_DBTS["dbt15"],
    ),
    Engine(
        name="1.7",
        requirements=("dbt-core~=1.7.0", "dbt-duckdb~=1.7.0"),
        wheels=wheelhouse_of("dbt17"),
        below=OTHER_DBTS["dbt17"],
    ),
)
"""Releases that the seed documents name."""

ENGINES = (
    Engine(name="1.10", requirements=("dbt-core~=1.10.0", "dbt-duckdb~=1.10.0")),
    Engine(name="1.11", requirements=("dbt-core~=1.11.0", "dbt-duckdb~=1.11.0")),
    Engine(
        name="1.12",
        requirements=("dbt-core==1.12.0", "dbt-core-experimental-parser==2.0.0a4", "dbt-duckdb"),
        wheels=wheelhouse_of("dbt112"),
        below=OTHER_DBTS["dbt112"],
    ),
    Engine(name="2.0", requirements=("dbt-core==2.0.0a4",), wheels=wheelhouse_of("dbt2"), drivers=(DRIVER,)),
)

DBT_1, DBT_2 = ENGINES[1], ENGINES[-1]
"""One release each for dbt 1 and dbt 2, for tests that do not need all releases; most tests install this dbt 1."""

EACH_ENGINE = [pytest.param(engine, id=engine.name) for engine in ENGINES]
"""The releases as parameters of a long test."""

PLAIN_AND_WARM = [
    *(pytest.param(engine, "off", id=engine.name) for engine in ENGINES),
    pytest.param(DBT_1, "require", id=f"{DBT_1.name}-warm"),
]
"""``engine`` and ``warm`` of a long test: each release started plainly, and dbt 1 started warm too."""
