"""The store in every order of its steps: who gets an environment has a whole one until the lease ends.

The installation is three files here; all else is as in a task. What holds: a build is published when it is whole; a
lease keeps it; what was removed is built again; a kill anywhere is made up for by the next task.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.environments.maintenance.pruner import PruneLimits, prune, retire_damaged, surplus
from cosmos_venv.environments.publisher import BuildRequest, Publisher, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import BuildRecord, EnvironmentStore
from cosmos_venv.files.kernel_lock import Lease, lease_path
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule
from tests.explored import FURTHER, PROOF, SECONDS

AN_HOUR = 3600
FILES = ("pyvenv.cfg", "bin/dbt", "lib/dbt.py")


@pytest.fixture(autouse=True)
def _installs_in_three_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(self: Publisher, build: Path, *_: object, **__: object) -> BuildRecord:
        (build / "bin").mkdir(parents=True)
        (build / "lib").mkdir()
        (build / "bin" / "python").symlink_to(sys.executable)
        for name in FILES:
            (build / name).touch()
        return BuildRecord.of(self.spec, build, {}, installer="uv", seconds=0.0)

    monkeypatch.setattr(Publisher, "_installed", install)
    monkeypatch.setattr(Publisher, "_installer", lambda *_: SimpleNamespace(name="uv", reason=""))


def spec(name: str = "hello", *options: str) -> EnvironmentSpec:
    return EnvironmentSpec(requirements=(name,), pip_install_options=options, interpreter=Interpreter.of())


def missing(build: Path) -> list[str]:
    return [name for name in FILES if not (build / name).exists()]


def used(contender: Contender, wanted: EnvironmentSpec, *, limits: PruneLimits | None = None, **options: Any) -> bool:
    """A task: it has a whole environment when it begins, and when it ends; returns whether it has built it."""
    store = EnvironmentStore(contender.folder / "store")
    request = BuildRequest(store=store, spec=wanted, max_tries=20, limits=limits)
    with (
        open_environment(request, cancellation=Cancellation(), report=lambda _: None, **options) as environment,
        contender.span("used"),
    ):
        assert not missing(environment.path), f"not whole: {missing(environment.path)}"
        contender.point("dbt runs")
        assert not missing(environment.path), f"removed under the lease: {missing(environment.path)}"
    return environment.was_built


class _FirstStore(EnvironmentStore):
    """A store that names its build alike in each schedule."""

    def new_build(self, digest: str) -> Path:
        return self.root / f"{digest}-{'f' * 8}"


def use(contender: Contender) -> bool:
    return used(contender, spec())


def upgrade(contender: Contender) -> bool:
    """A task that wants a newer generation than one of two hours ago."""
    return used(contender, spec("hello", "-U"), upgrade_after=AN_HOUR)


def retire(contender: Contender) -> bool:
    """A task of another environment, which leaves no room for a second one."""
    return used(contender, spec("other"), limits=PruneLimits(max_count=1, min_age=0))


def retire_and_use(contender: Contender) -> bool:
    """A task that finds the first build damaged and retires it, and its next try; returns whether it has built."""
    store = _FirstStore(contender.folder / "store")
    first = store.root / f"{spec().digest}-{'f' * 8}"
    retire_damaged(store, first, max_tries=20, cancellation=Cancellation(), report=lambda _: None)
    return use(contender)


def prune_all(contender: Contender) -> list[str]:
    store = EnvironmentStore(contender.folder / "store")
    limits = PruneLimits(max_age=1, min_age=0)
    now = time.time() + 3600
    look = partial(surplus, store, limits, now=now)
    removals = prune(store, look, max_tries=20, cancellation=Cancellation(), report=lambda _: None)
    return [each.obstacle for each in removals]


def published(folder: Path) -> None:
    """An environment that another task has built."""
    store = _FirstStore(folder / "store")
    with open_environment(
        BuildRequest(store=store, spec=spec(), max_tries=0), cancellation=Cancellation(), report=lambda _: None
    ):
        pass


def published_long_ago(folder: Path) -> None:
    """An environment that another task has built two hours ago."""
    store = _FirstStore(folder / "store")
    with open_environment(
        BuildRequest(store=store, spec=spec("hello", "-U"), max_tries=0),
        cancellation=Cancellation(),
        report=lambda _: None,
    ) as environment:
        built_at = datetime.now(tz=timezone.utc) - timedelta(seconds=2 * AN_HOUR)
        record = replace(environment.record, built_at=built_at.isoformat(timespec="seconds"))
        store.record_file(record.digest).write_text(record.to_json())


def built_once(run: Schedule) -> None:
    assert run.killed or list(run.values).count(True) == 1, f"built by {run.values}"


LONG_AGO: dict[str, Any] = {"fresh": published_long_ago}


@pytest.mark.parametrize(
    ("works", "options"),
    [
        pytest.param([use, use], {"check": built_once}, id="build-and-build", marks=PROOF),
        pytest.param([use, prune_all], {"fresh": published}, id="find-and-prune", marks=PROOF),
        pytest.param(
            [retire_and_use, retire_and_use],
            {"fresh": published, "check": built_once},
            id="damage-and-damage",
            marks=PROOF,
        ),
    ],
)
def test_two_at_once(cosmos_race: CosmosRace, works: list[Any], options: dict[str, Any]) -> None:
    exploration = cosmos_race.explore(works, preemptions=1, kills=0, seconds=SECONDS, **options)

    print(exploration)
    assert exploration.is_complete


KILLED: dict[str, Any] = {"fresh": published, "after": use}


@pytest.mark.parametrize(
    ("works", "preemptions", "kills", "options"),
    [
        pytest.param([use], 0, 1, {"after": use}, id="build-killed", marks=PROOF),
        pytest.param([use, use], 0, 1, {"after": use}, id="build-and-build-killed", marks=PROOF),
        pytest.param([use, prune_all], 0, 1, KILLED, id="find-and-prune-killed", marks=PROOF),
        pytest.param([use, retire_and_use], 0, 1, KILLED, id="find-and-damage-killed", marks=PROOF),
        pytest.param([retire_and_use, prune_all], 0, 1, KILLED, id="damage-and-prune-killed", marks=PROOF),
        pytest.param(
            [use, retire_and_use, prune_all],
            1,
            0,
            {"fresh": published},
            id="find-damage-and-prune",
            marks=FURTHER,  # 70 s on two busy cores
        ),
        pytest.param([prune_all, prune_all], 0, 1, KILLED, id="prune-and-prune-killed", marks=PROOF),
        # With two interruptions find-and-prune ends too, after 1,812 schedules: explored once, by hand.
        pytest.param(
            [upgrade, upgrade], 1, 0, {**LONG_AGO, "check": built_once}, id="upgrade-and-upgrade", marks=PROOF
        ),
        pytest.param([upgrade, prune_all], 1, 0, LONG_AGO, id="upgrade-and-prune", marks=PROOF),
        pytest.param([upgrade, retire], 1, 0, LONG_AGO, id="upgrade-and-retire", marks=PROOF),
        pytest.param([use, retire], 1, 0, {"fresh": published}, id="find-and-retire", marks=PROOF),
        pytest.param(
            [retire, retire], 1, 0, {"fresh": published, "check": built_once}, id="retire-and-retire", marks=PROOF
        ),
        pytest.param(
            [upgrade, upgrade], 0, 1, {**LONG_AGO, "after": upgrade}, id="upgrade-and-upgrade-killed", marks=FURTHER
        ),
        pytest.param([use, retire], 0, 1, KILLED, id="find-and-retire-killed", marks=FURTHER),
    ],
)
def test_two_at_once_interrupted_and_killed(
    cosmos_race: CosmosRace, works: list[Any], preemptions: int, kills: int, options: dict[str, Any]
) -> None:
    exploration = cosmos_race.explore(works, preemptions=preemptions, kills=kills, seconds=SECONDS, **options)

    print(exploration)
    assert exploration.is_complete


# Faults, put back in: what the store would do without one of its precautions.
def removes_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def exclusive(cls: type[Lease], build: Path) -> Lease:
        return cls(os.open(lease_path(build), os.O_RDWR | os.O_CREAT))

    monkeypatch.setattr(Lease, "exclusive", classmethod(exclusive))


def uses_without_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnvironmentStore, "_leased", lambda *_: None)


def publishes_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Publisher._installed

    def install(self: Publisher, build: Path, *arguments: Any, **options: Any) -> BuildRecord:
        (build / "bin").mkdir(parents=True)
        (build / "bin" / "python").symlink_to(sys.executable)
        self.store.publish(BuildRecord.of(self.spec, build, {}, installer="uv", seconds=0.0))
        shutil.rmtree(build / "bin")
        return whole(self, build, *arguments, **options)

    monkeypatch.setattr(Publisher, "_installed", install)


def does_not_look_again_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "_found", lambda _: None)


def builds_without_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "_locked", lambda *_: nullcontext())


@pytest.mark.parametrize(
    ("fault", "works", "options", "told"),
    [
        pytest.param(
            removes_what_is_in_use,
            [use, prune_all],
            {"fresh": published, "preemptions": 2},
            "removed under the lease|not whole",
            marks=FURTHER,
        ),
        pytest.param(
            uses_without_a_lease,
            [use, prune_all],
            {"fresh": published},
            "removed under the lease|not whole",
            marks=PROOF,
        ),
        pytest.param(publishes_before_it_is_whole, [use, use], {}, "not whole", marks=FURTHER),
        pytest.param(
            does_not_look_again_under_the_lock,
            [use, use],
            {"check": built_once},
            r"built by \(True, True\)",
            marks=PROOF,
        ),
        pytest.param(
            builds_without_the_lock, [use, use], {"check": built_once}, "contender-. raised|built by", marks=PROOF
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_that_is_put_back_is_found(
    cosmos_race: CosmosRace,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    works: list[Any],
    options: dict[str, Any],
    told: str,
) -> None:
    fault(monkeypatch)

    with pytest.raises(FailingSchedule, match=rf"\A.*({told})") as failure:
        cosmos_race.explore(works, **{"preemptions": 1, "kills": 0, **options})

    print(fault.__name__, failure.value.seed)
