"""Faults of WATCHER: what a task says of its node, what is built twice or not at all, and who waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_cosmos_venv.conformance.adapter import DagPlan

from .dags import MutantOfDags, without
from .guards import take_over
from .inside import instead_of, part
from .kill import EndsDbtOnKillAlone
from .mutant import Mutant, Original

_PRODUCER, _DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"
_VERDICT = "operators.watch.verdict"


def _decide_otherwise(faulty: Callable[..., Any]) -> None:
    """Replace the verdict on a task, where triggers and workers ask for it."""
    instead_of("operators.watch.trigger", "verdict", faulty)


def _ended_as(action: str, why: str) -> Any:
    verdict = part(_VERDICT)
    return verdict.Verdict(action=verdict.Action(action), reason=why)


class SeesNothingWrongInASkip(Mutant):
    """Takes a node that dbt has skipped for one on which there was nothing to do."""

    kills = "WATCH-001"
    needed = "watcher"

    def begin(self) -> None:
        instead_of(_VERDICT, "_ended", self._end)

    @staticmethod
    def _end(sound: Original, worst: str, found: Mapping[str, Any]) -> Any:
        return sound("success" if worst == "skipped" else worst, found)


class JoinsWhateverHasHappened(MutantOfDags):
    """Has a last task behind all others that runs whatever has become of them."""

    kills = "WATCH-002"
    needed = "watcher"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        for task in dag.tasks:
            if task.task_id.rpartition(".")[2] == _DONE:
                task.trigger_rule = type(task.trigger_rule)("all_done")


class TakesSilenceForSuccess(Mutant):
    """Believes exit code 0, and takes a node of which dbt has said nothing for done."""

    kills = "WATCH-003"
    needed = "watcher"

    def begin(self) -> None:
        instead_of("operators.run.batch", "outcomes_of", self._without_missing)
        instead_of(_VERDICT, "_unsaid", self._say)

    @staticmethod
    def _say(sound: Original, task: Any, record: Any, producer_state: str) -> Any:
        if producer_state == "success":
            return _ended_as("succeed", "The producer has succeeded.")
        return sound(task, record, producer_state)

    @staticmethod
    def _without_missing(sound: Original, *given: Any) -> Any:
        own, others = sound(*given)
        return {node: each for node, each in own.items() if each.status != "missing"}, others


class TriesTheFirstNodeBeforehand(Mutant):
    """Runs the first node by a dbt of its own before the build, to see early whether the warehouse answers."""

    kills = "WATCH-004"
    needed = "watcher"

    def begin(self) -> None:
        instead_of("operators.run.batch", "run_in_workspace", self._run)

    @staticmethod
    def _run(sound: Original, run: Any, judge: Any, choose: Any, **others: Any) -> Any:
        def choose_after_a_run(look: Any) -> Any:
            words = choose(look)
            first = words[1 : words.index("--select") + 2]
            look(("run",), ["run" if word == "build" else word for word in first])
            return words

        return sound(run, judge, choose_after_a_run, **others)


class TellsTheSameInEachTry(Mutant):
    """Says in a task's next try what the producer has said, which has nothing new to say."""

    kills = "WATCH-005"
    needed = "watcher"

    def begin(self) -> None:
        instead_of(_VERDICT, "_alone", lambda *_: _ended_as("fail", "The producer has failed."))


class WaitsForALastWord(Mutant):
    """Waits until the producer has written that it is over, which one that was killed never does."""

    kills = "WATCH-006"
    needed = "watcher"

    def begin(self) -> None:
        instead_of(_VERDICT, "_unsaid", self._say)

    @staticmethod
    def _say(sound: Original, task: Any, record: Any, producer_state: str) -> Any:
        if record is not None and not record.end:
            return _ended_as("wait", "")
        return sound(task, record, producer_state)


class GuardsTheBuildOnKillAlone(Mutant):
    """Ends dbt when it is told to, and notices nothing when the process of the producer is gone."""

    kills = "WATCH-016"
    needed = "watcher"

    def begin(self) -> None:
        take_over(EndsDbtOnKillAlone)


class LooksForOneTestThatHasPassed(Mutant):
    """Lets the best of several tests count."""

    kills = "WATCH-007"
    needed = "watcher"

    def begin(self) -> None:
        verdict = part(_VERDICT)
        verdict._RANKS = tuple(reversed(verdict._RANKS))


class BuildsAllAgain(Mutant):
    """Builds all nodes in each try of the producer."""

    kills = "WATCH-008"
    needed = "watcher"

    def begin(self) -> None:
        instead_of("operators.run.batch", "done_before", lambda *_: {})


class BuildsWhatHasATask(Mutant):
    """Builds the nodes that have a task, and no seed that is not shown."""

    kills = "WATCH-009"
    needed = "watcher"

    def begin(self) -> None:
        instead_of("rendering.modes.watcher", "_is_built", self._is_built)

    @staticmethod
    def _is_built(sound: Original, node: Any, nodes: Any, **how: Any) -> bool:
        return node.resource_type.value != "seed" and bool(sound(node, nodes, **how))


class TellsAllAtTheEnd(Mutant):
    """Reads what became of each node when the producer is over."""

    kills = "WATCH-010"
    needed = "watcher"

    def begin(self) -> None:
        _decide_otherwise(self._decide)

    @staticmethod
    def _decide(sound: Original, task: Any, record: Any, producer_state: Any, parents: Any = None) -> Any:
        if producer_state not in part(_VERDICT).OVER:
            return _ended_as("wait", "")
        return sound(task, record, producer_state, parents)


class RunsAClearedTaskAtOnce(Mutant):
    """Runs dbt for a task that somebody has cleared, whatever the producer does meanwhile."""

    kills = "WATCH-011"
    needed = "watcher"

    def begin(self) -> None:
        _decide_otherwise(self._decide)

    @staticmethod
    def _decide(sound: Original, task: Any, record: Any, producer_state: Any, parents: Any = None) -> Any:
        found = sound(task, record, producer_state, parents)
        known = {} if record is None else record.outcomes
        was_done = all(each in known and known[each].state == "success" for each in task.nodes)
        if found.action.value == "wait" and not task.is_first and was_done:
            return _ended_as("run alone", "It was cleared.")
        return found


class BuildsWhateverWasBefore(MutantOfDags):
    """Lets the producer begin when the tasks before it are over, however they have ended."""

    kills = "WATCH-012"
    needed = "watcher"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        for task in dag.tasks:
            if task.task_id.rpartition(".")[2] == _PRODUCER:
                task.trigger_rule = type(task.trigger_rule)("all_done")


class ShowsWhatIsLeftOut(MutantOfDags):
    """Passes over `exclude`."""

    kills = "WATCH-013"
    needed = "watcher"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, render="exclude")


class TellsOfATestInOneTask(Mutant):
    """Tells of a test of several nodes in the task of one of them."""

    kills = "WATCH-014"
    needed = "watcher"

    def begin(self) -> None:
        instead_of("rendering.modes.watcher", "_watched_ids", self._ids)

    @staticmethod
    def _ids(sound: Original, *given: Any) -> dict[str, list[str]]:
        told: set[str] = set()
        found: dict[str, list[str]] = {}
        for task_id, ids in sound(*given).items():
            found[task_id] = [each for each in ids if each not in told]
            told.update(ids)
        return found


class RunsTheDbtThatIsThere(MutantOfDags):
    """Runs the dbt on `PATH` in this mode, whatever requirements it is told."""

    kills = "WATCH-015"
    needed = "watcher_managed"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, execution="virtualenv_dir", operator_args="py_requirements")
