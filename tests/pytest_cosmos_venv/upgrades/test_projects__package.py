"""A package with an ``integration_tests`` project of its own, as dbt's packages have them, with each release of dbt."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.engines import DRIVER, ENGINES
from tests.installed import ROOT, environment_of

pytest_plugins = ["pytester"]

RELEASES = ENGINES[1:]
PACKAGE = ROOT / "tests" / "data" / "tides"
ARGUMENTS = "              arguments:\n                minimum: 1\n"


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest in the folder of the package with each release."""
    return pytester.runpytest_subprocess("--cosmos-dbt=1.11,1.12,2.0", "-p", "no:cacheprovider", *options)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_package_is_built_by_its_integration_tests_with_each_release(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in RELEASES:
        engine.require()
    monkeypatch.setenv("UV_FIND_LINKS", ",".join(str(engine.wheels) for engine in RELEASES))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    pytester.makeini(
        "\n".join(
            [
                "[pytest]",
                f"cosmos_cache_dir = {ROOT / '.cache' / 'toolkit'}",
                f"cosmos_dbt_drivers = {DRIVER}",
                "cosmos_dbt_requirements =",
                *(f"    {engine.name}: {' '.join(engine.requirements)}" for engine in RELEASES),
            ]
        )
    )
    shutil.copytree(PACKAGE, pytester.path, dirs_exist_ok=True)
    inner = pytester.path / "integration_tests"
    dbt = environment_of("dbt2") / "bin" / "dbt"
    subprocess.run([dbt, "deps"], cwd=inner, env={"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}, check=True)
    models = inner / "models" / "models.yml"

    sound = run(pytester, "integration_tests")
    models.write_text(models.read_text(encoding="utf-8").replace(ARGUMENTS, "              minimum: 1\n"), "utf-8")
    refused = run(pytester, "integration_tests", "-k", "build and 2.0")

    sound.assert_outcomes(passed=6)
    sound.stdout.fnmatch_lines(["Nothing differs from dbt 1.11."])
    refused.assert_outcomes(failed=1, deselected=5)
    # fnmatch takes [ for a set of letters.
    refused.stdout.fnmatch_lines(
        ["*Deprecated test arguments: *minimum* at top-level detected*", "*models/models.yml:10:*"]
    )


def test_what_dbt_deps_has_linked_is_not_collected_again(pytester: pytest.Pytester) -> None:
    shutil.copytree(PACKAGE, pytester.path, dirs_exist_ok=True)
    packages = pytester.path / "integration_tests" / "dbt_packages"
    packages.mkdir()
    (packages / "tides").symlink_to("../..")  # as both dbt 1 and dbt 2 link a local package
    (pytester.path / "test_package.py").write_text("def test_it(): pass\n", encoding="utf-8")

    result = pytester.runpytest_subprocess("--cosmos-dbt=1.11,2", "--collect-only", "-q", "-p", "no:cacheprovider")

    names = [f"{step}[dbt-{release}]" for step in ("compile", "build") for release in ("1.11", "2")]
    assert [line for line in result.outlines if "::" in line] == [
        *(f"dbt_project.yml::{name}" for name in names),
        *(f"integration_tests/dbt_project.yml::{name}" for name in names),
        "test_package.py::test_it",
    ]


def test_a_checkout_below_a_folder_named_target_is_collected(pytester: pytest.Pytester) -> None:
    checkout = pytester.mkdir("target")
    shutil.copytree(PACKAGE / "integration_tests", checkout / "tides")

    options = ("--cosmos-dbt=1.11,2", "--collect-only", "-q", "-p", "no:cacheprovider", f"--rootdir={checkout}")
    result = pytester.runpytest_subprocess(*options, str(checkout))

    found = [line for line in result.outlines if "::" in line]
    assert len(found) == 4
