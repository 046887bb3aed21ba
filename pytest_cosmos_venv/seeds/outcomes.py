"""What came of a run for each seed? Judged from Airflow's state and from what dbt was told, not from any log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.places import Place, find_place
from pytest_cosmos_venv.seeds.story import Story

if TYPE_CHECKING:
    from pytest_cosmos_venv.airflow.outcomes import DagOutcome, EmittedAsset
    from pytest_cosmos_venv.environments.dbt_record import DbtCall

Verdict = Literal["ran", "skipped", "failed", "empty", "absent", "left out"]
"""``skipped``: the state is success, and dbt was not called. ``empty``: the same, by an EmptyOperator. ``absent``: the
seed has no task. ``left out``: its task ends in another state, such as Airflow's own ``skipped``."""

_MEANINGS: dict[Verdict, str] = {
    "ran": "its task succeeds, and dbt loads it",
    "skipped": "its task succeeds, and dbt does not load it",
    "failed": "its task fails",
    "empty": "an EmptyOperator stands in its place, and dbt does not load it",
    "absent": "there is no task for it",
    "left out": "its task ends neither in success nor in failure",
}


@dataclass(frozen=True, kw_only=True)
class SeedOutcome:
    """What came of one seed in one place.

    :param task_id: None where there is no task for it.
    :param state: as Airflow names it; None without a task.
    :param calls: the calls of dbt that loaded it, or tried to.
    :param assets: that its task updated.
    :param downstream: the states of what comes next after its task, by task id.
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
        """In one word."""
        if self.state == "failed":
            return "failed"
        if self.state not in ("success", None):
            return "left out"
        if self.calls:
            return "ran"
        return "absent" if self.task_id is None else "empty" if self.is_empty else "skipped"

    @property
    def ran(self) -> bool:
        """Whether dbt loaded it and the task succeeded."""
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
    """What came of a run of one DAG.

    :param dag: Airflow's side of it: states, logs, XComs and assets of all tasks.
    :param seeds: each seed in each place of this DAG.
    :param calls: of dbt, in this run, the earliest first.
    :param variables: the Variables that the run set, with their values.
    """

    dag: DagOutcome
    seeds: Sequence[SeedOutcome]
    calls: tuple[DbtCall, ...]
    variables: Mapping[str, str]
    _story: Story

    @property
    def stored(self) -> bool:
        """Whether the run set a Variable."""
        return bool(self.variables)

    def seed(self, name: str | None = None, *, place: str | None = None) -> SeedOutcome:
        """What came of one seed.

        :param name: the first one without it.
        :param place: such as ``"port/north"``; the first one without it.
        :raises ToolkitMisuse: there is none in this run.
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
        """Fail with the whole story unless it came so; returns this run.

        In a run in which nothing fails, what comes after the seed has to succeed: a skip does not hold up its models.

        :param verdict: ``ran``, ``skipped``, ``failed``, ``empty``, ``absent`` or ``left out``.
        :param seed: the first one without it.
        :param place: the same.
        :param stored: whether the run set Variables.
        :param asset: whether the seed's task updated an asset.
        :param full_refresh: whether dbt was told ``--full-refresh``.
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
        """Fail with the whole story unless dbt was called with this command; returns this run."""
        __tracebackhide__ = True
        called = [call.command for call in self.calls]
        if command not in called:
            self._story.fail(f"dbt {command} is called", f"{called or 'no call of dbt'}; {self.dag.states}")
        return self

    def must_store(self, text: str, *, meaning: str) -> SeedRun:
        """Fail with the whole story unless a Variable that the run set has ``text`` in it; returns this run.

        :param meaning: what the text is, for people.
        """
        __tracebackhide__ = True
        if not any(text.lower() in value.lower() for value in self.variables.values()):
            self._story.fail(f"a Variable holds {meaning}: {text}", str(dict(self.variables) or "none was set"))
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
            self._story.fail(text, seen or str(outcome), log=outcome.log)


def _told(call: DbtCall) -> str:
    """What matters of a command line: without the folders."""
    words = [word for word in call.arguments if "/" not in word and word not in ("--project-dir", "--profiles-dir")]
    return f"dbt {' '.join(words)} (exit code {call.exit_code})"
