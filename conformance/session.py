"""How does a run of the suite begin and end? Its header, its fixtures, and what its exit code means.

Loaded as a plugin into the suite's own pytest process, which reads no conftest.py.
"""

from __future__ import annotations

import argparse
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import Implementation, ImplementationError, SuiteExit, find_implementation

from . import SPECIFICATION_VERSION, SUITE_VERSION
from .adapter import Adapter
from .airflow_home import AirflowHome, make_airflow_home

_SMOKE_FILE = "test_smoke.py"
_IMPLEMENTATION = pytest.StashKey[Implementation]()
_FAILED_SMOKE_CHECKS = pytest.StashKey[list[str]]()
_DESELECTED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the process that starts the suite tells it beside the user's options."""
    parser.addoption("--cosmos-set-aside", default="", help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the implementation before anything is collected.

    :raises pytest.UsageError: when none can be chosen (exit code 4).
    """
    config.stash[_FAILED_SMOKE_CHECKS] = []
    config.stash[_DESELECTED] = 0
    try:
        config.stash[_IMPLEMENTATION] = find_implementation(config.getoption("cosmos_implementation"))
    except ImplementationError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is judged, with what, and what of the user's configuration has no say."""
    implementation = config.stash[_IMPLEMENTATION]
    installer = "uv" if shutil.which("uv") else "pip"
    header = [
        f"implementation: {implementation.import_root} {implementation.version}",
        f"environment: Airflow {_airflow_version()}, Python {platform.python_version()}, installer {installer}",
        f"conformance: specification {SPECIFICATION_VERSION}, suite {SUITE_VERSION}",
    ]
    set_aside = config.getoption("cosmos_set_aside")
    return [*header, f"set aside: {set_aside}"] if set_aside else header


@pytest.fixture(scope="session")
def adapter(pytestconfig: pytest.Config) -> Adapter:
    """The judged implementation."""
    implementation = pytestconfig.stash[_IMPLEMENTATION]
    if implementation.adapter_class is None:
        return Adapter(implementation.import_root)
    made: Adapter = implementation.adapter()
    return made


@pytest.fixture(scope="session")
def airflow_home_template(tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    """A home with a migrated database, to be copied."""
    return make_airflow_home(tmp_path_factory.mktemp("airflow") / "template")


@pytest.fixture
def airflow_home(airflow_home_template: AirflowHome, tmp_path: Path) -> AirflowHome:
    """A home for one task."""
    return airflow_home_template.copy_to(tmp_path / "airflow")


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what the user's options leave out: a run with gaps is no verdict."""
    if items:
        items[0].config.stash[_DESELECTED] += len(items)


class SmokeFirst:
    """Ends the run at the first smoke check that fails: what comes after it would blame the wrong one."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at a result, under pytest-xdist in the process that gathers them."""
        if report.failed and report.nodeid.startswith(_SMOKE_FILE):
            self._session.config.stash[_FAILED_SMOKE_CHECKS].append(report.nodeid)
            self._session.shouldstop = "a smoke check failed"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch the results from the first on."""
    session.config.pluginmanager.register(SmokeFirst(session))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn pytest's exit code into the suite's; a worker of pytest-xdist tells the others what it left out."""
    workeroutput: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["cosmos_deselected"] = session.config.stash[_DESELECTED]
        return
    session.exitstatus = suite_exit_code(
        exitstatus,
        smoke_failed=bool(session.config.stash[_FAILED_SMOKE_CHECKS]),
        deselected=session.config.stash[_DESELECTED],
    )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker of pytest-xdist deselects the same: count once."""
    config = node.config
    config.stash[_DESELECTED] = max(
        config.stash[_DESELECTED], getattr(node, "workeroutput", {}).get("cosmos_deselected", 0)
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in words what the exit code says."""
    stash = terminalreporter.config.stash
    failed, deselected = stash[_FAILED_SMOKE_CHECKS], stash[_DESELECTED]
    if failed:
        terminalreporter.section("conformance: nothing was judged", red=True)
        terminalreporter.line(
            f"The smoke check {failed[0]} failed, so the environment or the adapter is at fault, not a requirement. "
            f"Repair it and run again (exit code {SuiteExit.SMOKE_FAILED:d})."
        )
    elif deselected:
        terminalreporter.section("conformance: incomplete", yellow=True)
        terminalreporter.line(
            f"The given options left out {deselected} check(s): no verdict (exit code {SuiteExit.INCOMPLETE:d})."
        )


def suite_exit_code(exitstatus: int, *, smoke_failed: bool, deselected: int) -> int:
    """The exit code of a run: pytest's own, unless the run says nothing about the implementation.

    :param exitstatus: pytest's.
    :param deselected: how many checks the user's options left out.
    """
    if smoke_failed:
        return SuiteExit.SMOKE_FAILED
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        return SuiteExit.INCOMPLETE
    if exitstatus == pytest.ExitCode.OK and deselected:
        return SuiteExit.INCOMPLETE
    return int(exitstatus)


def _airflow_version() -> str:
    for distribution in ("apache-airflow", "apache-airflow-core"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "not installed"
