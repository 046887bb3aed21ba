"""A teardown task begins when no other task of the plan runs any more, whatever has failed."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from cosmos_venv.constants import RUN_SUMMARY_TASK_ID
from cosmos_venv.rendering.model import EMPTY, Plan, PlannedTask

LAST = PlannedTask(task_id=RUN_SUMMARY_TASK_ID, operator=EMPTY)
ENDED = {"success", "failed", "upstream_failed"}


def plan_of(parents: list[list[int]]) -> Plan:
    """A plan of tasks by number.

    :param parents: of each task: the earlier tasks that it comes after.
    """
    tasks = tuple(PlannedTask(task_id=str(each), operator=EMPTY) for each in range(len(parents)))
    edges = [(str(before), str(after)) for after, befores in enumerate(parents) for before in befores]
    return Plan(tasks=tasks, groups=(), edges=tuple(sorted(edges)), tasks_map={})


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    numbers = range(draw(st.integers(1, 8)))
    return [draw(st.lists(st.integers(0, each - 1), unique=True, max_size=3)) if each else [] for each in numbers]


# A failed model and a running model before one child: the child is upstream_failed at once.
@example([[], [], [0, 1]], [0, 1, 2], {0})
@given(graphs(), st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_no_task_runs_when_all_before_a_teardown_have_ended(
    parents: list[list[int]], order: list[int], failing: set[int]
) -> None:
    edges = plan_of(parents).between(None, LAST).edges
    before_last = {before for before, after in edges if after == LAST.task_id}
    befores = {str(after): {str(each) for each in found} for after, found in enumerate(parents)}
    states: dict[str, str] = {}

    def go_on() -> None:
        """Do as Airflow's scheduler does, with the trigger rule all_success."""
        for each, found in befores.items():  # in topological order
            of_parents = {states.get(parent, "") for parent in found}
            if each not in states and of_parents & {"failed", "upstream_failed"}:
                states[each] = "upstream_failed"
            elif each not in states and of_parents <= {"success"}:
                states[each] = "running"

    go_on()
    while running := sorted((each for each, state in states.items() if state == "running"), key=int):
        assert not all(states.get(each) in ENDED for each in before_last), states
        ended = min(running, key=lambda each: order.index(int(each)))
        states[ended] = "failed" if int(ended) in failing else "success"
        go_on()

    assert all(states[each] in ENDED for each in before_last)
