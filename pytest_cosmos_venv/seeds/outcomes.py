"""The outcome of each seed: in a run, and in a DAG that was only built.

An outcome is derived from Airflow's state of the seed's task and from the fake dbt's record of its calls, never from a
log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.rules import read_line
from pytest_cosmos_venv.fake_dbt.script import SELECTING, node_name
from pytest_cosmos_venv.seeds.dag_file import Place, find_place
from pytest_cosmos_venv.seeds.trace import ScenarioTrace
from pytest_cosmos_venv.seeds.variables import holds_checksum

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome, EmittedAsset
    from pytest_cosmos_venv.environments.scripted_dbt import DbtCall


Verdict = Literal["ran", "skipped", "failed", "empty", "absent", "left out"]
"""``skipped``: the state is success, and dbt was not called. ``empty``: as ``skipped``, and the task is an
EmptyOperator. ``absent``: the seed has no task. ``left out``: its task ends in another state, such as Airflow's own
``skipped``."""

_MEANINGS: dict[Verdict, str] = {
    "ran": "its task succeeds, and dbt loads it",
    "skipped": "its task succeeds, and dbt does not load it",
    "failed": "its task fails",
    "empty": "an EmptyOperator stands in its place, and dbt does not load it",
    "absent": "there is no task for it",
    "left out": "its task ends neither in success nor in failure",
}
Form = Literal["task", "empty", "absent"]
# The ids of a seed's task: piers_seed, piers.seed beside its test, and piers_seed_build.
_TASK_ID = r"(?:.*\.)?{seed}[._]seed(?:_build)?"
_LOADING = ("seed", "build")
# Airflow's operators hand the context of their task to the processes that they start.
_TASK_VARIABLE = "AIRFLOW_CTX_TASK_ID"


@dataclass(frozen=True, kw_only=True)
class SeedOutcome:
    """The outcome of one seed in one place.

    :param seed: the name of the seed.
    :param place: the rendering of the project.
    :param task_id: the id of its task; None where there is none.
    :param is_empty: whether its task is an EmptyOperator.
    :param state: the state of the task, as Airflow names it; None without a task.
    :param calls: the calls of dbt that loaded the seed or failed to load it.
    :param assets: the assets that its task updated.
    :param downstream: the states of the tasks right after its task, by task id.
    :param log: the log of its task.
    """

    seed: str
    place: Place
    task_id: str | None
    is_empty: bool = False
    state: str | None = None
    calls: tuple[DbtCall, ...] = ()
    assets: tuple[EmittedAsset, ...] = ()
    downstream: Mapping[str, str] = field(default_factory=dict)
    log: str = field(default="", repr=False)

    @property
    def verdict(self) -> Verdict:
        """The outcome in one word."""
        if self.state == "failed":
            return "failed"
        if self.state not in ("success", None):
            return "left out"
        if self.calls:
            return "ran"
        return "absent" if self.task_id is None else "empty" if self.is_empty else "skipped"

    @property
    def ran(self) -> bool:
        """Whether dbt loaded the seed and the task did not fail."""
        return self.verdict == "ran"

    @property
    def skipped(self) -> bool:
        """Whether the task succeeded without a call of dbt."""
        return self.verdict == "skipped"

    @property
    def is_full_refresh(self) -> bool:
        """Whether dbt was told ``--full-refresh``, in each call."""
        return bool(self.calls) and all({"--full-refresh", "-f"} & set(call.arguments) for call in self.calls)

    def __str__(self) -> str:
        task = "no task" if self.task_id is None else f"{self.task_id} {self.state}"
        told = "; ".join(_told(call) for call in self.calls) or "no call of dbt"
        assets = f"; asset {', '.join(asset.uri for asset in self.assets)}" if self.assets else ""
        return f"{self.seed} {self.verdict}: {task}, {told}{assets}"


@dataclass(frozen=True, kw_only=True, repr=False)
class SeedRun:
    """The outcome of a run of one DAG.

    :param dag: the outcome in Airflow: states, logs, XComs and assets of all tasks.
    :param seeds: the outcome of each seed in each place of this DAG.
    :param calls: the calls of dbt in this run, the earliest first.
    :param variables: the Variables that the run set, with their values.
    """

    dag: DagOutcome
    seeds: Sequence[SeedOutcome]
    calls: tuple[DbtCall, ...]
    variables: Mapping[str, str]
    _trace: ScenarioTrace

    @property
    def stored(self) -> bool:
        """Whether the run set a Variable."""
        return bool(self.variables)

    def seed(self, name: str | None = None, *, place: str | None = None) -> SeedOutcome:
        """Return the outcome of one seed.

        :param name: the name of the seed. Default: the first one.
        :param place: the place, such as ``"port/north"``. Default: the first one.
        :raises ToolkitMisuse: there is no such seed in this run.
        """
        where = find_place(list(dict.fromkeys(outcome.place for outcome in self.seeds)), place)
        here = [outcome for outcome in self.seeds if outcome.place == where]
        found = next((outcome for outcome in here if name in (None, outcome.seed)), None)
        if found is None:
            raise ToolkitMisuse(f"seed({name!r}): the project has {', '.join(outcome.seed for outcome in here)}.")
        return found

    def must(
        self,
        verdict: Verdict,
        *,
        seed: str | None = None,
        place: str | None = None,
        stored: bool | None = None,
        asset: bool | None = None,
        full_refresh: bool | None = None,
    ) -> SeedRun:
        """Fail with the whole trace unless the seed has this verdict; return this run.

        Where no seed of the run has failed, the tasks after the seed must succeed too: a skip must not stop its models.

        :param verdict: ``ran``, ``skipped``, ``failed``, ``empty``, ``absent`` or ``left out``.
        :param seed: the name of the seed. Default: the first one.
        :param place: the place, such as ``"port/north"``. Default: the first one.
        :param stored: whether the run set Variables; None: either.
        :param asset: whether the seed's task updated an asset; None: either.
        :param full_refresh: whether dbt was told ``--full-refresh``; None: either.
        """
        __tracebackhide__ = True
        if verdict not in _MEANINGS:
            raise ToolkitMisuse(f"must({verdict!r}): give one of {', '.join(_MEANINGS)}.")
        outcome = self.seed(seed, place=place)
        name = outcome.seed
        self._require(outcome, outcome.verdict == verdict, f"{name} {verdict}: {_MEANINGS[verdict]}")
        if all(each.verdict != "failed" for each in self.seeds):
            held_up = {task: state for task, state in outcome.downstream.items() if state != "success"}
            self._require(outcome, not held_up, f"what comes after {name} succeeds", f"{outcome}; {held_up}")
        for wanted, seen, text in (
            (stored, self.stored, "the run stores a Variable"),
            (asset, bool(outcome.assets), f"the task of {name} updates its asset"),
            (full_refresh, outcome.is_full_refresh, "dbt is told --full-refresh"),
        ):
            self._require(outcome, wanted in (None, seen), f"{'' if wanted else 'not so: '}{text}", str(self))
        return self

    def must_call(self, command: str) -> SeedRun:
        """Fail with the whole trace unless dbt was called with a command; return this run.

        :param command: the command, such as ``seed`` or ``build``.
        """
        __tracebackhide__ = True
        called = [call.command for call in self.calls]
        if command not in called:
            self._trace.fail(f"dbt {command} is called", f"{called or 'no call of dbt'}; {self.dag.states}")
        return self

    def must_store_checksum(self, checksum: str, *, meaning: str) -> SeedRun:
        """Fail with the whole trace unless a Variable that the run set holds a checksum; return this run.

        :param checksum: the checksum, in hexadecimal digits.
        :param meaning: the meaning of the checksum in words, for the failure.
        """
        __tracebackhide__ = True
        if not any(holds_checksum(value, checksum) for value in self.variables.values()):
            self._trace.fail(f"a Variable holds {meaning}: {checksum}", str(dict(self.variables) or "none was set"))
        return self

    def __repr__(self) -> str:
        return f"<run of {self.dag.dag_id}: {', '.join(f'{each.seed} {each.verdict}' for each in self.seeds)}>"

    def __str__(self) -> str:
        several = len({outcome.place for outcome in self.seeds}) > 1
        told = [f"{outcome.place}: {outcome}" if several else str(outcome) for outcome in self.seeds]
        stored = f"{len(self.variables)} Variable(s) set" if self.variables else "no Variable set"
        return f"run of {self.dag.dag_id}: {' | '.join(told)} | {stored}"

    def _require(self, outcome: SeedOutcome, is_so: bool, text: str, seen: str | None = None) -> None:
        __tracebackhide__ = True
        if not is_so:
            self._trace.fail(text, seen or str(outcome), log=outcome.log)


def _told(call: DbtCall) -> str:
    """Return a command line in words for messages, without the folders."""
    words = [word for word in call.arguments if "/" not in word and word not in ("--project-dir", "--profiles-dir")]
    return f"dbt {' '.join(words)} (exit code {call.exit_code})"


@dataclass(frozen=True, kw_only=True)
class SeedRendering:
    """One DAG, built and not run.

    :param dag: Airflow's DAG.
    :param places: the places of the project that are in it.
    :param seeds: the names of the project's seeds.
    """

    dag: Any
    places: Sequence[Place]
    seeds: Sequence[str]
    _trace: ScenarioTrace

    @property
    def edges(self) -> frozenset[tuple[str, str]]:
        """The edges of the DAG: pairs of the id of a task and the id of a task right after it."""
        return frozenset((task.task_id, after) for task in self.dag.tasks for after in task.downstream_task_ids)

    def task(self, seed: str | None = None, *, place: str | None = None) -> Any:
        """Return the task of a seed; None where there is none.

        :param seed: the name of the seed. Default: the first one.
        :param place: the place, such as ``"port/north"``. Default: the first one.
        """
        name = seed if seed is not None else self.seeds[0]
        if name not in self.seeds:
            raise ToolkitMisuse(f"seed={name!r}: the project has {', '.join(self.seeds)}.")
        return seed_task(self.dag, find_place(self.places, place), name)

    def form(self, seed: str | None = None, *, place: str | None = None) -> Form:
        """Return how a seed is rendered: ``task``, ``empty`` for an EmptyOperator, or ``absent``.

        :param seed: the name of the seed. Default: the first one.
        :param place: the place, such as ``"port/north"``. Default: the first one.
        """
        task = self.task(seed, place=place)
        return "absent" if task is None else "empty" if is_empty(task) else "task"

    def must(self, form: Form, *, seed: str | None = None, place: str | None = None) -> SeedRendering:
        """Fail with the whole trace unless the seed is rendered in this form; return this rendering.

        :param form: ``task``, ``empty`` or ``absent``.
        :param seed: the name of the seed. Default: the first one.
        :param place: the place, such as ``"port/north"``. Default: the first one.
        """
        __tracebackhide__ = True
        if self.form(seed, place=place) != form:
            seen = {task.task_id: type(task).__name__ for task in self.dag.tasks}
            self._trace.fail(
                f"{seed or self.seeds[0]} is rendered as: {form}", f"{self.form(seed, place=place)}, in {seen}"
            )
        return self


def seed_task(dag: Any, place: Place, seed: str) -> Any:
    """Return the task of a seed in a place; None where there is none.

    :param dag: Airflow's DAG.
    :param place: the rendering of the project.
    :param seed: the name of the seed.
    """
    pattern = re.compile(re.escape(place.prefix) + _TASK_ID.format(seed=re.escape(seed)))
    found = [task for task in dag.tasks if pattern.fullmatch(task.task_id)]
    # A group inside this place may be another place with the same seed; its task ids are longer.
    return min(found, key=lambda task: len(task.task_id), default=None)


def is_empty(task: Any) -> bool:
    """Whether a task is an EmptyOperator; the module of the class differs between releases of Airflow.

    :param task: an operator.
    """
    return any(each.__name__ == "EmptyOperator" for each in type(task).__mro__)


def seed_outcome(dag: Any, outcome: DagOutcome, place: Place, seed: str, calls: Sequence[DbtCall]) -> SeedOutcome:
    """Return the outcome of one seed in one place.

    :param dag: the DAG, as it was built.
    :param outcome: the outcome of its run.
    :param place: the rendering of the project.
    :param seed: the name of the seed.
    :param calls: the calls of dbt in this run.
    """
    task = seed_task(dag, place, seed)
    task_id = None if task is None else task.task_id
    loading = tuple(call for call in calls if loads(call, seed) and _is_of(call, task_id))
    if task is None:
        return SeedOutcome(seed=seed, place=place, task_id=None, calls=loading)
    seen = outcome.tasks[task.task_id]
    return SeedOutcome(
        seed=seed,
        place=place,
        task_id=task_id,
        is_empty=is_empty(task),
        state=seen.state,
        calls=loading,
        assets=seen.assets,
        downstream={after: outcome.tasks[after].state for after in sorted(task.downstream_task_ids)},
        log=seen.log,
    )


def loads(call: DbtCall, seed: str) -> bool:
    """Whether a call loads a seed. Only selections of node names are understood.

    :param call: a call of dbt.
    :param seed: the name of the seed.
    """
    line = read_line(call.arguments, call.dbt_version)
    if line is None or line.command not in _LOADING:
        return False
    selected = [word for value in line.all(*SELECTING) for word in value.split()]
    return not selected or seed in map(node_name, selected)


def _is_of(call: DbtCall, task_id: str | None) -> bool:
    """Whether a task has made a call, by the call's environment. The same seed may have a task in two places."""
    named = call.env.get(_TASK_VARIABLE)
    return task_id is None or named in (None, task_id)
