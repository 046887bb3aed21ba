"""The outcome of a scenario of ExecutionMode.WATCHER, beside what it requires.

It is put together from Airflow's states and from dbt's own record of its calls, never from a log.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.script import node_name

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome
    from pytest_cosmos_venv.environments.scripted_dbt import DbtCall
    from pytest_cosmos_venv.watcher.scenario import WatcherScenario

_BUILT = frozenset({"success", "pass", "warn"})
_COMMANDS = frozenset({"build", "run", "seed", "snapshot", "test"})
_TEST = ".test"
_SHOWN_NAMES = 5
_OF_NODE = re.compile(r"(?:.*\.)?(?P<node>\w+)[._](?:run|seed|snapshot)")


class WatcherRequirementNotMet(AssertionError):
    """An implementation did something else than a scenario requires. The text says what was required and seen."""


@dataclass(frozen=True, kw_only=True)
class WatcherOutcome:
    """The outcome of a scenario.

    :param scenario: the scenario.
    :param implementation: name and version of the implementation.
    :param dag: Airflow's side of it: states, logs and XComs of all tasks.
    :param calls: the calls of dbt in the run, the earliest first.
    :param nodes: unique id -> names of each node and test of the project: one of a version has ``dim`` and ``dim_v2``.
    """

    scenario: WatcherScenario
    implementation: str
    dag: DagOutcome
    calls: Sequence[DbtCall]
    nodes: Mapping[str, Sequence[str]]

    def state(self, name: str) -> str | None:
        """Return Airflow's state of the task that shows a node; None where there is none.

        :param name: the name of the node, or that of a node with ``.test`` for the task that shows its tests.
        :raises ToolkitMisuse: there is no such node.
        """
        state = self._state(name)
        if state is None:
            self._require_name(name.removesuffix(_TEST), self._names, f"state({name!r})")
        return state

    def _state(self, name: str) -> str | None:
        node, is_test = name.removesuffix(_TEST), name.endswith(_TEST)
        verbs = "test" if is_test else "run|seed|snapshot"
        # mart_run, mart.run beside its tests, and the same in groups.
        pattern = re.compile(rf"(?:.*\.)?{re.escape(node)}[._](?:{verbs})")
        return next((task.state for task_id, task in self.dag.tasks.items() if pattern.fullmatch(task_id)), None)

    def built(self, name: str) -> int:
        """Return how often dbt has built a node, or passed a test, with success.

        :param name: the name of the node or the test, or its unique id.
        :raises ToolkitMisuse: there is no such node.
        """
        self._require_name(name, {*self.nodes, *self._names}, f"built({name!r})")
        ends = [(unique_id, status) for call in self.calls for unique_id, status in call.nodes.items()]
        return sum(status in _BUILT and name in (unique_id, unique_id.split(".")[2]) for unique_id, status in ends)

    def require_names(self) -> None:
        """Refuse names of the scenario that no node of the project has: a requirement of such a node says nothing.

        :raises ToolkitMisuse: for the first of them, with the names that are nearest.
        """
        scenario = self.scenario
        for field in ("success", "failed", "not_success", "absent"):
            for name in getattr(scenario, field):
                if self._state(name) is None:
                    self._require_name(name.removesuffix(_TEST), self._names, f"{field}=({name!r}, ...)")
        for name in scenario.built:
            self._require_name(name, {*self.nodes, *self._names}, f"built={{{name!r}: ...}}")

    @property
    def _names(self) -> set[str]:
        return {name for names in self.nodes.values() for name in names}

    def _require_name(self, name: str, known: set[str], given: str) -> None:
        if name not in known:
            close = difflib.get_close_matches(name, known) or sorted(self._names)
            raise ToolkitMisuse(
                f"{given}: the project of scenario {self.scenario.id} has no node {name!r}. Give one such as "
                f"{', '.join(map(repr, close[:_SHOWN_NAMES]))}."
            )

    def check(self) -> None:
        """Fail unless all that the scenario requires was seen.

        :raises WatcherRequirementNotMet: with all that was required and not seen.
        """
        __tracebackhide__ = True
        unmet = [f"Required: {required}\nSeen:     {seen}" for required, seen in self._unmet()]
        if unmet:
            raise WatcherRequirementNotMet("\n".join([self._head(), "", *unmet, "", str(self)]))

    def __str__(self) -> str:
        calls = [f"  {_words(call)} (exit code {call.exit_code})" for call in self.calls]
        return "\n".join([f"Calls of dbt: {len(self.calls)}", *calls, "", str(self.dag)])

    def _head(self) -> str:
        scenario = self.scenario
        reported = f" (Reported of astronomer-cosmos: {', '.join(scenario.reported)}.)" if scenario.reported else ""
        done = [f"  dbt: {', '.join(f'{name}={value!r}' for name, value in each.items())}" for each in scenario.dbt]
        return "\n".join(
            [
                f"{self.implementation} does not do what the scenario {scenario.id} requires.",
                f"{scenario.sentence}{reported}",
                *done,
            ]
        )

    def _unmet(self) -> Iterator[tuple[str, str]]:
        yield from self._unmet_of_airflow()
        yield from self._unmet_of_dbt()

    def _unmet_of_airflow(self) -> Iterator[tuple[str, str]]:
        scenario = self.scenario
        if scenario.run not in (None, self.dag.state):
            yield f"the run ends in state {scenario.run}", self.dag.state
        for wanted, names in (("success", scenario.success), ("failed", scenario.failed)):
            for name in names:
                if (seen := self.state(name)) != wanted:
                    yield f"the task of {name} ends in state {wanted}", seen or "there is no such task"
        for name in scenario.not_success:
            if self.state(name) == "success":
                yield f"the task of {name} does not succeed", "success"
        for name in scenario.absent:
            if (seen := self.state(name)) is not None:
                yield f"{name} has no task", f"one in state {seen}"

    def _unmet_of_dbt(self) -> Iterator[tuple[str, str]]:
        for name, count in self.scenario.built.items():
            if (number := self.built(name)) != count:
                yield f"dbt builds {name} {_times(count)}", _times(number)
        for task_id, node in self._green_and_unbuilt():
            yield f"{task_id} succeeds only if dbt builds {node}", "success, and dbt has not built it"
        told = self.scenario.told
        for call in self.calls:
            missing = [word for word in told if call.command in _COMMANDS and word not in call.arguments]
            if call.command in self.scenario.not_called:
                yield f"dbt is not called with {call.command}", _words(call)
            if missing:
                yield f"each dbt is told {' '.join(told)}", f"without {' '.join(missing)}: {_words(call)}"

    def _green_and_unbuilt(self) -> Iterator[tuple[str, str]]:
        """Green tasks over nodes that dbt has reported and never built: the worst of all ends, in each scenario."""
        reported = {unique_id.split(".")[2]: unique_id for call in self.calls for unique_id in call.nodes}
        for task_id, task in self.dag.tasks.items():
            shown = _OF_NODE.fullmatch(task_id)
            unique_id = reported.get(shown["node"]) if shown else None
            if unique_id is not None and task.state == "success" and not self.built(unique_id):
                yield task_id, unique_id


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _words(call: DbtCall) -> str:
    """Return what matters of a command line: all but the folders."""
    words = [node_name(word) if word.startswith("fqn:") else word for word in call.arguments]
    return " ".join(["dbt", *(word for word in words if "/" not in word)])
