"""The suite's seeded faults of lock and store that are races: the explorer finds each within its bound.

A fault is put in as the suite puts it in; two tasks stand for those of the suite, without Airflow and an installer.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv import settings
from cosmos_venv.environments import builder, layout, lock_record, publisher
from cosmos_venv.environments import lock as lock_module
from cosmos_venv.environments.environment import BuildRecord, RecordedInstaller
from cosmos_venv.environments.layout import LOCK_FILENAME
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.publisher import Publisher
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Explore, ExploredContender, ExploredRun, FailingSchedule
from pytest_cosmos_venv.conformance.tasks import Outcome, Task
from tests.conformance.mutants import catalogue  # noqa: F401 - registers them
from tests.conformance.mutants.env import RewritesAllThatItFinds
from tests.conformance.mutants.env_contents import RunsWhatRunsAlready
from tests.conformance.mutants.lock import (
    HoldsTheLockWhileDbtRuns,
    InstallsTheRestUnlocked,
    LetsOthersBetween,
    LocksAllTemporaryEnvironments,
)
from tests.conformance.mutants.lock_owners import RespectsTheDead, WaitsForTheWriter
from tests.conformance.mutants.mutant import MUTANTS, Mutant
from tests.environments.test_lock__explored import hold, hold_as_others_do, hold_at_once
from tests.environments.test_store__explored import FILES, published, use
from tests.explored import SECONDS
from tests.installed import ROOT

OF_LOCK_AND_STORE = {"env", "env_contents", "env_failures", "lock", "lock_owners"}
ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
SECTION = ARCHITECTURE.partition("The suite's seeded faults")[2].partition("\n## ")[0]
# Fault, what is seen, preemptions and kills, schedule.
ROW = re.compile(r"^\| `(\w+)` \(([\w-]+)\) \| [^|]+ \| (\d), (\d) \| (?:`([^`]+)`|none) \|$", re.MULTILINE)
FOUND = {name: (kills, (int(most), int(killed)), seed) for name, kills, most, killed, seed in ROW.findall(SECTION)}


# What the faults change, and where they look it up.
CHANGED = (
    (VirtualenvLock, "acquire"),
    (builder._Build, "finish"),
    (layout, "build_names"),
    (lock_module, "TRY_SECONDS"),
    (lock_record, "UNFINISHED_GRACE"),
    (publisher, "build_environment"),
    (settings, "virtualenv_installer"),
)


@pytest.fixture(autouse=True)
def _mended_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in CHANGED:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__KEEP_EXCLUDED_TESTS", "True")  # as the adapter of each fault sets it
    monkeypatch.setattr(publisher, "refuse_unfit", lambda _: None)
    monkeypatch.setattr(Publisher, "_installer", lambda *_: SimpleNamespace(name="uv", reason=""))
    monkeypatch.setattr(Publisher, "_installed", _installed)
    monkeypatch.setattr(builder._Build, "finish", lambda build, **_: _make_files(build.spec, build.directory))
    monkeypatch.setattr(publisher, "build_environment", _build)
    monkeypatch.setattr(Mutant, "perform", lambda _, task: _performed(task))


def _make_files(_: object, build: Path) -> None:
    (build / "bin").mkdir(parents=True)
    (build / "lib").mkdir()
    (build / "bin" / "python").symlink_to(sys.executable)
    for name in FILES:
        (build / name).write_text(name)


def _build(spec: Any, directory: Path) -> None:
    builder._Build.finish(SimpleNamespace(spec=spec, directory=directory), is_durable=False)  # type: ignore[arg-type]


def _installed(self: Publisher, build: Path, *_: object, **__: object) -> tuple[BuildRecord, list[str]]:
    vars(publisher)["build_environment"](self._spec, build)  # as it is by now
    installer = RecordedInstaller(name="uv", reason="")
    return BuildRecord.of(self._spec, {}, installer=installer, sources=(), seconds=0.0), []


def _performed(task: Task) -> Outcome:
    return Outcome(state="success", log=" ".join(task.arguments["py_requirements"]))


# Tasks, beside those of the explorations of lock and store.
def hold_between(fault: Any) -> Callable[[ExploredContender], None]:
    """A task with one of the faults of an installation in two steps."""

    def hold_and_let_go(contender: ExploredContender) -> None:
        lock = VirtualenvLock(contender.folder)
        with (
            lock.acquire(max_tries=9, cancellation=Cancellation(), report=lambda _: None),
            contender.span("held"),
        ):
            fault.between(fault, lock.file)

    return hold_and_let_go


def look_and_hold(fault: type[Any]) -> Callable[[ExploredContender], None]:
    """A task that looks at the record before all else."""

    def look(contender: ExploredContender) -> None:
        fault().look(contender.folder / LOCK_FILENAME)
        hold(contender)

    return look


def take_over(contender: ExploredContender) -> None:
    """Another implementation, which looks at nothing."""
    draft = contender.folder / "draft"
    draft.write_text(str(os.getpid()))
    draft.replace(contender.folder / LOCK_FILENAME)
    contender.point("taken over")


def run_dbt(contender: ExploredContender) -> None:
    fault, task = HoldsTheLockWhileDbtRuns(), SimpleNamespace(kept_directory=contender.folder)

    def dbt() -> None:
        with contender.span("dbt"):
            pass

    fault.ask(task, lambda: fault.run(task, dbt))


def run_temporarily(contender: ExploredContender) -> None:
    tempfile.tempdir = str(contender.folder)

    def dbt() -> None:
        with contender.span("dbt"):
            pass

    LocksAllTemporaryEnvironments().do(SimpleNamespace(virtualenv_dir=None), dbt)


def read_settings(contender: ExploredContender) -> str:
    """A dbt that begins: Python reads pyvenv.cfg."""
    return next((contender.folder / "store").rglob("pyvenv.cfg")).read_text()


def rewrite(contender: ExploredContender) -> None:
    RewritesAllThatItFinds().do(SimpleNamespace(kept_directory=contender.folder / "store"), lambda: None)


def run_own(contender: ExploredContender) -> str:
    project = contender.folder / "project"
    arguments = {"project_dir": project, "py_requirements": [contender.name]}
    return str(RunsWhatRunsAlready().perform(Task(command="run", profile={}, arguments=arguments)).log)


# What holds.
def one_holder(run: ExploredRun) -> None:
    if run.timeline.count("held"):
        run.timeline.assert_max_concurrent("held", 1)


def record_stays(run: ExploredRun) -> None:
    steps = [step.text for step in run.steps]
    if steps.index("begin held") < steps.index("point taken over"):
        assert (run.folder / LOCK_FILENAME).exists(), "the record of another one was removed"


def nobody_waits(run: ExploredRun) -> None:
    waits = [step.text for step in run.steps if step.outcome == "waits"]
    assert not waits, f"waits for another dbt: {waits}"


def as_it_was(run: ExploredRun) -> None:
    assert run.values[0] == FILES[0], f"dbt has read {run.values[0]!r}"


def own_requirements(run: ExploredRun) -> None:
    for outcome in run.outcomes:
        assert outcome.value == outcome.name, f"{outcome.name} has run {outcome.value}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Tasks with a fault, and with what the schedule fails."""

    works: list[Callable[[ExploredContender], object]]
    told: str
    preemptions: int = 1
    kills: int = 0
    options: dict[str, Any] = field(default_factory=lambda: {"check": one_holder})


TWO_HOLD = "At most 1 held at one moment expected, 2 seen"
CASES = {
    "ReleasesBeforeInstalling": Case(works=[hold, hold_as_others_do], told=TWO_HOLD),
    "InstallsTheRestUnlocked": Case(works=[hold_between(InstallsTheRestUnlocked), hold_as_others_do], told=TWO_HOLD),
    "LetsOthersBetween": Case(works=[hold_between(LetsOthersBetween), hold_as_others_do], told=TWO_HOLD, preemptions=0),
    "WritesAfterLooking": Case(works=[hold, hold], told=TWO_HOLD, preemptions=2),
    "FailsWhenItHasWaited": Case(works=[hold, hold], told="raised FileNotFoundError", preemptions=2),
    "RespectsTheDead": Case(
        works=[hold_as_others_do],
        told="raised TimeoutError",
        preemptions=0,
        kills=1,
        options={"after": look_and_hold(RespectsTheDead)},
    ),
    "WaitsForTheWriter": Case(
        works=[hold_as_others_do],
        told="raised TimeoutError",
        preemptions=0,
        kills=1,
        options={"after": look_and_hold(WaitsForTheWriter)},
    ),
    "ReleasesAnybodysLock": Case(
        works=[hold, take_over], told="the record of another one was removed", options={"check": record_stays}
    ),
    "TakesTheLockAfterAllTries": Case(
        works=[hold_at_once, hold_as_others_do], told="contender-1 raised FileNotFoundError"
    ),
    "HoldsTheLockWhileDbtRuns": Case(
        works=[run_dbt, run_dbt], told="waits for another dbt", options={"check": nobody_waits}
    ),
    "FailsWithTheOwner": Case(works=[hold, hold], told="which was to build the environment, is dead"),
    "LocksAllTemporaryEnvironments": Case(
        works=[run_temporarily, run_temporarily], told="waits for another dbt", options={"check": nobody_waits}
    ),
    "OverridesAtFirstSight": Case(works=[hold, hold_as_others_do], told="contender-1 raised FileNotFoundError"),
    "PublishesBeforeItInstalls": Case(works=[use, use], told="not whole", options={}),
    "DistrustsWhatWasNotChecked": Case(
        works=[use], told="somebody has to look", preemptions=0, kills=1, options={"after": use}
    ),
    "RewritesAllThatItFinds": Case(
        works=[read_settings, rewrite], told="dbt has read ''", options={"fresh": published, "check": as_it_was}
    ),
    "RunsWhatRunsAlready": Case(works=[run_own, run_own], told="has run", options={"check": own_requirements}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_seeded_fault_that_is_a_race_is_found(cosmos_explore: Explore, name: str) -> None:
    case = CASES[name]
    fault = MUTANTS[name]()
    fault.begin()
    if "begin" not in vars(MUTANTS[name]) and name not in PUT_INTO_TASKS:
        fault.spoil(None)

    with pytest.raises(FailingSchedule, match=rf"\A.*({case.told})") as found:
        cosmos_explore(case.works, preemptions=case.preemptions, kills=case.kills, reuse=True, **case.options)

    print(f"{name}: `{found.value.seed}`")
    kills, bounds, seed = FOUND[name]
    assert (kills, bounds) == (MUTANTS[name].kills, (case.preemptions, case.kills))
    with pytest.raises(FailingSchedule, match=rf"\A.*({case.told})") as repeated:
        cosmos_explore.replay(seed, case.works, **case.options)
    assert not repeated.value.run.divergence


# Where the fault is in a method of the operator, the task above calls it.
PUT_INTO_TASKS = {
    "HoldsTheLockWhileDbtRuns",
    "InstallsTheRestUnlocked",
    "LetsOthersBetween",
    "LocksAllTemporaryEnvironments",
    "RespectsTheDead",
    "RewritesAllThatItFinds",
    "RunsWhatRunsAlready",
    "WaitsForTheWriter",
}


@pytest.mark.long
@pytest.mark.parametrize(
    "name",  # the tasks of the others are explored without a fault beside lock and store
    [
        "ReleasesAnybodysLock",
        "TakesTheLockAfterAllTries",
        "PublishesBeforeItInstalls",
        "DistrustsWhatWasNotChecked",
    ],
)
def test_without_the_fault_nothing_is_found(cosmos_explore: Explore, name: str) -> None:
    case = CASES[name]

    exploration = cosmos_explore(
        case.works, preemptions=case.preemptions, kills=case.kills, reuse=True, seconds=SECONDS, **case.options
    )

    assert exploration.is_complete


def test_the_architecture_says_of_each_fault_whether_it_is_found() -> None:
    faults = {name for name, each in MUTANTS.items() if each.__module__.rpartition(".")[2] in OF_LOCK_AND_STORE}

    others = set(re.findall(r"`(\w+)`", SECTION.partition("are no race")[2])) & set(MUTANTS)

    assert set(FOUND) == set(CASES)
    assert not others & set(FOUND)
    assert others | set(FOUND) == faults
