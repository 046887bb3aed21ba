"""The DAG files and the test that README and the tutorials show are run as they stand there."""

from __future__ import annotations

import pytest

from tests.installed import ROOT, copy_of_example
from tests.whole.page_blocks import blocks_in

pytest_plugins = ["pytester"]

PROJECT = "/opt/airflow/dbt/harbor"
TUTORIALS = ROOT / "docs" / "tutorials"


README = (ROOT / "README.md").read_text(encoding="utf-8")
README_DAG, README_TEST = blocks_in(README, "python")
(TUTORIAL_DAG,) = blocks_in((TUTORIALS / "first-dag.md").read_text(encoding="utf-8"), "python")
(TUTORIAL_TEST,) = blocks_in((TUTORIALS / "first-test.md").read_text(encoding="utf-8"), "python")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "dag_file",
    [
        pytest.param(TUTORIAL_DAG, id="tutorial"),
        pytest.param(README_DAG, id="README"),
    ],
)
def test_the_test_of_the_tutorial_passes_for_each_dag(
    dag_file: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of_example(pytester.path / "harbor")
    profile = f"harbor: {{target: dev, outputs: {{dev: {{type: duckdb, path: {pytester.path / 'harbor.duckdb'}}}}}}}\n"
    (project / "profiles.yml").write_text(profile, encoding="utf-8")
    assert PROJECT in dag_file
    pytester.mkdir("dags").joinpath("harbor.py").write_text(dag_file.replace(PROJECT, str(project)), encoding="utf-8")
    pytester.makepyfile(test_harbor=TUTORIAL_TEST)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_dag_of_the_tutorial_keeps_a_parse_budget(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of_example(pytester.path / "harbor")
    pytester.mkdir("dags").joinpath("harbor.py").write_text(TUTORIAL_DAG.replace(PROJECT, str(project)), "utf-8")
    fixture, _, _ = TUTORIAL_TEST.partition("def test_")
    budget = "def test_it(harbor, cosmos_airflow):\n    cosmos_airflow.budget('dags/harbor.py')\n"
    pytester.makepyfile(test_harbor=fixture + budget)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)


def test_the_test_of_the_readme_is_that_of_the_tutorial() -> None:
    assert README_TEST in TUTORIAL_TEST
