"""A run with several releases of dbt: real projects and tests with each, and what differs at the end."""

from __future__ import annotations

import re

import pytest

from tests.engines import DRIVER, ENGINES
from tests.installed import ROOT, copy_of_example, needs_dbt_wheels

pytest_plugins = ["pytester"]

RELEASES = [ENGINES[0], ENGINES[3]]
TEST = """
def test_routes(cosmos_duckdb):
    warehouse = cosmos_duckdb("harbor")
    warehouse.build("piers")
    assert len(warehouse.rows("piers")) > 1
    assert cosmos_duckdb.release != "2.0"


def test_without_dbt():
    pass
"""
# A model whose SQL and rows depend on the release of dbt.
MODEL = "select {{ 1 if dbt_version.startswith('1.') else 2 }} as generation\n"


def prepare(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    wheels = [*(engine.wheels for engine in RELEASES), ROOT / ".cache" / "wheelhouse"]
    monkeypatch.setenv("UV_FIND_LINKS", ",".join(map(str, wheels)))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    requirements = [f"    {engine.name}: {' '.join(engine.requirements)}" for engine in RELEASES]
    settings = [
        f"cosmos_cache_dir = {ROOT / '.cache' / 'toolkit'}",
        "cosmos_dbt_requirements =",
        *requirements,
        f"cosmos_dbt_drivers = {DRIVER}",
        *lines,
    ]
    pytester.makeini("\n".join(["[pytest]", *settings]))


@pytest.mark.long
@pytest.mark.timeout(600)
@needs_dbt_wheels
def test_what_differs_is_told_and_nothing_else(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in RELEASES:
        engine.require()
    prepare(pytester, monkeypatch)
    project = copy_of_example(pytester.path / "harbor")
    (project / "models" / "generation.sql").write_text(MODEL, encoding="utf-8")
    (project / "dbt_packages" / "other").mkdir(parents=True)
    package = 'name: other\nversion: "1.0"\nconfig-version: 2\n'
    (project / "dbt_packages" / "other" / "dbt_project.yml").write_text(package, encoding="utf-8")
    pytester.makepyfile(test_fleet=TEST)

    result = pytester.runpytest_subprocess("--cosmos-dbt=1.10,2.0", "-v", "-n", "2", "-p", "no:cacheprovider")

    # Two items of the project with two releases, one test with two, and one without any.
    result.assert_outcomes(passed=6, failed=1)
    _, _, table = result.stdout.str().partition("differs  ")
    told = {tuple(re.split("  +", line)) for line in table.splitlines()}
    model = "model.harbor.generation"
    assert ("outcome", "test_fleet.py::test_routes", "passed", "failed") in told
    assert {row[1] for row in told if row[0] == "rows"} == {model}
    assert {row[1:] for row in told if row[0] == "SQL"} == {(model, "differs")}
    assert {row[0] for row in told}.isdisjoint({"state", "nodes"})
    assert not (project / "target").exists()
