"""Tests of the plugin as its users see it: options, fixtures, and nothing that was not asked for."""

from __future__ import annotations

import re

import pytest

from tests.pytest_cosmos_venv.inner_run import write_distribution

pytest_plugins = ["pytester"]


def test_the_options_stand_in_one_group_of_the_help(pytester: pytest.Pytester) -> None:
    text = str(pytester.runpytest_subprocess("--help").stdout)

    before, _, behind = text.partition("\ndbt in Airflow (pytest-cosmos-venv):\n")
    group, _, others = behind.partition("\n\n")
    assert group.startswith("  --cosmos-implementation=IMPORT_ROOT|module:Adapter")
    assert not re.search(r"^  --cosmos-", before + others, re.MULTILINE)


def test_the_plugin_can_be_switched_off(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("-p", "no:cosmos_venv", "--cosmos-conformance")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --cosmos-conformance*"])


def test_the_header_names_the_choice(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncosmos_implementation = from_the_ini_file\n")

    result = pytester.runpytest_inprocess("--co")
    overruled = pytester.runpytest_inprocess("--co", "--cosmos-implementation=my.tests:Mine")

    result.stdout.fnmatch_lines(["cosmos: implementation from_the_ini_file"])
    overruled.stdout.fnmatch_lines(["cosmos: implementation my.tests:Mine"])


def test_where_several_are_installed_only_what_needs_one_complains(pytester: pytest.Pytester, several: None) -> None:
    pytester.makepyfile(
        """
        def test_something_else(): pass
        def test_of_an_implementation(cosmos_implementation): pass
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.no_fnmatch_line("cosmos: implementation*")
    result.stdout.fnmatch_lines(["Several implementations are installed (cosmos, cosmos_venv): say which one with *"])
    result.stdout.no_fnmatch_line("*implementation.py*")


def test_the_cache_key_is_printed(pytester: pytest.Pytester) -> None:
    result = pytester.runpython_c(
        "import runpy; runpy.run_module('pytest_cosmos_venv.shared_folders', run_name='__main__')"
    )

    assert result.ret == 0
    assert re.fullmatch(r"cosmos-venv-[\d.]+-cpython-3\d+-3[\d.]+-airflow-[\w.]+-[\w.-]+", str(result.stdout).strip())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        pytest.param(
            "test_mine.py",
            "ERROR: --cosmos-conformance runs the suite and nothing *: leave out test_mine.py.",
            id="a-path",
        ),
        *(
            pytest.param(
                option,
                f"ERROR: {option.partition('=')[0]}: the suite does nothing with it: leave it out, or leave out "
                "--cosmos-conformance.",
                id=option,
            )
            for option in (
                "--cosmos-record=recordings",
                "--cosmos-dags",
                "--cosmos-dbt=1.11,1.12",
            )
        ),
    ],
)
def test_what_conformance_cannot_do_is_a_usage_error(pytester: pytest.Pytester, option: str, message: str) -> None:
    pytester.makepyfile(test_mine="def test_mine(): pass")

    result = pytester.runpytest_inprocess("--cosmos-conformance", option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.fixture
def several(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both known implementations, as far as distributions are asked for."""
    for distribution in ("astronomer-cosmos", "cosmos-venv"):
        write_distribution(pytester.path, distribution, "1.0")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    monkeypatch.syspath_prepend(pytester.path)
