"""The plugin that pytest loads: the options, the fixtures, and the switch to the suite.

Every project that has this distribution installed imports this file and those of ``fixtures/`` in each test run: they
import the standard library and pytest only; everything else is imported on first use.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator

import pytest

from pytest_cosmos_venv.fixtures.faults import FAULT_MARK, check_marks, require_happened

FIXTURES = ("pytest_cosmos_venv.fixtures", "pytest_cosmos_venv.fixtures.xdist_races")

_CONFORMANCE = "--cosmos-conformance"
_DAGS = "--cosmos-dags"
_DAG_SWITCHES = {
    "cosmos-dags-network": "DAG checks: install with network what dbt ls needs, and resolve requirements.",
    "cosmos-update-snapshots": "DAG checks: store the task ids as they are now.",
}
_SUITE = "pytest_cosmos_venv.conformance.session"
# Options with a value; each may stand in the ini file too, under its name with underscores.
_VALUES = (
    (
        "cosmos-implementation",
        "IMPORT_ROOT|module:Adapter",
        "The implementation, such as cosmos or cosmos_venv, or the adapter of one with another layout. "
        "Default: the one that is installed.",
    ),
    (
        "cosmos-level",
        "must|should|beyond",
        "Conformance: requirements of this level and above it decide the exit code. Default: must.",
    ),
    ("cosmos-requirement", "IDS", "Conformance: judge only these, such as LOCK-003,SEED-*."),
    (
        "cosmos-known-failures",
        "FILE",
        "Conformance: the implementation's own list of requirements that it fails, which do not count.",
    ),
    ("cosmos-report", "DIR", "Conformance: write report.json, report.html and a badge there."),
    ("cosmos-profile", "quick|full", "Conformance: how many free rounds races have, 25 or 200. Default: quick."),
    (
        "cosmos-installer",
        "auto|uv|pip",
        "Conformance: what tasks install with, as Airflow's setting venv_install_method says. Default: auto.",
    ),
    (
        "cosmos-timeout",
        "SECONDS",
        "Conformance: how long one task may take. Default: 60, or 40 times what the smoke check's task took.",
    ),
    (
        "cosmos-cache-dir",
        "DIR",
        "Where wheels and databases are kept between runs, relative to the root directory. Default: in pytest's cache.",
    ),
    (
        "cosmos-dbt",
        "RELEASES",
        "The releases of dbt with which tests of cosmos_duckdb run, such as 1.11,1.12,2: each test with each of them. "
        "Default: 1.11. With several, dbt projects below the given paths are compiled and built too, and what differs "
        "is told.",
    ),
    (
        "cosmos-dbt-report",
        "DIR",
        "With several releases of --cosmos-dbt: write report.json and report.html there.",
    ),
    (
        "cosmos-record",
        "DIR",
        "Record each dbt that the tests start, without secrets, into DIR, a folder for each test; relative to the root "
        "directory.",
    ),
)
_FORMER_NAMES = {"cosmos-deadline": "cosmos-timeout"}
# The others are the suite's, as the switches are.
_OF_EVERY_RUN = ("cosmos-implementation", "cosmos-cache-dir", "cosmos-dbt", "cosmos-dbt-report", "cosmos-record")
_OF_THE_SUITE = tuple(name for name, _, _ in _VALUES if name not in _OF_EVERY_RUN)
_SWITCHES = {
    "cosmos-servers": "Conformance: judge what needs servers of Airflow, and nothing else. Scheduler, API server and "
    "triggerer are started for it.",
    "cosmos-strict": "Conformance: a known failure that passes makes the run fail.",
    "cosmos-update-known-failures": "Conformance: write the file of --cosmos-known-failures anew from what failed.",
}


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options and the fixtures, and watch from here on for the first import of Airflow.

    It is the earliest moment of a run: other plugins and conftest.py files that import Airflow come later.

    :param parser: pytest's parser of options.
    :param pluginmanager: pytest's plugins.
    """
    # Not by pytest_plugins: pytest looks through the metadata of all distributions for each name that stands there.
    for name in FIXTURES:
        pluginmanager.import_plugin(name)
    _watch_for_airflow(parser, pluginmanager)
    group = parser.getgroup("cosmos", "dbt in Airflow (pytest-cosmos-venv)")
    group.addoption(
        _CONFORMANCE,
        action="store_true",
        help="Judge an implementation by the conformance suite, and run nothing else.",
    )
    for name, metavar, text in _VALUES:
        group.addoption(f"--{name}", metavar=metavar, help=text)
        parser.addini(_key(name), f"As --{name}. {text}")
    for former, name in _FORMER_NAMES.items():
        group.addoption(f"--{former}", help=argparse.SUPPRESS)
        parser.addini(_key(former), f"The former name of {_key(name)}.")
    parser.addini(
        "cosmos_services",
        "Processes that stay when a task has ended, by design, one a line: their names or command lines, as patterns "
        "such as harbor-server*. Races tell them apart from what was left behind. The implementation declares its own.",
        type="linelist",
    )
    parser.addini(
        "cosmos_dbt_requirements",
        "How a release of --cosmos-dbt is installed where its number does not say it, one a line: "
        "1.12: dbt-core==1.12.0 dbt-duckdb.",
        type="linelist",
    )
    parser.addini(
        "cosmos_dbt_drivers",
        "Files of database drivers that dbt 2 loads, such as libduckdb.so, relative to the root directory.",
        type="args",
    )
    parser.addini(
        "cosmos_dbt_sources",
        "Files with the rows of sources, for projects that are built with several releases of --cosmos-dbt, one a "
        "line: raw.ships: tests/ships.csv.",
        type="linelist",
    )
    for name, text in _SWITCHES.items():
        group.addoption(f"--{name}", action="store_true", help=text)
    group.addoption(
        _DAGS,
        action="store_true",
        help="Check each file below the given paths that names DbtDag or DbtTaskGroup, without network.",
    )
    for name, text in _DAG_SWITCHES.items():
        group.addoption(f"--{name}", action="store_true", help=text)
    group.addoption("--cosmos-dags-report", metavar="DIR", help="DAG checks: write report.json and report.html there.")
    _add_ini_of_dag_checks(parser)
    group.addoption(
        "--cosmos-cache-key",
        action="store_true",
        help="Print the key that names the content of --cosmos-cache-dir, for the cache of a CI, and end.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Keep conftest.py files out of a run of the suite, which goes on whatever they do or break.

    :param early_config: the configuration of the run.
    """
    if early_config.known_args_namespace.cosmos_conformance:
        early_config.known_args_namespace.noconftest = True


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Do instead of this run what an option asks for: print the cache key, or run the suite; return its exit code.

    :param config: the configuration of the run.
    :raises pytest.UsageError: the suite cannot run here, or options and paths do not fit each other.
    """
    if config.option.help or config.option.version:
        return None
    if config.option.cosmos_cache_key:
        from pytest_cosmos_venv.shared_folders import cache_key

        print(cache_key())
        return pytest.ExitCode.OK
    if not config.option.cosmos_conformance:
        _take_former_names(config)
        _refuse_options_of_the_suite(config)
        return None
    from pytest_cosmos_venv.fixtures.session import named_option
    from pytest_cosmos_venv.suite import run_suite, why_not_on

    if reason := why_not_on(sys.platform):
        raise pytest.UsageError(reason)
    _take_former_names(config)
    arguments = list(config.invocation_params.args)
    _refuse_paths(config, arguments)
    return run_suite(
        [argument for argument in arguments if argument != _CONFORMANCE] + _of_the_ini_file(config),
        implementation=named_option(config, "cosmos_implementation"),
        set_aside=_set_aside(config),
        has_servers=config.option.cosmos_servers,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Do what an option asks for: collect DAG files, compare releases of dbt, put the recorder in front of dbt.

    :param config: the configuration of the run.
    :raises pytest.UsageError: an option cannot be understood, or is given without the one that it belongs to.
    """
    from pytest_cosmos_venv.fixtures.session import named_option

    recordings = named_option(config, "cosmos_record")
    if recordings is not None and not config.pluginmanager.hasplugin(_SUITE):
        _record_dbt(config, recordings)
    if "," in (named_option(config, "cosmos_dbt") or ""):
        _compare_releases(config)
    elif config.option.cosmos_dbt_report:
        raise pytest.UsageError("--cosmos-dbt-report: name several releases with --cosmos-dbt, such as 1.11,1.12.")
    if config.option.cosmos_dags or config.getini("cosmos_dags"):
        _check_dag_files(config)
        return
    given = [f"--{name}" for name in (*_DAG_SWITCHES, "cosmos-dags-report") if getattr(config.option, _key(name))]
    if given:
        raise pytest.UsageError(f"{', '.join(given)}: give {_DAGS} too, which checks DAG files, or leave it out.")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the implementation that is used, where that can be told without looking for it.

    :param config: the configuration of the run.
    """
    if config.pluginmanager.hasplugin(_SUITE):  # which says it itself
        return None
    from pytest_cosmos_venv.fixtures.session import named_option
    from pytest_cosmos_venv.implementation import describe_choice

    choice = describe_choice(named_option(config, "cosmos_implementation"))
    return f"cosmos: implementation {choice}" if choice else None


def pytest_configure(config: pytest.Config) -> None:
    """Describe the mark for ``pytest --markers``.

    :param config: the configuration of the run.
    """
    config.addinivalue_line(
        "markers",
        f"{FAULT_MARK}(*sentences, what, at, times=1, in_task, lasts, may_not_happen=False): let faults happen while "
        'the test runs a DAG, such as "worker killed after node 3" or "index down for 30 s".',
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse marks that mean no fault when their file is collected.

    :param metafunc: the test function that is collected.
    """
    if metafunc.definition.get_closest_marker(FAULT_MARK) is not None:
        check_marks(metafunc.definition)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that has passed while its faults have not happened.

    :param item: the test.
    """
    yield
    if item.get_closest_marker(FAULT_MARK) is not None:
        require_happened(item)


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


def pytest_assertrepr_compare(left: object, right: object) -> list[str] | None:
    """Tell a test that expected nothing to be left behind how processes are declared that are meant to stay.

    :param left: the left side of a comparison that failed.
    :param right: the right side.
    """
    services = sys.modules.get("pytest_cosmos_venv.races.supervisor")
    if services is None:
        return None
    for found, other in ((left, right), (right, left)):
        if isinstance(found, services.LeftBehind):
            lines: list[str] = found.explanation(other)
            return lines
    return None


def _record_dbt(config: pytest.Config, folder: str) -> None:
    from pytest_cosmos_venv.recordings.recorded_tests import RecordedTests

    recorded = RecordedTests(config.rootpath / os.path.expanduser(folder))  # noqa: PTH111 - pathlib costs each run
    config.pluginmanager.register(recorded, "cosmos-record")
    recorded.start()


def _compare_releases(config: pytest.Config) -> None:
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.fixtures.session import kept_folder, named_option
    from pytest_cosmos_venv.fixtures.warehouse import named_releases
    from pytest_cosmos_venv.upgrades.projects import SOURCES_OPTION, read_sources
    from pytest_cosmos_venv.upgrades.release_session import NAME, ReleaseSession

    report = named_option(config, "cosmos_dbt_report")
    try:
        session = ReleaseSession(
            named_releases(config),
            sources=read_sources(config.getini(SOURCES_OPTION), root=config.rootpath),
            kept=kept_folder(config),
            folder=config.rootpath / report if report else None,
        )
    except ToolkitMisuse as error:
        raise pytest.UsageError(str(error.msg)) from None
    config.pluginmanager.register(session, NAME)


def _check_dag_files(config: pytest.Config) -> None:
    from pytest_cosmos_venv.dag_checks.collection import NAME, DagChecks
    from pytest_cosmos_venv.fixtures.session import kept_folder, named_option

    named = named_option(config, "cosmos_implementation")
    config.pluginmanager.register(DagChecks(config, kept=kept_folder(config), implementation=named), NAME)


def _add_ini_of_dag_checks(parser: pytest.Parser) -> None:
    parser.addini("cosmos_dags", f"As {_DAGS}.", type="bool", default=False)
    parser.addini("cosmos_dags_network", "As --cosmos-dags-network.", type="bool", default=False)
    parser.addini("cosmos_dags_report", "As --cosmos-dags-report.")
    parser.addini(
        "cosmos_dags_budget", "DAG checks: seconds that an import may take. Default: Airflow's dagbag_import_timeout."
    )
    parser.addini(
        "cosmos_dags_exceptions",
        "DAG checks that may fail, one a line, each with its reason: dags/daily.py::tests: the reason.",
        type="linelist",
    )


def _watch_for_airflow(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_cosmos_venv.airflow.home_setup import NAME, OPTION, AirflowHomeSetup

    parser.addini(
        OPTION,
        "Whether this run gives Airflow a throw-away home. Default: where a test file names a fixture that needs one.",
        type="bool",
        default=None,
    )
    pluginmanager.register(AirflowHomeSetup(), NAME)


def _take_former_names(config: pytest.Config) -> None:
    for former, name in _FORMER_NAMES.items():
        old, new = _key(former), _key(name)
        given = getattr(config.option, old)
        if given is not None or config.getini(old):
            text = f"--{former} is called --{name} now, and {old} in the ini file {new}"
            config.issue_config_time_warning(pytest.PytestDeprecationWarning(text), stacklevel=2)
        if given is not None and getattr(config.option, new) is None:
            setattr(config.option, new, given)


def _key(option: str) -> str:
    """Return the name of an option in the ini file, which is also its name among the options that were given."""
    return option.replace("-", "_")


def _refuse_options_of_the_suite(config: pytest.Config) -> None:
    """Refuse options of the suite in another run: they would do nothing there, and the user would wait for a report."""
    if config.pluginmanager.hasplugin(_SUITE):
        return
    given = [f"--{name}" for name in (*_OF_THE_SUITE, *_SWITCHES) if getattr(config.option, _key(name))]
    if given:
        raise pytest.UsageError(f"{', '.join(given)}: give {_CONFORMANCE} too, which runs the suite, or leave it out.")


def _refuse_paths(config: pytest.Config, arguments: list[str]) -> None:
    paths = [path for path in config.option.file_or_dir if path in arguments]
    if paths:
        raise pytest.UsageError(f"{_CONFORMANCE} runs the suite and nothing else: leave out {' '.join(paths)}.")


def _of_the_ini_file(config: pytest.Config) -> list[str]:
    """Return the suite's options from the ini file that the command line does not name: the suite reads its own ini
    file.
    """
    former = {name: old for old, name in _FORMER_NAMES.items()}
    said = {
        name: config.getini(_key(name)) or (config.getini(_key(former[name])) if name in former else "")
        for name in _OF_THE_SUITE
        if getattr(config.option, _key(name)) is None
    }
    return [f"--{name}={value}" for name, value in said.items() if value]


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
