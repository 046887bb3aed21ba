"""ENV: what becomes of an environment that cannot be made, or whose maker dies."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_cosmos_venv import Point, Sighting, Wheel

from .bench import REQUIREMENTS, Bench
from .processes import installers_below
from .requirements import requirement
from .runs import damage, installed, ran

REQUIRED = {"dbt_core", "dbt_duckdb", "harbor_lamp"}
COMPLAINT = "pg_config: command not found"
_ERROR = re.compile(r"\bERROR\b|\[error\s*\]")


@requirement("ENV-009")
@pytest.mark.parametrize("none", [[], None], ids=["empty", "none"])
def test_requirements_that_are_missing_are_told(bench: Bench, none: list[str] | None) -> None:
    outcome = bench.run(bench.task(py_requirements=none))

    told = [line for line in outcome.log.splitlines() if "py_requirements" in line]
    assert any(_ERROR.search(line) for line in told), (
        f"without requirements a record of level ERROR must name py_requirements; seen: {told or outcome.log[-2000:]}"
    )


@requirement("ENV-010")
def test_a_failing_install_is_told_and_leaves_nothing(bench: Bench) -> None:
    bench.wheelhouse.add_sdist("dbt-harbor", fails_with=COMPLAINT)
    task = bench.kept_task(py_requirements=[*REQUIREMENTS, "dbt-harbor"])

    first, second = bench.run(task), bench.run(task)

    assert first.state == "failed", f"a failing install must fail the task; seen: {first}"
    lock = bench.virtualenv_dir / "cosmos_virtualenv.lock"
    assert not lock.exists(), f"a failing install must leave no lock; seen: {lock} is there"
    assert second.state == "failed", f"a task must not use what a failing install has left; seen: {second}"
    assert not bench.calls("run"), f"dbt must not run without all its requirements; seen: {bench.calls('run')}"
    assert COMPLAINT in str(first.exception), (
        f"the error must have what the installer said ({COMPLAINT}); seen: {first.exception}"
    )


@requirement("ENV-011")
@pytest.mark.parametrize("point", ["creating", "installing", "unpacking", "finishing", "running"])
def test_a_task_that_dies_leaves_nothing_that_harms_the_next(bench: Bench, point: str) -> None:
    # A build that can be held costs more than a wheel.
    lamp = bench.wheelhouse.add_sdist("harbor-lamp", hold=True) if point == "installing" else None
    if lamp is None:
        bench.wheelhouse.add(Wheel(name="harbor-lamp", version="1.0", files={"harbor_lamp.py": ""}))
    task = bench.kept_task(py_requirements=[*REQUIREMENTS, "harbor-lamp"])
    held = bench.wheelhouse.script("run", hold=True)
    seen_below = {"unpacking": unpacking, "finishing": finishing}
    kill_at = seen_below[point](bench.virtualenv_dir) if point in seen_below else point

    with bench.start(task, kill_at=kill_at, virtualenv_dir=bench.virtualenv_dir, grace=1.0) as running:
        running.finish()
    held.take_back()
    if lamp is not None:
        lamp.release()
    call = ran(bench, task)

    names = {each.split("-")[0] for each in installed(call.prefix)}
    assert names == REQUIRED, f"after a kill while {point} the next task must find {REQUIRED}; seen: {names}"
    assert not damage(call.prefix), f"after a kill while {point} all files must be whole; seen: {damage(call.prefix)}"


def unpacking(virtualenv_dir: Path) -> Point:
    """The first distribution of dbt stands in an environment."""

    def look() -> Sighting | None:
        found = next((name for name in unpacked_below(virtualenv_dir) if name.startswith("dbt_")), None)
        return None if found is None else Sighting(at=time.time(), what=found)

    return Point("unpacking", look)


def finishing(virtualenv_dir: Path) -> Point:
    """All distributions stand in an environment, and no installer works on it any more.

    Who goes on at once may have started dbt by then, which is held: it is never too late to be seen.
    """

    def look() -> Sighting | None:
        is_whole = {name.split("-")[0] for name in unpacked_below(virtualenv_dir)} >= REQUIRED
        is_over = is_whole and not installers_below(virtualenv_dir, [])
        return Sighting(at=time.time(), what="the installer has ended") if is_over else None

    return Point("finishing", look)


def unpacked_below(virtualenv_dir: Path) -> Iterator[str]:
    """Names of folders with a RECORD; others are at work there, and this passes over what vanishes meanwhile."""
    return (Path(folder).name for folder, _, files in os.walk(virtualenv_dir) if "RECORD" in files)


@requirement("ENV-016")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_directory_that_takes_nothing_is_named(bench: Bench, kind: str) -> None:
    bench.virtualenv_dir.mkdir()

    outcome = bench.run(bench.kept_task(place={kind: str(bench.virtualenv_dir)}))

    assert outcome.state == "failed", f"a task whose virtualenv_dir is {kind} must fail; seen: {outcome}"
    assert str(bench.virtualenv_dir) in str(outcome.exception), (
        f"the error must name the virtualenv_dir that is {kind}, {bench.virtualenv_dir}; seen: {outcome.exception}"
    )


@requirement("ENV-024")
def test_a_ready_environment_is_used_where_it_is_read_only(bench: Bench) -> None:
    ready = ran(bench, bench.kept_task())

    call = ran(bench, bench.kept_task(place={"mounted read-only": str(bench.virtualenv_dir)}))

    assert call.prefix == ready.prefix, (
        f"a ready environment on a read-only file system must be used, {ready.prefix}; seen: dbt in {call.prefix}"
    )
