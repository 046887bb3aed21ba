"""Fixtures of this room, and the watch over the first import of Airflow."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pytest_cosmos_venv.airflow.clock import Clock
    from pytest_cosmos_venv.airflow.connections import Connections
    from pytest_cosmos_venv.airflow.home import AirflowHome
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome, TaskOutcome
    from pytest_cosmos_venv.airflow.variables import Variables
    from pytest_cosmos_venv.sharing import SharedFolders

_Outcome = TypeVar("_Outcome", "DagOutcome", "TaskOutcome")
_OUTCOMES: pytest.StashKey[list[DagOutcome | TaskOutcome]] = pytest.StashKey()


class RunDag(Protocol):
    """What ``cosmos_run_dag`` is."""

    def __call__(
        self,
        dag: Any,
        *,
        logical_date: datetime | str | None = None,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        raise_on_failure: bool = False,
    ) -> DagOutcome:
        """Run the DAG to its end.

        :param logical_date: a moment, or a string such as ``2026-01-01``, in UTC unless it says so. Default: now.
        :param run_id: Default: the one that Airflow makes up.
        :param conf: the configuration of the run; ``params`` take their values from it.
        :param raise_on_failure: raise ``AssertionError`` with the table when the run fails.
        """


class RunTask(Protocol):
    """What ``cosmos_run_task`` is."""

    def __call__(
        self,
        operator: Any,
        *,
        logical_date: datetime | str | None = None,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        raise_on_failure: bool = False,
    ) -> TaskOutcome:
        """Run the task to its end; parameters as for ``cosmos_run_dag``."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The earliest moment of a run: other plugins and conftest.py files that import Airflow come later."""
    from pytest_cosmos_venv.airflow.settling import NAME, OPTION, Settling

    parser.addini(
        OPTION,
        "Whether this run gives Airflow a throw-away home. Default: where a test file names a fixture that needs one.",
        type="bool",
        default=None,
    )
    pluginmanager.register(Settling(), NAME)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the runs that did not succeed, whatever its assertion says."""
    report = yield
    if report.failed and report.when == "call":
        ill = [str(outcome) for outcome in item.stash.get(_OUTCOMES, []) if not outcome.succeeded]
        if ill:
            report.sections.append(("cosmos: what did not succeed", "\n\n".join(ill)))
    return report


@pytest.fixture(scope="session")
def _cosmos_airflow_for_children(pytestconfig: pytest.Config) -> Callable[[], Mapping[str, str | None]]:
    """Asked before a child process is started: what to set for it, so that its Airflow settles on this run's home."""
    from pytest_cosmos_venv.airflow.settling import NAME, OPTION
    from pytest_cosmos_venv.airflow_release import installed_airflow

    if pytestconfig.getini(OPTION) is False or installed_airflow() is None:
        return dict
    settling = pytestconfig.pluginmanager.get_plugin(NAME)
    return lambda: settling.variables_for_children(pytestconfig)  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def _cosmos_airflow_home(pytestconfig: pytest.Config, _cosmos_shared: SharedFolders) -> AirflowHome:
    """Airflow, imported, on a home with a database."""
    from pytest_cosmos_venv.airflow.home import settle
    from pytest_cosmos_venv.airflow.settling import NAME

    return settle(pytestconfig.pluginmanager.get_plugin(NAME), pytestconfig, _cosmos_shared)  # type: ignore[arg-type]


@pytest.fixture
def _cosmos_airflow_rows(_cosmos_airflow_home: AirflowHome) -> Iterator[None]:
    """Airflow's database is at the end of the test what it was before."""
    from pytest_cosmos_venv.airflow.database import put_back

    with put_back(_cosmos_airflow_home.database):
        yield


@pytest.fixture
def cosmos_airflow_home(_cosmos_airflow_home: AirflowHome, _cosmos_airflow_rows: None) -> Iterator[AirflowHome]:
    """The throw-away AIRFLOW_HOME of this test process, with a migrated SQLite database.

    ``.path``, ``.dags_folder``, ``.add_dag_file(name, text)``, ``.environment`` for child processes. What a test adds,
    files and rows, is gone after it. Where a conftest.py or another plugin has set up an AIRFLOW_HOME, it is that one.
    """
    yield _cosmos_airflow_home
    _cosmos_airflow_home.remove_dag_files()


@pytest.fixture
def cosmos_run_dag(_cosmos_airflow_rows: None, request: pytest.FixtureRequest) -> RunDag:
    """Run a DAG to its end in this process, on Airflow 2 and 3: ``outcome = cosmos_run_dag(dag)``.

    ``outcome.state``, ``.tasks["load"].state``, ``.exception``, ``.log``, ``.xcoms``, ``.assets``, ``.duration``. A
    task that fails is part of the outcome; ``assert outcome.succeeded`` shows all of it. The DAG may be made in the
    test. Tries follow each other at once. Options: ``logical_date``, ``run_id``, ``conf``, ``raise_on_failure``.
    """
    from pytest_cosmos_venv.airflow.running import run_dag

    return _kept_for_the_report(run_dag, request)


@pytest.fixture
def cosmos_run_task(_cosmos_airflow_rows: None, request: pytest.FixtureRequest) -> RunTask:
    """Run one operator as Airflow runs a task, on Airflow 2 and 3: ``task = cosmos_run_task(operator)``.

    Its templates are rendered, its callbacks called, its XComs and assets kept: ``task.state``, ``.returned``,
    ``.log``, ``.xcoms``, ``.assets``, ``.exception``, ``.duration``. An operator without a DAG gets one; of a DAG with
    other tasks only this one runs. Options as for ``cosmos_run_dag``.
    """
    from pytest_cosmos_venv.airflow.running import run_task

    return _kept_for_the_report(run_task, request)


@pytest.fixture
def cosmos_variables(_cosmos_airflow_home: AirflowHome) -> Iterator[Variables]:
    """Airflow Variables in memory, for all code of this process, on Airflow 2 and 3; the database sees none of them.

    ``.put(key, text)`` prepares one, ``.get(key)`` and ``.values`` tell what is there, ``.writes`` what the code under
    test has changed. ``with cosmos_variables.outage():`` they fail where Airflow's own store fails.
    """
    from pytest_cosmos_venv.airflow.variables import Variables, VariableStore
    from pytest_cosmos_venv.airflow.versions import this_airflow

    store = VariableStore()
    with this_airflow().variables_in(store):
        yield Variables(store)


@pytest.fixture
def cosmos_connections() -> Iterator[Connections]:
    """Airflow Connections for the length of a test: ``cosmos_connections.add("port", conn_type="postgres", ...)``.

    Child processes know them too. No provider needs to be installed.
    """
    from pytest_cosmos_venv.airflow.connections import Connections

    connections = Connections()
    yield connections
    connections.close()


@pytest.fixture
def cosmos_clock() -> Iterator[Clock]:
    """The time that code of this process sees: ``.freeze("2026-01-01")``, ``.move(3600)``, ``.now``.

    Meanwhile ``time.sleep`` moves the clock and returns at once. Tasks run by ``cosmos_run_dag`` see it too. By
    time-machine where it is installed, else by freezegun. Waits other than ``time.sleep`` take their real time.
    """
    from pytest_cosmos_venv.airflow.clock import clock_of_a_test

    with clock_of_a_test() as clock:
        yield clock


def _kept_for_the_report(run: Callable[..., _Outcome], request: pytest.FixtureRequest) -> Callable[..., _Outcome]:
    """``run``, whose outcomes a failed test shows, and which raises where it is asked to."""
    outcomes: list[Any] = request.node.stash.setdefault(_OUTCOMES, [])

    def run_and_keep(*what: Any, raise_on_failure: bool = False, **options: Any) -> _Outcome:
        outcome = run(*what, **options)
        outcomes.append(outcome)
        if raise_on_failure and not outcome.succeeded:
            raise AssertionError(str(outcome)) from outcome.exception
        return outcome

    return run_and_keep
