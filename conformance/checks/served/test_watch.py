"""WATCH: one dbt builds all nodes, and the task of each node ends as dbt has ended the node.

All runs are in one Airflow with servers: each DAG runs once, for many checks. Each DAG has a project and a fake dbt of
its own, so that the runs go on side by side. An action on a run that goes on, such as the kill of its producer, is done
once, when the first check asks for that run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosProject, DbtCall, DbtProject
from pytest_cosmos_venv.environments.fake_venv import fake_venv
from pytest_cosmos_venv.environments.scripted_dbt import ScriptedDbt
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.real_time import wait_until

from ...adapter import AFTER, DagPlan
from ...declaration import Declaration
from ...harness.harness import Harness
from ...harness.processes import lives
from ...harness.served_airflow import ServedAirflow, TaskInstance, served_airflow, why_not_here
from ...requirements import requirement
from ...session import named_adapter

MODELS = STAGING, MART, REPORT = ("staging", "mart", "report")
"""The models of each project: each reads the one before it."""
APART = "apart"
EAST, WEST = "east", "west"
"""Models without parents and children: their tests block no other model."""
SEED = "piers"
CALM = "calm"
"""The scenario in whose run nothing happens."""
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
"""States of a task that is over."""
RUN_ENDED = ("success", "failed")
"""States of a run that is over."""
NOT_DONE = ("skipped", "upstream_failed")
"""States of a task whose node dbt has skipped."""
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
    :param calm: the id of the DAG in whose run nothing happens.
    """

    dag_id: str
    airflow: ServedAirflow
    dbt: ScriptedDbt
    calm: str

    def held_build(self) -> DbtCall | None:
        """The ``dbt build`` of the run once it is held in the middle of its work; None: the run ends before."""

        def held() -> list[DbtCall]:
            return [call for call in self.dbt.calls if call.held_at is not None]

        self.airflow.wait(lambda: held() or self.airflow.state(self.dag_id) in RUN_ENDED)
        return next(iter(held()), None)

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
    :param script: what its ``dbt build`` does, as for ``ScriptedDbt.script``; empty: all nodes succeed.
    :param act: what is done to the run while it goes on.
    :param after_manifest: changes the project after its manifest is written.
    :param retries: how often each task is tried again.
    :param retries_of_producer: the same for the task that runs dbt build; None: as for the other tasks.
    :param parts: further parts of the plan.
    :param is_managed: whether dbt runs from a managed environment; False: from an existing environment.
    """

    fill: Callable[[DbtProject], object] = lambda project: None  # noqa: ARG005 - nothing is changed
    script: Mapping[str, Any] = field(default_factory=dict)
    act: RunAction = lambda run: {}  # noqa: ARG005 - nothing is done
    after_manifest: Callable[[DbtProject], object] = lambda project: None  # noqa: ARG005 - nothing is changed
    retries: int = 0
    retries_of_producer: int | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    is_managed: bool = False


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """The only run of a scenario.

    :param scenario: what happens in it.
    :param dag_id: the id of its DAG.
    :param dbt: its dbt.
    :param plan: its DAG.
    """

    scenario: Scenario
    dag_id: str
    dbt: ScriptedDbt
    plan: DagPlan


def _planned(scenario: Scenario, dag_id: str, *, folder: Path, harness: Harness, managed: Wheelhouse) -> PlannedRun:
    """A scenario with its project and its dbt; ``managed`` is the dbt of managed environments."""
    project = CosmosProject(folder=folder / "projects" / dag_id)("harbor")
    for name, text in zip(MODELS, ("1 as id", "* from {{ ref('staging') }}", "* from {{ ref('mart') }}"), strict=True):
        project.model(name, f"select {text}")
    scenario.fill(project)
    project.manifest()
    scenario.after_manifest(project)
    execution: dict[str, Any] = {"execution_mode": "watcher", "invocation_mode": "subprocess"}
    dbt: ScriptedDbt = managed
    parts = dict(scenario.parts)
    if scenario.is_managed:
        execution["virtualenv_dir"] = str(folder / "virtualenvs")
        options = managed.pip_install_options
        parts["operator_args"] = {"py_requirements": harness.requirements(), "pip_install_options": options}
    else:
        dbt = there = fake_venv(folder / "dbts" / dag_id, [])
        execution["dbt_executable_path"] = str(there.dbt)
    if scenario.script:
        dbt.script("build", **scenario.script)
    if scenario.retries_of_producer is not None:
        execution["setup_operator_args"] = {"retries": scenario.retries_of_producer}
    tries = {"retries": scenario.retries, "retry_delay": timedelta(0)}
    dag = {"dag_id": dag_id, "schedule": "@once", "default_args": tries}
    plan = harness.dag_plan(project.path, execution=execution, dag=dag, **parts)
    return PlannedRun(scenario=scenario, dag_id=dag_id, dbt=dbt, plan=plan)


@dataclass(frozen=True, kw_only=True)
class WatchedRuns:
    """The runs of all scenarios, in one Airflow.

    :param airflow: runs them.
    :param runs: name of each scenario -> its run.
    :param virtualenv_dir: the folder of managed environments.
    :param ended: name of each scenario whose run is over -> its result.
    """

    airflow: ServedAirflow
    runs: Mapping[str, PlannedRun]
    virtualenv_dir: Path
    ended: dict[str, Ended] = field(default_factory=dict)

    def __call__(self, name: str) -> Ended:
        """The result of the run of a scenario, once the run is over or nothing more happens.

        :param name: the name of the scenario.
        """
        if name not in self.ended:
            self.ended[name] = self._end(self.runs[name])
        return self.ended[name]

    def _end(self, planned: PlannedRun) -> Ended:
        airflow, dbt, problem, dag_id = self.airflow, planned.dbt, "", planned.dag_id
        seen: Mapping[str, Any] = {}
        if error := airflow.import_error(dag_id):
            problem = f"the DAG cannot be built: {error}"
        else:
            run = RunInProgress(dag_id=dag_id, airflow=airflow, dbt=dbt, calm=self.runs[CALM].dag_id)
            seen = planned.scenario.act(run)
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


def _started(
    stack: ExitStack, folder: Path, database: Path, *, harness: Harness, scenarios: Mapping[str, Scenario]
) -> WatchedRuns:
    """Start each scenario; the end of ``stack`` ends the dbt processes that are left.

    :param stack: ends the servers too.
    :param folder: an empty folder.
    :param database: a database of Airflow that is migrated and empty.
    :param harness: makes the plans, and names the adapter.
    :param scenarios: name -> what happens in the run of its DAG.
    """
    # The name of a scenario would tell an implementation what is judged. The test's folder is drawn by the seed.
    draw = Random(harness.folder.name)  # noqa: S311 - to be repeated
    wheelhouse, home, runs = build_wheelhouse(folder / "wheelhouse"), folder / "home", {}
    home.mkdir()
    stack.callback(wheelhouse.close)
    for name, scenario in scenarios.items():
        dag_id = f"harbor_{draw.getrandbits(32):08x}"
        runs[name] = _planned(scenario, dag_id, folder=folder, harness=harness, managed=wheelhouse)
        stack.callback(runs[name].dbt.close)
    served = served_airflow(
        home,
        database,
        named=harness.adapter.named,
        plans={each.dag_id: each.plan for each in runs.values()},
        variables={**wheelhouse.environment, "UV_CACHE_DIR": str(folder / "uv-cache")},
        timeout=harness.timeout,
    )
    return WatchedRuns(airflow=stack.enter_context(served), runs=runs, virtualenv_dir=folder / "virtualenvs")


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
    dbt = psutil.Process(call.pid)
    of_dbt = [dbt, *dbt.children(recursive=True)]
    end(call)
    wait_until(lambda: not any(lives(each.pid) for each in of_dbt), timeout=_LONGEST_END)
    return {"was_held": True, "left": [str(each) for each in of_dbt if lives(each.pid)]}


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


def clear_while_dbt_is_held(run: RunInProgress) -> Mapping[str, Any]:
    """Clear the first node's task while dbt is held in the second node, and let dbt go on later.

    Then the same task of a run that is over is cleared too. When this second task has ended again, the first task has
    had all the time that it needs to start whatever it starts.

    :param run: a run whose dbt is held in its second node.
    :returns: ``was_cleared``: whether the tasks were cleared.
    """
    airflow = run.airflow
    over = replace(run, dag_id=run.calm)
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


def _give_tests(project: DbtProject) -> None:
    for name in (APART, EAST, WEST):
        project.model(name, "select 1 as id")
    project.test("whole", "select * from {{ ref('apart') }} where id is null")
    project.test("sound", "select * from {{ ref('apart') }} where id < 0")
    project.test("across", "select * from {{ ref('east') }} join {{ ref('west') }} using (id)")


def _give_a_seed(project: DbtProject) -> None:
    project.seed(SEED, "id,name\n1,north\n")
    project.edit(STAGING, "select * from {{ ref('piers') }}")


_MART_FAILS, _MART_IS_HELD = {"nodes": {MART: "error"}}, {"at": MART, "hold": True}
SCENARIOS: Mapping[str, Scenario] = {
    "failing": Scenario(script=_MART_FAILS),
    "stale": Scenario(after_manifest=lambda project: project.delete(REPORT)),
    "broken": Scenario(script={"exit_code": 2}),
    "held": Scenario(script=_MART_IS_HELD, act=look_while_dbt_is_held),
    "alone": Scenario(script={"nth": 1, **_MART_FAILS}, retries=1, retries_of_producer=0),
    "retried": Scenario(script={"nth": 1, **_MART_FAILS}, retries=1),
    "killed": Scenario(script={"child": True, **_MART_IS_HELD}, act=kill_the_producer),
    "marked": Scenario(script={"child": True, **_MART_IS_HELD}, act=mark_the_producer_failed),
    "tested": Scenario(
        fill=_give_tests,
        script={"nodes": {"whole": "fail", "across": "fail"}},
        parts={"render": {"test_behavior": "after_each"}},
    ),
    "seed_none": Scenario(fill=_give_a_seed, parts={"render": {"seed_rendering_behavior": "none"}}),
    "seed_render_only": Scenario(fill=_give_a_seed, parts={"render": {"seed_rendering_behavior": "render_only"}}),
    CALM: Scenario(),
    "cleared": Scenario(script=_MART_IS_HELD, act=clear_while_dbt_is_held),
    "blocked": Scenario(parts={"groups": ("shop",), "before_fails": True}),
    "excluded": Scenario(parts={"render": {"exclude": [REPORT]}}),
    "managed": Scenario(is_managed=True),
}
"""Name -> what happens in the only run of its DAG."""


@pytest.fixture(scope="session")
def start(
    adapter: Declaration, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[Harness, Path], WatchedRuns]]:
    """Starts the servers for the first check that asks, with the DAGs of all checks of this run.

    :param adapter: the implementation; there is one Airflow for each.
    :param tmp_path_factory: makes the folder.
    :param request: knows which checks there are.
    """
    # DAGs for other implementations would only take time.
    mine = (item for item in request.session.items if named_adapter(item) in (None, adapter.named))
    cases = (getattr(item, "callspec", None) for item in mine)
    wanted = {CALM, *(case.params.get("run") for case in cases if case)}
    started: list[WatchedRuns] = []
    with ExitStack() as stack:

        def once(harness: Harness, database: Path) -> WatchedRuns:
            if not started:
                chosen = {name: scenario for name, scenario in SCENARIOS.items() if name in wanted}
                folder = tmp_path_factory.mktemp("watched")
                started.append(_started(stack, folder, database, harness=harness, scenarios=chosen))
            return started[0]

        yield once


@pytest.fixture
def run(
    request: pytest.FixtureRequest,
    harness: Harness,
    cosmos_airflow: CosmosAirflow,
    start: Callable[[Harness, Path], WatchedRuns],
) -> Ended:
    """The ended run of the scenario that the test names.

    :param request: names the scenario.
    :param harness: makes plans.
    :param cosmos_airflow: has a database that is migrated and empty.
    :param start: starts the servers.
    """
    if reason := why_not_here():
        pytest.skip(reason)
    name: str = request.param
    return start(harness, cosmos_airflow.home.database)(name)


def of_run(*names: str) -> pytest.MarkDecorator:
    """Let a test look at the run of each of these scenarios.

    :param *names: keys of ``SCENARIOS``.
    """
    return pytest.mark.parametrize("run", names, indirect=True)


def _require_state(run: Ended, name: str, states: tuple[str, ...], operator: str = "Run") -> None:
    """Fail unless there is a task for a node, and each one of them is in one of these states."""
    __tracebackhide__ = True
    found = run.tasks_of(name, operator)
    fits = bool(found) and set(found.values()) <= {*states}
    assert fits, f"the task of {name} must be {' or '.join(states)}; seen: {found or 'there is none'}; {run}"


def _require_no_success(run: Ended, *names: str) -> None:
    """Fail where the task of a node is a success."""
    __tracebackhide__ = True
    for name in names:
        found = run.tasks_of(name)
        assert found, f"there must be a task for {name}; seen: {run}"
        assert "success" not in found.values(), f"the task of {name} must not be a success; seen: {found}; {run}"


def _require_run(run: Ended, state: str) -> None:
    """Fail unless the run is in this state."""
    __tracebackhide__ = True
    assert run.state == state, f"the run must be {state}; seen: {run}"


@requirement("WATCH-001")
@of_run("failing")
def test_each_task_ends_as_dbt_has_ended_its_node(run: Ended) -> None:
    _require_state(run, STAGING, ("success",))
    _require_state(run, MART, ("failed",))
    _require_state(run, REPORT, NOT_DONE)


@requirement("WATCH-002")
@of_run("failing")
def test_a_run_in_which_a_node_has_failed_is_failed(run: Ended) -> None:
    assert run.built(MART) == ["error"], f"dbt must be called, and fail {MART}; seen: {run}"
    _require_run(run, "failed")


@requirement("WATCH-003")
@of_run("stale", "broken")
def test_a_node_of_which_dbt_has_said_nothing_is_no_success(run: Ended) -> None:
    assert run.calls, f"dbt must be called; seen: {run}"
    unsaid = [name for name in MODELS if not run.built(name)]
    _require_no_success(run, *unsaid)
    # An implementation may have built the nodes by other commands, where the first command could not begin.
    if unsaid:
        _require_run(run, "failed")


@requirement("WATCH-004")
@of_run("held")
def test_one_dbt_command_builds_all_nodes(run: Ended) -> None:
    commands = [call.command for call in run.calls]
    assert commands == ["build"], f"one dbt build must do all; seen: {commands}; {run}"
    seen = {name: run.built(name) for name in MODELS}
    assert seen == {name: ["success"] for name in MODELS}, f"each node must be built once; seen: {seen}; {run}"


@requirement("WATCH-005")
@of_run("alone", "retried")
def test_the_next_try_of_a_failed_task_builds_its_node(run: Ended) -> None:
    seen = run.built(MART)
    assert seen[:1] == ["error"], f"dbt must be called, and fail {MART} at first; seen: {seen}; {run}"
    assert "success" in seen, f"the next try must have {MART} built; seen: {seen}; {run}"
    _require_state(run, MART, ("success",))


@requirement("WATCH-006")
@of_run("killed", "marked")
def test_all_ends_where_the_producer_is_killed(run: Ended) -> None:
    assert run.seen.get("was_held"), f"dbt must build {MART}; seen: {run}"
    left = run.seen["left"]
    assert run.seen.get("was_killed") or not left, f"no process of dbt may live on; seen: {left}; {run}"
    waiting = {name: run.tasks_of(name) for name in MODELS if not set(run.tasks_of(name).values()) <= {*ENDED}}
    assert not waiting, f"each task of a node must end; seen: {waiting}; {run}"
    _require_no_success(run, MART, REPORT)
    _require_run(run, "failed")


@requirement("WATCH-016")
@of_run("killed")
def test_dbt_does_not_outlive_a_producer_that_is_killed(run: Ended) -> None:
    assert run.seen.get("was_held"), f"dbt must build {MART}; seen: {run}"
    left = run.seen["left"]
    assert not left, f"no process of dbt may live on; seen: {left}; {run}"


@requirement("WATCH-007")
@of_run("tested")
def test_the_task_of_tests_fails_where_one_of_them_has(run: Ended) -> None:
    assert (run.built("whole"), run.built("sound")) == (["fail"], ["pass"]), f"dbt must run both tests; seen: {run}"
    _require_state(run, APART, ("failed",), "Test")
    _require_run(run, "failed")


@requirement("WATCH-008")
@of_run("retried")
def test_a_retry_builds_what_is_not_done_and_nothing_that_is(run: Ended) -> None:
    required = {STAGING: 1, MART: 1, REPORT: 1}
    seen = {name: run.built(name).count("success") for name in MODELS}
    assert seen == required, f"each node must be done, and once; seen: {seen}; {run}"
    _require_run(run, "success")


@requirement("WATCH-009")
@of_run("seed_none", "seed_render_only")
def test_a_seed_without_a_task_of_its_own_is_loaded(run: Ended) -> None:
    seen = run.built(SEED)
    assert "success" in seen, f"dbt build must load the seed; seen: {seen}; {run}"
    _require_run(run, "success")


@requirement("WATCH-010")
@of_run("held")
def test_a_task_ends_while_dbt_is_at_work_on_other_nodes(run: Ended) -> None:
    first = run.seen.get("first")
    assert first == "success", f"the task of {STAGING} must end while dbt builds {MART}; seen: {first}; {run}"


@requirement("WATCH-011")
@of_run("cleared")
def test_no_second_dbt_runs_beside_the_build(run: Ended) -> None:
    assert run.seen.get("was_cleared"), f"the task of {STAGING} must end while dbt builds {MART}; seen: {run}"
    build = next(call for call in run.calls if call.held_at is not None)
    over = build.ended_at or math.inf
    later = [call for call in run.calls if build.started_at < call.started_at < over]
    beside = [" ".join(call.arguments) for call in later]
    assert not beside, f"no other dbt may run while dbt build does; seen: {beside}; {run}"
    _require_run(run, "success")


@requirement("WATCH-012")
@of_run("blocked")
def test_nothing_is_built_behind_a_task_that_has_failed(run: Ended) -> None:
    assert not run.calls, f"dbt must not be called; seen: {run}"
    _require_no_success(run, *MODELS)
    behind = run.tasks[AFTER].state
    assert behind != "success", f"the task behind the group must not be a success; seen: {behind}; {run}"
    _require_run(run, "failed")


@requirement("WATCH-013")
@of_run("excluded")
def test_a_node_that_is_left_out_has_no_task_and_is_not_built(run: Ended) -> None:
    _require_run(run, "success")
    found = run.tasks_of(REPORT, "")
    assert not found, f"there must be no task for {REPORT}; seen: {found}"
    built = {name for name in MODELS if "success" in run.built(name)}
    assert built == {STAGING, MART}, f"what is left out must not be built, and all else must; seen: {built}; {run}"


@requirement("WATCH-014")
@of_run("tested")
def test_a_test_of_several_nodes_is_told_of_to_each_of_them(run: Ended) -> None:
    seen = run.built("across")
    assert seen == ["fail"], f"the test must run once; seen: {seen}; {run}"
    alone = run.tasks_of("across", "Test")
    if alone:
        _require_state(run, "across", ("failed",), "Test")
    else:
        _require_state(run, EAST, ("failed",), "Test")
        _require_state(run, WEST, ("failed",), "Test")


@requirement("WATCH-015")
@of_run("managed")
def test_the_build_runs_in_a_managed_environment(run: Ended) -> None:
    assert "build" in [call.command for call in run.calls], f"dbt build must run; seen: {run}"
    elsewhere = [str(call.prefix) for call in run.calls if not call.prefix.is_relative_to(run.virtualenv_dir)]
    assert not elsewhere, f"dbt must be that of an environment in {run.virtualenv_dir}; seen: {elsewhere}; {run}"
    _require_run(run, "success")
