"""The DAG file and the test that the README shows are run as they stand there."""

from __future__ import annotations

import re

import pytest

from tests.installed import ROOT, copy_of_example

pytest_plugins = ["pytester"]

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
PROJECT = "/opt/airflow/dbt/harbor"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_test_of_the_readme_passes_for_its_dag(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    dag_file, test_file = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    project = copy_of_example(pytester.path / "harbor")
    assert PROJECT in dag_file
    pytester.mkdir("dags").joinpath("harbor.py").write_text(dag_file.replace(PROJECT, str(project)), encoding="utf-8")
    pytester.makepyfile(test_harbor=test_file)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)
