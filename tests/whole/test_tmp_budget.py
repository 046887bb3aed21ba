from tests.whole.test_docs_tutorials import *
import pytest
@pytest.mark.long
def test_budget(pytester, monkeypatch):
    project = copy_of_example(pytester.path / "harbor")
    profile = f"harbor: {{target: dev, outputs: {{dev: {{type: duckdb, path: {pytester.path / 'harbor.duckdb'}}}}}}}\n"
    (project / "profiles.yml").write_text(profile, encoding="utf-8")
    pytester.mkdir("dags").joinpath("harbor.py").write_text(TUTORIAL_DAG.replace(PROJECT, str(project)), encoding="utf-8")
    head = TUTORIAL_TEST.partition("def test_")[0].replace('    return runpy.run_path("dags/harbor.py")["harbor"]\n', "    return 'dags/harbor.py'\n")
    pytester.makepyfile(test_harbor=head + "def test_b(harbor, cosmos_parse_budget):\n    print(cosmos_parse_budget('dags/harbor.py').text)\n")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-s")
    result.assert_outcomes(passed=1)
