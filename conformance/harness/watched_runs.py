"""Runs of DAGs in the execution mode WATCHER, all in one Airflow with servers: each DAG runs once, for many checks.

Each DAG has a project and a fake dbt of its own, so that the runs go on side by side. An action on a run that goes on,
such as the kill of its producer, is done once, when the first check asks for that run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import psutil

from pytest_cosmos_venv import CosmosProject, DbtCall, DbtProject
from pytest_cosmos_venv.environments.fake_venv import fake_venv
from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.real_time import wait_until

from ..tasks import DagPlan
from .harness import Harness
from .processes import lives
from .served_airflow import ServedAirflow, TaskInstance, served_airflow

MODELS = ("staging", "mart", "report")
"""The models of each project: each reads the one before it."""
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
"""States of a task that is over."""
RUN_ENDED = ("success", "failed")
"""States of a run that is over."""
_LONGEST_END = 30.0
"""Seconds within which the dbt processes of a killed task must be gone."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The result of a run.

    :param state: the state of the run; None: there is none.
    :param tasks: its tasks by their ids.
    :param calls: the commands of dbt that it has run, in order, without questions for the version.
    :param seen: what was seen while it went on.
    :param problem: why there is no run, or what has not happened in time; empty: there is no problem.
    :param log: the warnings and errors that its tasks have logged.
    :param virtualenv_dir: the folder of managed environments.
    """

    state: str | None
    tasks: Mapping[str, TaskInstance]
    calls: Sequence[DbtCall]
    seen: Mapping[str, Any]
    problem: str
    log: str = field(repr=False)
    virtualenv_dir: Path

    def tasks_of(self, name: str, operator: str = "Run") -> dict[str, str | None]:
        """States of the tasks for a node or test by their ids.

        :param name: the name of a node or test.
        :param operator: a part of the name of their class.
        """
        return {each.task_id: each.state for each in self.tasks.values() if _runs(each, name, operator)}

    def built(self, name: str) -> list[str]:
        """The statuses that dbt has given a node or a test, over all its commands.

        :param name: the name of a node or test.
        """
        ends = ((node.split(".")[2], status) for call in self.calls for node, status in call.nodes.items())
        return [status for node, status in ends if node == name]

    def __str__(self) -> str:
        states = ", ".join(f"{name} {each.state} (try {each.tries})" for name, each in sorted(self.tasks.items()))
        calls = "; ".join(f"dbt {call.command} -> {call.exit_code}: {dict(call.nodes)}" for call in self.calls)
        problem = f"{self.problem}\n" if self.problem else ""
        return f"{problem}the run is {self.state}; tasks: {states or 'none'}; dbt: {calls or 'not called'}\n{self.log}"


def _runs(task: TaskInstance, name: str, operator: str) -> bool:
    """Whether a task is for a node or test, and its class has this part in its name."""
    word = re.compile(rf"(?:^|[._]){re.escape(name)}(?:[._]|$)")
    return word.search(task.task_id) is not None and operator in task.operator


@dataclass(frozen=True, kw_only=True)
class RunInProgress:
    """A run that goes on, for the action of a check on it.

    :param dag_id: the id of its DAG.
    :param airflow: runs it.
    :param dbt: the fake dbt of its tasks.
    :param dag_ids: name of each scenario -> the id of its DAG.
    """

    dag_id: str
    airflow: ServedAirflow
    dbt: ScriptedDbt
    dag_ids: Mapping[str, str]

    def held_build(self) -> DbtCall | None:
        """The ``dbt build`` of the run once it is held in the middle of its work; None: the run ends before."""
        found: list[DbtCall] = []

        def is_held() -> bool:
            found[:] = [call for call in self.dbt.calls if call.held_at is not None]
            return bool(found) or self.airflow.state(self.dag_id) in RUN_ENDED

        self.airflow.wait(is_held)
        return found[0] if found else None

    def task_of(self, name: str) -> TaskInstance | None:
        """The task that runs a node.

        :param name: the name of the node.
        """
        return next((each for each in self.airflow.tasks(self.dag_id).values() if _runs(each, name, "Run")), None)

    def state_of(self, name: str) -> str | None:
        """The state of the task that runs a node; None: it has none yet.

        :param name: the name of the node.
        """
        task = self.task_of(name)
        return None if task is None else task.state


RunAction = Callable[[RunInProgress], Mapping[str, Any]]
"""Acts on a run in progress, and returns facts by name."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One DAG and what happens in its only run.

    :param fill: changes the project, which has the models of ``MODELS``.
    :param script: says what dbt does.
    :param act: what is done to the run while it goes on.
    :param after_manifest: changes the project after its manifest is written.
    :param retries: how often each task is tried again.
    :param retries_of_producer: the same for the task that runs dbt build; None: as for the other tasks.
    :param parts: further parts of the plan.
    :param is_managed: whether dbt runs from a managed environment; False: from an existing environment.
    :param beside: ids of further DAGs without which this one cannot be judged.
    """

    fill: Callable[[DbtProject], object] = lambda project: None  # noqa: ARG005 - nothing is changed
    script: Callable[[ScriptedDbt], object] = lambda dbt: None  # noqa: ARG005 - dbt does as it is told
    act: RunAction = lambda run: {}  # noqa: ARG005 - nothing is done
    after_manifest: Callable[[DbtProject], object] = lambda project: None  # noqa: ARG005 - nothing is changed
    retries: int = 0
    retries_of_producer: int | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    is_managed: bool = False
    beside: tuple[str, ...] = ()

    def plan(self, dag_id: str, project: DbtProject, dbt: Mapping[str, Any], harness: Harness) -> DagPlan:
        """The plan of the DAG.

        :param dag_id: the id of the DAG.
        :param project: the project.
        :param dbt: the parts of the plan that say which dbt its tasks run.
        :param harness: makes plans.
        """
        execution = {"execution_mode": "watcher", "invocation_mode": "subprocess", **dbt["execution"]}
        if self.retries_of_producer is not None:
            execution["setup_operator_args"] = {"retries": self.retries_of_producer}
        tries = {"retries": self.retries, "retry_delay": timedelta(0)}
        dag = {"dag_id": dag_id, "schedule": "@once", "default_args": tries}
        return harness.dag_plan(project.path, **{**self.parts, **dbt, "execution": execution, "dag": dag})


@dataclass(frozen=True, kw_only=True)
class WatchedRuns:
    """The runs of all scenarios, in one Airflow.

    :param airflow: runs them.
    :param scenarios: name -> what happens in the run of its DAG.
    :param dag_ids: name of each scenario -> the id of its DAG.
    :param dbts: name of each scenario -> its dbt.
    :param virtualenv_dir: the folder of managed environments.
    :param ended: name of each scenario whose run is over -> its result.
    """

    airflow: ServedAirflow
    scenarios: Mapping[str, Scenario]
    dag_ids: Mapping[str, str]
    dbts: Mapping[str, ScriptedDbt]
    virtualenv_dir: Path
    ended: dict[str, Ended] = field(default_factory=dict)

    def __call__(self, name: str) -> Ended:
        """The result of the run of a scenario, once the run is over or nothing more happens.

        :param name: the name of the scenario.
        """
        if name not in self.ended:
            self.ended[name] = self._end(name)
        return self.ended[name]

    def _end(self, name: str) -> Ended:
        airflow, dbt, problem, dag_id = self.airflow, self.dbts[name], "", self.dag_ids[name]
        seen: Mapping[str, Any] = {}
        if error := airflow.import_error(dag_id):
            problem = f"the DAG cannot be built: {error}"
        else:
            run = RunInProgress(dag_id=dag_id, airflow=airflow, dbt=dbt, dag_ids=self.dag_ids)
            seen = self.scenarios[name].act(run)
            if not airflow.wait(lambda: airflow.state(dag_id) in RUN_ENDED):
                problem = "the run does not end, and no task changes its state any more"
        with suppress(FileNotFoundError):
            dbt.release()
        return Ended(
            state=airflow.state(dag_id),
            tasks=airflow.tasks(dag_id),
            calls=[call for call in dbt.calls if call.command != "--version"],
            seen=seen,
            problem=problem,
            log=airflow.log(dag_id),
            virtualenv_dir=self.virtualenv_dir,
        )


@contextmanager
def watched_runs(
    folder: Path, database: Path, *, harness: Harness, scenarios: Mapping[str, Scenario]
) -> Iterator[WatchedRuns]:
    """Within this block each scenario runs; its end ends the dbt processes that are left.

    :param folder: an empty folder.
    :param database: a database of Airflow that is migrated and empty.
    :param harness: makes the plans, and names the adapter.
    :param scenarios: name -> what happens in the run of its DAG.
    """
    # The name of a scenario would tell an implementation what is judged. The test's folder is drawn by the seed.
    draw = Random(harness.folder.name)  # noqa: S311 - to be repeated
    dag_ids = {name: f"harbor_{draw.getrandbits(32):08x}" for name in scenarios}
    wheelhouse, virtualenv_dir = build_wheelhouse(folder / "wheelhouse"), folder / "virtualenvs"
    variables = {**wheelhouse.environment, "UV_CACHE_DIR": str(folder / "uv-cache")}
    dbts: dict[str, ScriptedDbt] = {}
    plans: dict[str, DagPlan] = {}
    with ExitStack() as stack:
        stack.callback(wheelhouse.close)
        for name, scenario in scenarios.items():
            dag_id = dag_ids[name]
            project = _make_project(folder / "projects" / dag_id)
            scenario.fill(project)
            project.manifest()
            scenario.after_manifest(project)
            if scenario.is_managed:
                dbts[name], parts = wheelhouse, _managed(harness.requirements(), wheelhouse, virtualenv_dir)
            else:
                dbts[name] = there = fake_venv(folder / "dbts" / dag_id, [])
                parts = {"execution": {"dbt_executable_path": str(there.dbt)}}
            stack.callback(dbts[name].close)
            scenario.script(dbts[name])
            plans[dag_id] = scenario.plan(dag_id, project, parts, harness)
        home = folder / "home"
        home.mkdir()
        named, timeout = harness.adapter.named, harness.timeout
        served = served_airflow(home, database, named=named, plans=plans, variables=variables, timeout=timeout)
        airflow = stack.enter_context(served)
        yield WatchedRuns(
            airflow=airflow, scenarios=scenarios, dag_ids=dag_ids, dbts=dbts, virtualenv_dir=virtualenv_dir
        )


def _managed(requirements: list[str], wheelhouse: Wheelhouse, virtualenv_dir: Path) -> dict[str, Any]:
    """The parts of a plan whose tasks install dbt themselves."""
    wanted = {"py_requirements": requirements, "pip_install_options": wheelhouse.pip_install_options}
    return {"execution": {"virtualenv_dir": str(virtualenv_dir)}, "operator_args": wanted}


def _make_project(folder: Path) -> DbtProject:
    project = CosmosProject(folder=folder)("harbor")
    for name, text in zip(MODELS, ("1 as id", "* from {{ ref('staging') }}", "* from {{ ref('mart') }}"), strict=True):
        project.model(name, f"select {text}")
    return project


def kill_the_producer(run: RunInProgress) -> Mapping[str, Any]:
    """Kill the process of the task that runs dbt, and nothing else, while dbt is held.

    :param run: a run whose dbt is held.
    :returns: ``left``: the processes of dbt that live on; ``was_held``: whether dbt was held; ``was_killed``: True.
    """
    return {**_end(run, lambda call: run.airflow.task_process(call.pid).kill()), "was_killed": True}


def mark_the_producer_failed(run: RunInProgress) -> Mapping[str, Any]:
    """Mark the task that runs dbt as failed, while dbt is held. Airflow ends the task then.

    :param run: a run whose dbt is held.
    :returns: as ``kill_the_producer``, without ``was_killed``.
    """

    def mark(_: DbtCall) -> None:
        tasks = run.airflow.tasks(run.dag_id).values()
        run.airflow.mark_failed(run.dag_id, next(each.task_id for each in tasks if "Producer" in each.operator))

    return _end(run, mark)


def _end(run: RunInProgress, end: Callable[[DbtCall], object]) -> dict[str, Any]:
    call = run.held_build()
    if call is None:
        return {"was_held": False, "left": []}
    of_dbt = _processes_of(call)
    end(call)
    return {"was_held": True, "left": _what_lives_of(of_dbt)}


def _processes_of(call: DbtCall) -> list[psutil.Process]:
    dbt = psutil.Process(call.pid)
    return [dbt, *dbt.children(recursive=True)]


def _what_lives_of(processes: Sequence[psutil.Process]) -> list[str]:
    wait_until(lambda: not any(lives(each.pid) for each in processes), timeout=_LONGEST_END)
    return [str(each) for each in processes if lives(each.pid)]


def look_while_dbt_is_held(run: RunInProgress) -> Mapping[str, Any]:
    """Read the state of the first node's task while dbt is held in the second node, and let dbt go on.

    :param run: a run whose dbt is held in its second node.
    :returns: ``first``: the state, once the task is over or nothing more happens.
    """
    if run.held_build() is not None:
        run.airflow.wait(lambda: run.state_of(MODELS[0]) in ENDED)
    first = run.state_of(MODELS[0])
    run.dbt.release()
    return {"first": first}


def clear_while_dbt_is_held(run: RunInProgress, calm: str) -> Mapping[str, Any]:
    """Clear the first node's task while dbt is held in the second node, and let dbt go on later.

    Then the same task of a run that is over is cleared too. When this second task has ended again, the first task has
    had all the time that it needs to start whatever it starts.

    :param run: a run whose dbt is held in its second node.
    :param calm: the name of a scenario in whose run nothing happens.
    :returns: ``was_cleared``: whether the tasks were cleared.
    """
    airflow = run.airflow
    over = replace(run, dag_id=run.dag_ids[calm])
    is_ready = (
        airflow.wait(lambda: airflow.state(over.dag_id) in RUN_ENDED)
        and run.held_build() is not None
        and airflow.wait(lambda: run.state_of(MODELS[0]) in ENDED)
    )
    for each in (run, over) if is_ready else ():
        task = each.task_of(MODELS[0])
        assert task is not None  # it has a state
        airflow.clear(each.dag_id, task.task_id)
    airflow.wait(lambda: airflow.state(over.dag_id) in RUN_ENDED)
    run.dbt.release()
    return {"was_cleared": is_ready}
