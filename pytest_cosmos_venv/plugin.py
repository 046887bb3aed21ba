"""The plugin that pytest loads: the fixtures, what options ask for, and the switch to the suite.

Every project that has this distribution installed imports this file, ``options.py`` and the files of ``fixtures/`` in
each test run: they import the standard library and pytest only; everything else is imported on first use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_cosmos_venv.options import (
    CONFORMANCE,
    SUITE,
    add_options,
    options_of_the_suite,
    refuse_beside_the_suite,
    refuse_options_of_dag_checks,
    refuse_options_of_the_suite,
)

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.dbt_releases import DbtRelease

FIXTURES = (
    "pytest_cosmos_venv.fixtures",
    "pytest_cosmos_venv.fixtures.faults",
    "pytest_cosmos_venv.fixtures.marked_races",
)
"""The plugins of fixtures: one for most fixtures, and two that have hooks of their own."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options and the fixtures, and watch from here on for the first import of Airflow.

    No hook runs earlier: other plugins and conftest.py files that import Airflow come later.

    :param parser: pytest's parser of options.
    :param pluginmanager: pytest's plugins.
    """
    # Not by pytest_plugins: for each name there, pytest searches the metadata of all distributions.
    for name in FIXTURES:
        pluginmanager.import_plugin(name)
    _watch_for_airflow(parser, pluginmanager)
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load no conftest.py file in a run of the suite: a broken file must not stop the run.

    :param early_config: the configuration of the run.
    """
    if early_config.known_args_namespace.cosmos_conformance:
        early_config.known_args_namespace.noconftest = True


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Run the suite instead of this run where an option asks for it; return its exit code.

    :param config: the configuration of the run.
    :raises pytest.UsageError: the suite cannot run here, or options and paths do not fit each other.
    """
    if config.option.help or config.option.version:
        return None
    if not config.option.cosmos_conformance:
        refuse_options_of_the_suite(config)
        return None
    from pathlib import Path

    from pytest_cosmos_venv.fixtures.session import named_option
    from pytest_cosmos_venv.suite import run_suite, why_not_on

    if reason := why_not_on(sys.platform):
        raise pytest.UsageError(reason)
    arguments = list(config.invocation_params.args)
    refuse_beside_the_suite(arguments)
    _refuse_paths(config, arguments)
    report = named_option(config, "cosmos_report")
    return run_suite(
        [argument for argument in arguments if argument != CONFORMANCE] + options_of_the_suite(config),
        implementation=named_option(config, "cosmos_implementation"),
        set_aside=_set_aside(config),
        has_servers=config.option.cosmos_servers,
        report=Path(report) if report else None,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Do what an option asks for: collect DAG files, compare releases of dbt, put the recorder in front of dbt.

    :param config: the configuration of the run.
    :raises pytest.UsageError: an option is not valid, or is given without the option that it belongs to.
    """
    from pytest_cosmos_venv.fixtures.session import named_option

    recordings = named_option(config, "cosmos_record")
    if recordings is not None and not config.pluginmanager.hasplugin(SUITE):
        _record_dbt(config, recordings)
    releases = _releases(config)
    if len(releases) > 1:
        _compare_releases(config, releases)
    if config.option.cosmos_dags or config.getini("cosmos_dags"):
        _check_dag_files(config, releases)
    else:
        refuse_options_of_dag_checks(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a real dbt with each release that ``--cosmos-dbt`` names.

    :param metafunc: the test.
    """
    from pytest_cosmos_venv.fixtures.session import named_option
    from pytest_cosmos_venv.fixtures.warehouse import RELEASE_FIXTURE, named_releases

    if RELEASE_FIXTURE not in metafunc.fixturenames:
        return
    if named_option(metafunc.config, "cosmos_dbt") is not None:
        names = [release.name for release in named_releases(metafunc.config)]
        metafunc.parametrize(
            RELEASE_FIXTURE, names, indirect=True, scope="session", ids=[f"dbt-{name}" for name in names]
        )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the implementation that is used, where installed metadata alone tells it.

    :param config: the configuration of the run.
    """
    if config.pluginmanager.hasplugin(SUITE):  # the suite has a header of its own
        return None
    from pytest_cosmos_venv.fixtures.session import named_option
    from pytest_cosmos_venv.implementation import describe_choice

    choice = describe_choice(named_option(config, "cosmos_implementation"))
    return f"cosmos: implementation {choice}" if choice else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test the DAG runs that did not succeed, and with a misuse the line of the test.

    :param item: the test.
    :param call: the phase of the test that has ended.
    """
    report = yield
    if call.excinfo is None:
        return report
    from pytest_cosmos_venv.errors import ToolkitMisuse, blamed_line
    from pytest_cosmos_venv.fixtures.airflow import OUTCOMES

    ill = [str(outcome) for outcome in item.stash.get(OUTCOMES, []) if not outcome.succeeded]
    if ill and report.failed and report.when == "call":
        report.sections.append(("cosmos: what did not succeed", "\n\n".join(ill)))
    # A misuse is told without a traceback.
    line = blamed_line(call.excinfo.tb, item.config.rootpath) if call.excinfo.errisinstance(ToolkitMisuse) else None
    if line is not None:
        report.sections.append(("cosmos: used wrongly here", line))
    return report


def _record_dbt(config: pytest.Config, folder: str) -> None:
    from pytest_cosmos_venv.recordings.recorded_tests import RecordedTests

    recorded = RecordedTests(config.rootpath / os.path.expanduser(folder))  # noqa: PTH111 - pathlib costs each run
    config.pluginmanager.register(recorded, "cosmos-record")
    recorded.start()


def _releases(config: pytest.Config) -> Sequence[DbtRelease]:
    """Return the releases of dbt that the run names."""
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.fixtures.session import named_option
    from pytest_cosmos_venv.fixtures.warehouse import named_releases

    if named_option(config, "cosmos_dbt") is None:
        return ()
    try:
        return named_releases(config)
    except ToolkitMisuse as error:
        raise pytest.UsageError(str(error.msg)) from None


def _compare_releases(config: pytest.Config, releases: Sequence[DbtRelease]) -> None:
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.fixtures.session import cache_folder
    from pytest_cosmos_venv.upgrades.projects import SOURCES_OPTION, read_sources
    from pytest_cosmos_venv.upgrades.release_session import NAME, ReleaseSession

    try:
        session = ReleaseSession(
            releases,
            sources=read_sources(config.getini(SOURCES_OPTION), root=config.rootpath),
            kept=cache_folder(config),
        )
    except ToolkitMisuse as error:
        raise pytest.UsageError(str(error.msg)) from None
    config.pluginmanager.register(session, NAME)


def _check_dag_files(config: pytest.Config, releases: Sequence[DbtRelease]) -> None:
    from pytest_cosmos_venv.dag_checks.collection import NAME, DagChecks
    from pytest_cosmos_venv.fixtures.session import cache_folder, folder_of_workers, named_option

    checks = DagChecks(
        config,
        run=folder_of_workers(config),
        kept=cache_folder(config),
        implementation=named_option(config, "cosmos_implementation"),
        releases=releases,
    )
    config.pluginmanager.register(checks, NAME)


def _watch_for_airflow(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_cosmos_venv.airflow.home_setup import NAME, OPTION, AirflowHomeSetup

    parser.addini(
        OPTION,
        "Whether this run gives Airflow a throw-away home. Default: where a test file names a fixture that needs one.",
        type="bool",
        default=None,
    )
    pluginmanager.register(AirflowHomeSetup(), NAME)


def _refuse_paths(config: pytest.Config, arguments: list[str]) -> None:
    paths = [path for path in config.option.file_or_dir if path in arguments]
    if paths:
        raise pytest.UsageError(f"{CONFORMANCE} runs the suite and nothing else: leave out {' '.join(paths)}.")


def _set_aside(config: pytest.Config) -> list[str]:
    """Return the parts of the project's configuration that do not apply in the suite, by the names that their owner
    uses.
    """
    found = []
    if config.inipath is not None:
        found.append(config.inipath.name)
    if (config.rootpath / "conftest.py").is_file():
        found.append("conftest.py")
    found += [name for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if os.environ.get(name)]
    return found
