"""The value of ``cosmos_airflow``: an Airflow of the test's own, and the DAG files that are loaded in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload
from unittest import mock

from pytest_cosmos_venv.airflow import clock
from pytest_cosmos_venv.airflow.clock import Clock, clock_of_a_test, instant_of
from pytest_cosmos_venv.airflow.connections import Connections
from pytest_cosmos_venv.airflow.home import AirflowHome
from pytest_cosmos_venv.airflow.outcomes import DagOutcome, TaskOutcome
from pytest_cosmos_venv.airflow.variables import Variables, VariableStore
from pytest_cosmos_venv.airflow.versions import this_airflow
from pytest_cosmos_venv.dags.budget import ParseBudget
from pytest_cosmos_venv.dags.dag_files import file_builder
from pytest_cosmos_venv.dags.shape import DagShape, dag_shape
from pytest_cosmos_venv.errors import RecordList, ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.rules import NodeOutcome
from pytest_cosmos_venv.implementation import Implementation
from pytest_cosmos_venv.runs.loading import MADE_UP, Substitutes
from pytest_cosmos_venv.runs.running import Attempts, RunOptions, run_dag, run_task

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pytest_cosmos_venv.environments.scripted_dbt import DbtCall, ScriptedDbt
    from pytest_cosmos_venv.processes.venv_lock import VenvLock

_MOST_RUNS = 1000


class _Dag(Protocol):
    @property
    def task_dict(self) -> Any: ...


class _Operator(Protocol):
    @property
    def task_id(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class LoadContext:
    """The test's parts that loading a DAG file uses. The functions are called when a file is loaded.

    :param root: the folder to which paths of DAG files are relative.
    :param folder: the folder of the test.
    :param implementation: returns the implementation under test.
    :param dbt: returns the fake dbt that tasks install; None where the test runs a real one.
    :param lock: returns the lock of a ``virtualenv_dir``.
    """

    root: Path
    folder: Path
    implementation: Callable[[], Implementation]
    dbt: Callable[[], ScriptedDbt | None]
    lock: Callable[[Path], VenvLock]


class CosmosAirflow:
    """An Airflow of the test's own. ``home`` is its AIRFLOW_HOME, ``budget`` checks what the building of a DAG costs.

    :param home: the AIRFLOW_HOME of this process.
    :param outcomes: the list to which the outcome of each run is added.
    :param attempts: lets the faults of the test happen in its runs; None: the test has no faults.
    :param load_context: the parts of the test that load a DAG file; None where a contender was given this object.
    """

    prepares = ("pytest_cosmos_venv.prepared_airflow",)
    """The modules that a contender of a race imports before it starts."""

    def __init__(
        self,
        home: AirflowHome,
        outcomes: list[DagOutcome | TaskOutcome] | None = None,
        attempts: Attempts | None = None,
        load_context: LoadContext | None = None,
    ) -> None:
        self.home = home
        self.budget = ParseBudget(self._substitutes_in_force)
        self._outcomes = [] if outcomes is None else outcomes
        self._attempts = attempts
        self._load_context = load_context
        self._stack = ExitStack()

    def __reduce__(self) -> tuple[object, ...]:
        # A contender of a race gets this object without the test's outcomes, and starts a list of its own.
        return CosmosAirflow, (self.home,)

    @cached_property
    def connections(self) -> Connections:
        """The Connections of the test: ``.add("warehouse", conn_type="postgres", ...)``. Child processes know them."""
        connections = Connections()
        self._stack.callback(connections.close)
        return connections

    @cached_property
    def variables(self) -> Variables:
        """Airflow Variables in memory. All code of this process uses them after the first access to this property."""
        store = VariableStore()
        self._stack.enter_context(this_airflow().variables_in(store))
        return Variables(store)

    @cached_property
    def clock(self) -> Clock:
        """The time that code of this process sees. It is the real time until ``at`` or ``.clock.move`` is called."""
        return self._stack.enter_context(clock_of_a_test())

    def at(self, moment: datetime | date | str) -> Clock:
        """Freeze the clock at another time. ``time.sleep`` and ``.move`` of the returned clock move it on.

        :param moment: a moment such as ``"2026-01-01"``, in UTC unless it names a time zone.
        """
        self.clock.freeze(moment)
        return self.clock

    def shape(self, dag: Any, *, fields: Sequence[str] = ()) -> DagShape:
        """Return the shape of a DAG: ``.data`` is plain data, ``.text`` a tree. They are equal on Airflow 2 and 3.

        :param dag: a DAG.
        :param fields: arguments of operators that the shape includes, such as ``("select",)``.
        """
        return dag_shape(_dag_of(dag), fields=fields)

    def load(
        self,
        file: Path | str,
        *,
        dag_id: str | None = None,
        connections: Literal["made up"] | None = None,
    ) -> LoadedDag:
        """Import a DAG file as Airflow's processor does, and return its DAG.

        Environments go into folders of the test, whatever ``virtualenv_dir`` the file names: one for the file, one for
        the tasks. The DAG's tasks install a fake dbt, unless the test takes ``cosmos_duckdb``.

        :param file: the file, relative to the root directory of the tests. It imports others of its folder.
        :param dag_id: the id of the DAG, where the file builds several.
        :param connections: ``"made up"`` makes up the Connections that profiles need and the test has not added.
        :raises ToolkitMisuse: there is no such file or DAG, or a profile needs a Connection that the test has not
            given.
        """
        if self._load_context is None:
            raise ToolkitMisuse(
                "cosmos_airflow.load: a contender loads no file. Load it in the test, and pass the loaded DAG: "
                "cosmos_race(function, dag)."
            )
        if connections not in (None, MADE_UP):
            raise ToolkitMisuse(
                f"load(connections={connections!r}): say {MADE_UP!r}, or use cosmos_airflow.connections."
            )
        around = self._load_context
        path = around.root / file
        if not path.is_file():
            raise ToolkitMisuse(f"cosmos_airflow.load({str(file)!r}): there is no file {path}.")
        dbt = around.dbt()
        build = self._stack.enter_context(file_builder(path, around.root / path.parent))
        with self._substitutes.in_force(around.implementation()) as missing:
            try:
                dags = build()
            except Exception as error:
                _refuse_missing(str(file), missing, connections, self.connections, error)
                raise
        _refuse_missing(str(file), missing, connections, self.connections, None)
        dag = _chosen(dags, dag_id, file=str(file))
        self._substitutes.lead_tasks(dag)
        return LoadedDag(dag=dag, airflow=self, _file=path, _dbt=dbt, _around=around)

    def _substitutes_in_force(self) -> AbstractContextManager[object]:
        around = self._load_context
        if around is None:
            return nullcontext()
        around.dbt()  # a file that runs dbt ls would install a real dbt
        return self._substitutes.in_force(around.implementation())

    @cached_property
    def _substitutes(self) -> Substitutes:
        assert self._load_context is not None
        return Substitutes(folder=self._load_context.folder, connections=self.connections)

    @overload
    def run(
        self, work: _Dag | LoadedDag, *, raise_on_failure: bool = ..., **options: Unpack[RunOptions]
    ) -> DagOutcome: ...

    @overload
    def run(self, work: _Operator, *, raise_on_failure: bool = ..., **options: Unpack[RunOptions]) -> TaskOutcome: ...

    def run(
        self, work: Any, *, raise_on_failure: bool = False, **options: Unpack[RunOptions]
    ) -> DagOutcome | TaskOutcome:
        """Run a DAG or one operator to its end in this process. Tries follow each other at once.

        :param work: a DAG, or an operator: then no other task of its DAG runs.
        :param raise_on_failure: whether a run that fails raises ``AssertionError`` with the table.
        :param **options: ``logical_date``, ``run_id`` and ``conf``, see ``RunOptions``.
        :raises ToolkitMisuse: ``work`` is neither a DAG nor an operator, the run would have no tasks, another run has
            that id or date, or the test has scripted a node that the project lacks.
        """
        scripted = work._dbt if isinstance(work, LoadedDag) else None
        work = _dag_of(work)
        run = run_task if hasattr(work, "task_id") else run_dag
        outcome = run(work, attempts=self._attempts, **options)
        self._outcomes.append(outcome)
        if scripted is not None:
            scripted.refuse_misuse()
        if raise_on_failure and not outcome.succeeded:
            raise AssertionError(str(outcome)) from outcome.exception
        return outcome

    def catch_up(
        self,
        dag: Any,
        *,
        until: datetime | str,
        since: datetime | str | None = None,
        conf: Mapping[str, Any] | None = None,
        raise_on_failure: bool = False,
    ) -> list[DagOutcome]:
        """Run a DAG once for each data interval of its schedule, each with the clock standing at the moment at which a
        scheduler would begin that run.

        If the test has frozen the clock, it stands at the last of these moments afterwards.

        :param dag: a DAG with a schedule.
        :param until: no run begins after this moment; a moment or a string such as ``2026-04-01``. No data interval
            begins after the end date of the DAG either.
        :param since: no data interval begins before this moment. Default: the start date of the DAG.
        :param conf: the configuration of all runs.
        :param raise_on_failure: whether a run that fails raises ``AssertionError`` with the table.
        :returns: the outcomes, in the order of the runs.
        """
        work, dag = dag, _dag_of(dag)
        first = None if since is None else instant_of(since, parameter="since")
        runs = _intervals_between(dag, first, instant_of(until, parameter="until"))
        kind = type(this_airflow().timetable_of(dag))
        found: list[DagOutcome] = []
        with clock.clock_of_runs() as stands:
            for run in runs:
                stands.freeze(run.run_after)
                interval = run.data_interval
                # dag.test() would take the interval before the logical date.
                with mock.patch.object(kind, "infer_manual_data_interval", lambda *_, of=interval, **__: of):
                    found.append(
                        self.run(work, logical_date=interval.start, conf=conf, raise_on_failure=raise_on_failure)
                    )
        return RecordList(found, of="catch_up()", none="there was no run", word=repr)

    def close(self) -> None:
        """Put back the time, the Variables and the Connections."""
        self._stack.close()


@dataclass(frozen=True, kw_only=True)
class LoadedDag:
    """The DAG of a file that was loaded in a test. A contender of a race loads the file again, before the race begins.

    :param dag: Airflow's DAG.
    :param airflow: the Airflow of the test.
    """

    prepares = CosmosAirflow.prepares

    dag: Any
    airflow: CosmosAirflow = field(repr=False)
    _file: Path = field(repr=False)
    _dbt: ScriptedDbt | None = field(repr=False)
    _around: LoadContext = field(repr=False)
    _nodes: dict[str, NodeOutcome] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        around = self._around
        test = (around.root, around.folder, around.implementation())
        return _loaded_in_contender, (self.airflow.home, *test, self._file, self.dag.dag_id)

    def run(self, *, raise_on_failure: bool = False, **options: Unpack[RunOptions]) -> DagOutcome:
        """Run the DAG to its end.

        :param raise_on_failure: whether a run that fails raises ``AssertionError`` with the table.
        :param **options: as for ``cosmos_airflow.run``.
        """
        return self.airflow.run(self, raise_on_failure=raise_on_failure, **options)

    def catch_up(self, **options: Any) -> list[DagOutcome]:
        """Run the DAG for each data interval of its schedule.

        :param **options: as for ``cosmos_airflow.catch_up``.
        """
        return self.airflow.catch_up(self, **options)

    def shape(self, *, fields: Sequence[str] = ()) -> DagShape:
        """Return the shape of the DAG.

        :param fields: arguments of operators that count too.
        """
        return dag_shape(self.dag, fields=fields)

    @property
    def tasks(self) -> list[Any]:
        """Airflow's tasks of the DAG."""
        return list(self.dag.tasks)

    @property
    def calls(self) -> list[DbtCall]:
        """The calls of the fake dbt so far, including calls from loading the file."""
        return self._fake().calls

    def model(self, name: str) -> ScriptedNode:
        """Return a model, so that the test can say how it ends: ``.fails()``.

        :param name: its name or unique id.
        """
        return self._node(name, "error")

    def seed(self, name: str) -> ScriptedNode:
        """Return a seed, so that the test can say how it ends.

        :param name: its name or unique id.
        """
        return self._node(name, "error")

    def test(self, name: str) -> ScriptedNode:
        """Return a test of dbt, so that the test can say how it ends.

        :param name: its name or unique id.
        """
        return self._node(name, "fail")

    @property
    def virtualenv_dir(self) -> Path:
        """The folder of the test in which the environments of the tasks are kept.

        :raises ToolkitMisuse: the tasks have no ``virtualenv_dir``, or several.
        """
        found = {str(path) for task in self.dag.tasks if (path := getattr(task, "virtualenv_dir", None))}
        if len(found) != 1:
            told = ", ".join(sorted(found)) or "none"
            raise ToolkitMisuse(
                f"DAG {self.dag.dag_id!r}: all its tasks must have the same virtualenv_dir; they have: {told}. Use "
                "cosmos_lock(virtualenv_dir)."
            )
        return Path(found.pop())

    @property
    def lock(self) -> VenvLock:
        """The lock of ``virtualenv_dir``, as ``cosmos_lock`` gives it: ``.lock.stale()``."""
        return self._around.lock(self.virtualenv_dir)

    def leaks(self, secret: str) -> list[str]:
        """Return the places that hold a secret: command lines of dbt, logs of tasks, and files of the test's folder, of
        the Airflow home and of the dbt projects.

        :param secret: the text of the secret.
        """
        record = None if self._dbt is None else self._dbt.folder
        calls = [] if self._dbt is None else self._dbt.calls
        found = [f"the command line dbt {call.command}" for call in calls if any(secret in each for each in call.argv)]
        for outcome in self.airflow._outcomes:
            tasks = outcome.tasks.values() if isinstance(outcome, DagOutcome) else [outcome]
            found += [f"the log of {task.task_id}" for task in tasks if secret in task.log]
        projects = {Path(given) for task in self.dag.tasks if (given := getattr(task, "project_dir", None))}
        folders = (self._around.folder, self.airflow.home.path, *projects)
        files = {file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink()}
        for file in sorted(files):
            # The record of the fake dbt belongs to the test, not to the implementation.
            if (record is None or not file.is_relative_to(record)) and secret.encode() in file.read_bytes():
                found.append(str(file))
        return found

    def _fake(self) -> ScriptedDbt:
        if self._dbt is None:
            raise ToolkitMisuse(
                "There is no fake dbt to script here: a test that takes cosmos_duckdb has a real dbt, and in a race "
                "the test scripts dbt, not a contender."
            )
        return self._dbt

    def _node(self, name: str, failure: str) -> ScriptedNode:
        dbt, nodes = self._fake(), self._nodes

        def end(outcome: NodeOutcome) -> None:
            nodes[name] = outcome
            dbt.script(nodes=nodes)

        return ScriptedNode(failure=failure, end=end)


def _loaded_in_contender(
    home: AirflowHome, root: Path, folder: Path, implementation: Implementation, file: Path, dag_id: str
) -> LoadedDag:
    """Load a file in the process of a contender. The fake dbt and the Connections of the test are in its variables."""

    def refuse_lock(_: Path) -> VenvLock:
        raise ToolkitMisuse("dag.lock has no effect in a contender. Use it in the test.")

    context = LoadContext(
        root=root, folder=folder, implementation=lambda: implementation, dbt=lambda: None, lock=refuse_lock
    )
    return CosmosAirflow(home, load_context=context).load(file, dag_id=dag_id)


@dataclass(frozen=True, kw_only=True)
class ScriptedNode:
    """A node of the dbt project whose result a test sets.

    :param failure: the status of a failed node of this type.
    :param end: sets the outcome of the node from now on.
    """

    failure: str
    end: Callable[[NodeOutcome], None] = field(repr=False)

    def fails(self, message: str | None = None) -> None:
        """Let it fail from now on.

        :param message: dbt's message.
        """
        self.end(NodeOutcome(status=self.failure, message=message))

    def succeeds(self) -> None:
        """Let it succeed again."""
        self.end(NodeOutcome(status="pass" if self.failure == "fail" else "success"))


def _dag_of(work: Any) -> Any:
    return work.dag if isinstance(work, LoadedDag) else work


def _refuse_missing(
    file: str, missing: Mapping[str, str], wish: str | None, given: Connections, error: Exception | None
) -> None:
    """Refuse a file whose profiles need Connections that the test has not added, and remove the made-up Connections."""
    if not missing or wish == MADE_UP:
        return
    for name in missing:
        given.remove(name)
    named = ", ".join(f"{name!r} ({kind})" for name, kind in missing.items())
    first, kind = next(iter(missing.items()))
    raise ToolkitMisuse(
        f"{file} needs Connections that this test has not given: {named}. Before it is loaded, say "
        f"cosmos_airflow.connections.add({first!r}, conn_type={kind!r}, ...), or let them be made up: "
        f"cosmos_airflow.load({file!r}, connections={MADE_UP!r})."
    ) from error


def _chosen(dags: Sequence[Any], dag_id: str | None, *, file: str) -> Any:
    ids = [dag.dag_id for dag in dags]
    if dag_id is None and len(dags) == 1:
        return dags[0]
    if dag_id in ids:
        return dags[ids.index(dag_id)]
    raise ToolkitMisuse(f"load({file!r}, dag_id={dag_id!r}): name one of its DAGs, dag_id=...: {', '.join(ids)}.")


def _intervals_between(dag: Any, since: datetime | None, until: datetime) -> list[Any]:
    """Return the runs that a scheduler would make for a DAG, as the DAG's own timetable says, each with ``run_after``
    and ``data_interval``.

    :param dag: a DAG with a schedule.
    :param since: the moment at which the first data interval may begin; None: the start date of the DAG.
    :param until: the moment up to which a scheduler would be at work: no run begins later.
    :raises ToolkitMisuse: there are no such runs, or more than a test can run.
    """
    from airflow.timetables.base import TimeRestriction

    timetable = this_airflow().timetable_of(dag)
    starts = [start for start in (dag.start_date, *(task.start_date for task in dag.tasks)) if start is not None]
    earliest = max([*([] if since is None else [since]), *([min(starts)] if starts else [])], default=None)
    if earliest is None:
        raise ToolkitMisuse(f"DAG {dag.dag_id!r} has no start_date: give since=, such as '2026-01-01'.")
    latest: Any = _end_of(dag)  # a DateTime of pendulum's, which Airflow makes of each date
    restriction = TimeRestriction(earliest=earliest, latest=latest, catchup=True)
    found: list[Any] = []
    last = None
    while len(found) <= _MOST_RUNS:
        run = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if run is None or run.run_after > until:
            break
        found.append(run)
        last = run.data_interval
    between = f"between {earliest.isoformat()} and {until.isoformat()}"
    if len(found) > _MOST_RUNS:
        raise ToolkitMisuse(f"DAG {dag.dag_id!r} has more than {_MOST_RUNS} runs {between}: give a shorter time.")
    if not found:
        ends = "" if latest is None else f", its end date: {latest.isoformat()}"
        raise ToolkitMisuse(
            f"DAG {dag.dag_id!r} has no run {between} (its schedule: {timetable.summary}{ends}): give it a schedule, "
            "or a later until."
        )
    return found


def _end_of(dag: Any) -> datetime | None:
    """Return the moment after which no data interval of a DAG begins, as a scheduler takes it; None: there is none.

    It is the latest end date of the DAG and its tasks, or that of the DAG alone where a task has no end date.
    """
    ends = [task.end_date for task in dag.tasks]
    found: datetime | None = dag.end_date
    if ends and None not in ends:
        found = max([*ends, *([] if found is None else [found])])
    return found
