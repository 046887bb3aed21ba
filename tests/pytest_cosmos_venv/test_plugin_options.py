"""What does somebody see of the plugin who has it installed: options, fixtures, and nothing that he did not ask for?"""

from __future__ import annotations

import re

import pytest

pytest_plugins = ["pytester"]


def test_the_options_stand_in_one_group_of_the_help(pytester: pytest.Pytester) -> None:
    text = str(pytester.runpytest_subprocess("--help").stdout)

    group = text.partition("\ndbt in Airflow (pytest-cosmos-venv):\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (--\S+)", group, re.MULTILINE) == [
        "--cosmos-conformance",
        "--cosmos-implementation=IMPORT_ROOT",
        "--cosmos-cache-dir=DIR",
    ]


def test_the_fixture_explains_itself(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures")

    result.stdout.fnmatch_lines(["cosmos_wheelhouse [[]session scope[]]*", "*real wheels to install from*"])


def test_the_plugin_can_be_switched_off(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("-p", "no:cosmos_venv", "--cosmos-conformance")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --cosmos-conformance*"])


def test_a_test_gets_a_wheelhouse_that_pip_options_lead_to(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pathlib import Path

        def test_it(cosmos_wheelhouse):
            *_, folder = cosmos_wheelhouse.pip_install_options
            names = {path.name.partition("-")[0] for path in Path(folder).iterdir()}
            assert {"dbt_core", "dbt_duckdb", "dbt_postgres"} <= names
        """
    )

    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


def test_conformance_takes_no_paths(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine="def test_mine(): pass")

    result = pytester.runpytest_subprocess("--cosmos-conformance", "test_mine.py")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --cosmos-conformance runs the suite and nothing *: leave out test_mine.py."])


def test_an_unknown_implementation_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--cosmos-conformance", "--cosmos-implementation=no_such_package")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --cosmos-implementation=no_such_package: no package no_such_package can be*"])


def test_two_installed_implementations_and_none_named_is_a_usage_error(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for distribution in ("astronomer_cosmos", "cosmos_venv"):
        information = pytester.mkdir(f"{distribution}-1.0.dist-info")
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))

    result = pytester.runpytest_subprocess("--cosmos-conformance")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: Several implementations are installed (cosmos, cosmos_venv): say which one*"])
