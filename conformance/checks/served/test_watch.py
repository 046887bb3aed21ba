"""WATCH: one dbt builds all nodes, and the task of each node ends as dbt has ended the node."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow, DbtProject

from ...collection import named_adapter
from ...declaration import Declaration
from ...harness.harness import Harness
from ...harness.served_airflow import why_not_here
from ...harness.watched_runs import (
    ENDED,
    MODELS,
    Ended,
    Scenario,
    WatchedRuns,
    clear_while_dbt_is_held,
    kill_the_producer,
    look_while_dbt_is_held,
    mark_the_producer_failed,
    watched_runs,
)
from ...requirements import requirement
from ...tasks import AFTER

STAGING, MART, REPORT = MODELS
APART = "apart"
EAST, WEST = "east", "west"
"""Models without parents and children: their tests block no other model."""
SEED = "piers"
NOT_DONE = ("skipped", "upstream_failed")
"""States of a task whose node dbt has skipped."""


def _give_tests(project: DbtProject) -> None:
    for name in (APART, EAST, WEST):
        project.model(name, "select 1 as id")
    project.test("whole", "select * from {{ ref('apart') }} where id is null")
    project.test("sound", "select * from {{ ref('apart') }} where id < 0")
    project.test("across", "select * from {{ ref('east') }} join {{ ref('west') }} using (id)")


def _give_a_seed(project: DbtProject) -> None:
    project.seed(SEED, "id,name\n1,north\n")
    project.edit(STAGING, "select * from {{ ref('piers') }}")


SCENARIOS: Mapping[str, Scenario] = {
    "failing": Scenario(script=lambda dbt: dbt.script("build", nodes={MART: "error"})),
    "stale": Scenario(after_manifest=lambda project: project.delete(REPORT)),
    "broken": Scenario(script=lambda dbt: dbt.script("build", exit_code=2)),
    "held": Scenario(
        script=lambda dbt: dbt.script("build", at=MART, hold=True),
        act=look_while_dbt_is_held,
    ),
    "alone": Scenario(
        script=lambda dbt: dbt.script("build", nth=1, nodes={MART: "error"}), retries=1, retries_of_producer=0
    ),
    "retried": Scenario(script=lambda dbt: dbt.script("build", nth=1, nodes={MART: "error"}), retries=1),
    "killed": Scenario(
        script=lambda dbt: dbt.script("build", at=MART, hold=True, child=True),
        act=kill_the_producer,
    ),
    "marked": Scenario(
        script=lambda dbt: dbt.script("build", at=MART, hold=True, child=True),
        act=mark_the_producer_failed,
    ),
    "tested": Scenario(
        fill=_give_tests,
        script=lambda dbt: dbt.script("build", nodes={"whole": "fail", "across": "fail"}),
        parts={"render": {"test_behavior": "after_each"}},
    ),
    "seed_none": Scenario(fill=_give_a_seed, parts={"render": {"seed_rendering_behavior": "none"}}),
    "seed_render_only": Scenario(fill=_give_a_seed, parts={"render": {"seed_rendering_behavior": "render_only"}}),
    "calm": Scenario(),
    "cleared": Scenario(
        script=lambda dbt: dbt.script("build", at=MART, hold=True),
        act=lambda run: clear_while_dbt_is_held(run, "calm"),
        beside=("calm",),
    ),
    "blocked": Scenario(parts={"groups": ("shop",), "before_fails": True}),
    "excluded": Scenario(parts={"render": {"exclude": [REPORT]}}),
    "managed": Scenario(is_managed=True),
}
"""Name -> what happens in the only run of its DAG."""


@pytest.fixture(scope="session")
def start(
    adapter: Declaration,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[Harness, Path], WatchedRuns]]:
    """Starts the servers for the first check that asks, with the DAGs of all checks of this run.

    :param adapter: the implementation; there is one Airflow for each.
    :param tmp_path_factory: makes the folder.
    :param request: knows which checks there are.
    """
    # DAGs for other implementations would only take time.
    mine = (item for item in request.session.items if named_adapter(item) in (None, adapter.named))
    asked = {name for name in map(_scenario_of, mine) if name is not None}
    wanted = asked.union(*(SCENARIOS[name].beside for name in asked))
    started: list[WatchedRuns] = []
    with ExitStack() as stack:

        def once(harness: Harness, database: Path) -> WatchedRuns:
            if not started:
                chosen = {name: scenario for name, scenario in SCENARIOS.items() if name in wanted}
                folder = tmp_path_factory.mktemp("watched")
                runs = watched_runs(folder, database, harness=harness, scenarios=chosen)
                started.append(stack.enter_context(runs))
            return started[0]

        yield once


def _scenario_of(item: pytest.Item) -> str | None:
    callspec: Any = getattr(item, "callspec", None)
    return callspec.params.get("run") if callspec else None


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
