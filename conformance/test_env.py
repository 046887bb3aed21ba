"""ENV: where an environment is made, how long it stays, and who may change it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_cosmos_venv import DbtCall

from . import process
from .bench import Bench
from .processes import comes_true, watch_until_rest
from .requirements import requirement
from .runs import dbt_running, files_in, installed, is_below, ran, run_begins, unpacked
from .tasks import Task

if TYPE_CHECKING:
    from pytest_cosmos_venv import PackageIndex

each_temporary_place = pytest.mark.parametrize("place", ["no virtualenv_dir", "is_virtualenv_dir_temporary"])
"""Both ways to say that an environment is for one task alone."""
SOON = 10.0
"""Seconds after a kill within which a temporary environment has to be gone."""


def temporary_task(bench: Bench, place: str) -> Task:
    """A task whose environment is for itself alone."""
    return bench.task() if place == "no virtualenv_dir" else bench.kept_task(is_virtualenv_dir_temporary=True)


def temporary_home(call: DbtCall) -> Path:
    """The temporary directory that dbt ran in."""
    named = [folder for folder in (call.prefix, *call.prefix.parents) if folder.name.startswith("cosmos-venv")]
    assert named, f"a temporary directory must have a name that begins with cosmos-venv; seen: dbt in {call.prefix}"
    return named[-1]


@requirement("ENV-001")
@each_temporary_place
def test_a_temporary_environment_is_used_and_gone_after_success(bench: Bench, place: str) -> None:
    with dbt_running(bench, temporary_task(bench, place), **bench.own_temporary) as call:
        home, there = temporary_home(call), sorted(installed(call.prefix))

    for name in ("dbt_core", "dbt_duckdb"):
        assert any(each.startswith(name) for each in there), f"it must hold {name}, which is required; seen: {there}"
    assert not home.exists(), f"the temporary directory must be gone after the task; seen: {home} is there"


@requirement("ENV-002")
@each_temporary_place
def test_a_temporary_environment_is_gone_after_failure(bench: Bench, place: str) -> None:
    bench.wheelhouse.script("run", exit_code=1)

    outcome = bench.run(temporary_task(bench, place), variables=bench.own_temporary)

    calls = bench.calls("run")
    assert calls, f"the task must run dbt; seen: {outcome}"
    home = temporary_home(calls[0])
    assert not home.exists(), f"the temporary directory must be gone after a failing dbt; seen: {home} is there"


@requirement("ENV-003")
@each_temporary_place
def test_a_temporary_environment_is_gone_after_a_kill(bench: Bench, place: str) -> None:
    bench.wheelhouse.script("run", hold=True)

    with bench.start(temporary_task(bench, place), variables=bench.own_temporary) as running:
        running.wait_for(run_begins(bench))
        home = temporary_home(bench.calls("run")[0])
        told_at = time.monotonic()
        running.terminate()
        is_gone = comes_true(lambda: not home.exists(), deadline=told_at + SOON + bench.slack - time.monotonic())

    assert is_gone, f"the temporary directory must be gone {SOON:.0f} s after a kill while dbt runs; seen: {home} stays"


@requirement("ENV-004")
def test_a_kept_environment_serves_the_next_task(bench: Bench, cosmos_package_index: PackageIndex) -> None:
    index = cosmos_package_index
    task = bench.kept_task(pip_install_options=index.pip_install_options)

    first = ran(bench, task, index.environment)
    before, asked = unpacked(first.prefix), len(index.requests)
    second = ran(bench, task, index.environment)

    assert is_below(first.prefix, bench.virtualenv_dir), f"dbt must run from virtualenv_dir; seen: {first.prefix}"
    assert second.prefix == first.prefix, f"both tasks must use one environment; seen: {first.prefix}, {second.prefix}"
    now = unpacked(second.prefix)
    assert now == before, f"the second task must unpack nothing that is there; RECORDs before {before}; seen: {now}"
    fetched = [request.path for request in index.requests[asked:] if "dbt_" in request.path]
    assert not fetched, f"the second task must fetch no distribution that is there; seen: {fetched}"
    answer = process.run([str(bench.virtualenv_dir / "bin" / "dbt"), "--version"], cwd=bench.folder)
    assert answer.succeeded, f"<virtualenv_dir>/bin/dbt --version must exit with 0; seen: {answer}"


@pytest.mark.parametrize(
    "question",
    [
        pytest.param("is there an environment", marks=requirement("ENV-007")),
        pytest.param("is there anything", marks=requirement("ENV-020")),
    ],
)
def test_a_directory_that_is_temporary_is_not_there_afterwards(bench: Bench, question: str) -> None:
    ran(bench, bench.kept_task(is_virtualenv_dir_temporary=True))

    place = bench.virtualenv_dir
    left = list(place.rglob("pyvenv.cfg")) if question == "is there an environment" else [place] * place.exists()
    assert not left, f"is_virtualenv_dir_temporary=True must leave nothing at {place} ({question}); seen: {left}"


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("success", marks=requirement("ENV-008")),
        pytest.param("killed while it installs", marks=requirement("ENV-008")),
        pytest.param("killed before it begins", marks=requirement("ENV-026")),
    ],
)
def test_what_stood_in_a_temporary_directory_before_still_stands(bench: Bench, end: str) -> None:
    treasure = bench.virtualenv_dir / "north" / "treasure.txt"
    treasure.parent.mkdir(parents=True)
    treasure.write_text("gold", encoding="utf-8")
    before = files_in(bench.virtualenv_dir)
    if end == "killed while it installs":
        bench.wheelhouse.add_sdist("dbt-core", hold=True)
    task = bench.kept_task(is_virtualenv_dir_temporary=True)

    if end == "success":
        ran(bench, task)
    elif end == "killed before it begins":
        bench.ask("kill_before_start", task=task)
    else:
        with bench.start(task) as running:
            running.wait_for("installing")
            running.terminate()
            running.finish()

    now = files_in(bench.virtualenv_dir) if bench.virtualenv_dir.exists() else {}
    lost = {name: now.get(name, "gone") for name, was in before.items() if now.get(name) != was}
    assert not lost, f"what stood in virtualenv_dir before must still stand ({end}); seen: {lost} of {before}"


@requirement("ENV-022")
def test_a_temporary_environment_is_a_fresh_one(bench: Bench) -> None:
    kept = ran(bench, bench.kept_task())
    before = unpacked(kept.prefix)

    fresh = ran(bench, bench.kept_task(is_virtualenv_dir_temporary=True))

    assert fresh.prefix != kept.prefix, (
        f"is_virtualenv_dir_temporary=True must lead to an environment of its own; seen: that of before, {kept.prefix}"
    )
    assert unpacked(kept.prefix) == before, (
        f"the environment of before must stay as it was; seen: {kept.prefix} changed"
    )


@requirement("ENV-014")
def test_nothing_changes_under_a_running_dbt(bench: Bench) -> None:
    bench.wheelhouse.add_dbt("1.11.0")
    older, newer = (
        bench.kept_task(py_requirements=[f"dbt-core=={version}", "dbt-duckdb"]) for version in ("1.10.0", "1.11.0")
    )

    with dbt_running(bench, older) as call:
        before = files_in(call.prefix)
        with bench.start(newer) as other:
            # It waits, in whatever words or in silence, and comes to rest; or it goes on beside it, and ends.
            watch_until_rest(other.pids, lambda: not other.running, deadline=bench.deadline)
            now = files_in(call.prefix) if call.prefix.exists() else {}

    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    assert not changed, (
        f"no file of an environment may change while its dbt runs (another task wants another version); seen: {changed}"
    )


@requirement("ENV-017")
def test_an_operator_that_is_executed_again_leaves_nothing(bench: Bench) -> None:
    error = bench.ask("executed_twice", task=bench.task(), variables=bench.own_temporary)

    calls = bench.calls("run")
    assert error is None, f"an operator must be executed twice without an error; seen: {error}"
    assert len(calls) == 2, f"dbt must run in each execution; seen: {calls}"
    left = sorted({str(temporary_home(call)) for call in calls if temporary_home(call).exists()})
    assert not left, f"no temporary directory of either execution may stay; seen: {left}"
