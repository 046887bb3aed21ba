"""ENV: where an environment is made, what is in it, how long it stays, and what a failed installation leaves."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from pytest_cosmos_venv.real_time import wait_until

from ..adapter import Task
from ..harness import processes
from ..harness.harness import NATIVE_DBT, TEMPORARY_PLACES, Harness
from ..harness.processes import watch_until_rest
from ..harness.runs import (
    damage,
    dbt_running,
    files_in,
    installed,
    installing_ends,
    is_below,
    prefixed_folders,
    ran,
    require_kept,
    run_begins,
    seen_installers,
    temporary_home,
    unpacked,
    unpacking_begins,
)
from ..requirements import case, requirement

each_temporary_place = pytest.mark.parametrize("place", TEMPORARY_PLACES)
SOON = 10.0
"""Seconds after a kill within which a temporary environment has to be gone."""
# Packages that an environment may have before anything is installed.
SEEDS = ("pip", "setuptools", "wheel")
LAMP = Wheel(name="harbor-lamp", version="1.0", files={"harbor_lamp.py": ""})
COMPLAINT = "pg_config: command not found"
# Not a file such as requirements.txt, and not an option of an installer that takes such a file.
_PARAMETER = re.compile(r"(?<![\w-])\w*requirements\b(?!\.)")
_ERROR = re.compile(r"\bERROR\b|\[error\s*\]")


def _two_tasks(harness: Harness) -> list[Task]:
    """Two tasks in ``virtualenv_dir`` that need different versions of dbt-core."""
    harness.wheelhouse.add_dbt(harness.versions[1])
    return [harness.kept_task(py_requirements=harness.requirements(version)) for version in harness.versions]


@each_temporary_place
@pytest.mark.parametrize(
    "end",
    [case("ENV-001", "dbt has succeeded"), case("ENV-002", "dbt has failed"), case("ENV-003", "a kill while dbt runs")],
)
def test_a_temporary_environment_is_used_and_gone(harness: Harness, end: str, place: str) -> None:
    is_killed = "kill" in end
    script = harness.wheelhouse.script("run", hold=True, exit_code=int("failed" in end))

    with harness.start(harness.temporary_task(place), variables=harness.own_temporary) as running:
        running.race.wait_for(run_begins(harness))
        call = harness.calls("run")[0]
        home, there = temporary_home(call), sorted(installed(call.prefix))
        told_at = time.monotonic()
        if is_killed:
            running.terminate()
        else:
            script.release()
            running.finish()
        left = told_at + SOON + harness.slack - time.monotonic()
        is_gone = wait_until(lambda: not home.exists(), timeout=left if is_killed else 0)

    for name in harness.distributions:
        assert any(each.startswith(name) for each in there), f"it must hold {name}, which is required; seen: {there}"
    within = f"{SOON:.0f} s after " if is_killed else "after "
    assert is_gone, f"the temporary directory must be gone {within}{end}; seen: {home} stays"


@requirement("ENV-029")
@each_temporary_place
def test_a_temporary_environment_lies_in_a_directory_of_the_documented_name(harness: Harness, place: str) -> None:
    call = ran(harness, harness.temporary_task(place))

    found = prefixed_folders(call)
    assert found, f"a temporary directory must have a name that begins with cosmos-venv; seen: {call.prefix}"


@requirement("ENV-004")
def test_a_kept_environment_serves_the_next_task(harness: Harness, cosmos_dbt: CosmosDbt) -> None:
    index = cosmos_dbt.index
    task = harness.kept_task(pip_install_options=index.pip_install_options)

    first = ran(harness, task, index.environment)
    before, asked = unpacked(first.prefix), len(index.requests)
    second = ran(harness, task, index.environment)

    assert is_below(first.prefix, harness.virtualenv_dir), f"dbt must run from virtualenv_dir; seen: {first.prefix}"
    require_kept("the second task must use the environment that is there", first.prefix, before, second)
    fetched = [request.path for request in index.requests[asked:] if "dbt_" in request.path]
    assert not fetched, f"the second task must fetch no distribution that is there; seen: {fetched}"


@requirement("ENV-030")
def test_a_kept_environment_has_its_dbt_where_people_look_for_it(harness: Harness) -> None:
    ran(harness, harness.shared_task())

    answer = processes.run([str(harness.shared_directory / "bin" / "dbt"), "--version"], cwd=harness.folder)

    assert answer.succeeded, f"<virtualenv_dir>/bin/dbt --version must exit with 0; seen: {answer}"


@pytest.mark.parametrize("question", [case("ENV-007", "is there an environment"), case("ENV-020", "is there anything")])
def test_a_directory_that_is_temporary_is_not_there_afterwards(harness: Harness, question: str) -> None:
    ran(harness, harness.kept_task(is_virtualenv_dir_temporary=True))

    place = harness.virtualenv_dir
    left = list(place.rglob("pyvenv.cfg")) if question == "is there an environment" else [place] * place.exists()
    assert not left, f"is_virtualenv_dir_temporary=True must leave nothing at {place} ({question}); seen: {left}"


@pytest.mark.parametrize(
    "end",
    [
        case("ENV-008", "success"),
        case("ENV-008", "killed while it installs"),
        case("ENV-026", "killed before it begins"),
    ],
)
def test_what_stood_in_a_temporary_directory_before_still_stands(harness: Harness, end: str) -> None:
    treasure = harness.virtualenv_dir / "north" / "treasure.txt"
    treasure.parent.mkdir(parents=True)
    treasure.write_text("gold", encoding="utf-8")
    before = files_in(harness.virtualenv_dir)
    if end == "killed while it installs":
        harness.add_sdist(hold=True)
    task = harness.kept_task(is_virtualenv_dir_temporary=True)

    if end == "success":
        ran(harness, task)
    elif end == "killed before it begins":
        harness.error_of(task, "on_kill")
    else:
        with harness.start(task) as running:
            running.race.wait_for("installing")
            running.terminate()
            running.finish()

    now = files_in(harness.virtualenv_dir) if harness.virtualenv_dir.exists() else {}
    lost = {name: now.get(name, "gone") for name, was in before.items() if now.get(name) != was}
    assert not lost, f"what stood in virtualenv_dir before must still stand ({end}); seen: {lost} of {before}"


@requirement("ENV-022")
def test_a_temporary_environment_is_a_fresh_one(harness: Harness) -> None:
    kept = ran(harness, harness.kept_task())
    before = unpacked(kept.prefix)

    fresh = ran(harness, harness.kept_task(is_virtualenv_dir_temporary=True))

    assert fresh.prefix != kept.prefix, (
        f"is_virtualenv_dir_temporary=True must lead to an environment of its own; seen: that of before, {kept.prefix}"
    )
    assert unpacked(kept.prefix) == before, f"the earlier environment must stay as it was; seen: {kept.prefix} changed"


@requirement("ENV-014")
def test_nothing_changes_under_a_running_dbt(harness: Harness) -> None:
    older, newer = _two_tasks(harness)

    with dbt_running(harness, older) as call:
        before = files_in(call.prefix)
        with harness.start(newer) as other:
            # The newer task waits and comes to rest, whatever it logs; or it runs beside the older task, and ends.
            watch_until_rest(other.pids, lambda: not other.running, timeout=harness.timeout)
            now = files_in(call.prefix) if call.prefix.exists() else {}

    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    assert not changed, f"no file of an environment may change while its dbt runs; seen: {changed}"


@requirement("ENV-017")
def test_an_operator_that_is_executed_again_leaves_nothing(harness: Harness) -> None:
    error = harness.error_of(harness.task(), "execute", "execute", variables=harness.own_temporary)

    calls = harness.calls("run")
    assert error is None, f"an operator must be executed twice without an error; seen: {error}"
    assert len(calls) == 2, f"dbt must run in each execution; seen: {calls}"
    left = sorted({str(temporary_home(call)) for call in calls if temporary_home(call).exists()})
    assert not left, f"no temporary directory of either execution may stay; seen: {left}"


@requirement("ENV-005")
@pytest.mark.parametrize("is_visible", [True, False])
def test_system_site_packages_are_visible_when_they_are_wanted(harness: Harness, is_visible: bool) -> None:
    prefix = ran(harness, harness.kept_task(py_system_site_packages=is_visible)).prefix

    code = "import sys; print([p for p in sys.path if p.endswith('-packages') and not p.startswith(sys.prefix)])"
    answer = processes.said_by_python(prefix, code, cwd=harness.folder)

    assert answer.succeeded, f"the Python of the environment must answer; seen: {answer}"
    assert ("[]" not in answer.output) == is_visible, (
        f"py_system_site_packages={is_visible} must decide whether packages outside the environment can be imported; "
        f"seen: {answer}"
    )


@requirement("ENV-006")
def test_pip_options_take_effect(harness: Harness, cosmos_dbt: CosmosDbt) -> None:
    index = cosmos_dbt.index
    shelf = harness.folder / "shelf"
    shelf.mkdir()
    write_wheel(replace(LAMP, requires=("no-such-oil",)), shelf)
    documented = ["--upgrade", "--no-cache-dir"]
    without_index = [*index.pip_install_options, *harness.wheelhouse.pip_install_options]
    options = [*without_index, "--find-links", str(shelf), "--no-deps", *documented]
    task = harness.kept_task(py_requirements=[*harness.requirements(), "harbor-lamp"], pip_install_options=options)

    call = ran(harness, task, index.environment)

    asked = [request.path for request in index.requests if not any(f"/{seed}" in request.path for seed in SEEDS)]
    assert not asked, f"--no-index must let no index be asked for what is required; seen: {asked}"
    assert "harbor_lamp-1.0" in installed(call.prefix), (
        f"--find-links and --no-deps must let harbor-lamp be installed; seen: {sorted(installed(call.prefix))}"
    )


@requirement("ENV-012")
def test_a_changed_pin_takes_effect_in_the_next_task(harness: Harness) -> None:
    seen = tuple(ran(harness, task).dbt_version for task in _two_tasks(harness))

    assert seen == harness.versions, f"each task must run the dbt that it pins, {harness.versions}; seen: {seen}"


@requirement("ENV-023")
def test_a_dropped_requirement_is_gone(harness: Harness) -> None:
    harness.wheelhouse.add(LAMP)
    ran(harness, harness.kept_task(py_requirements=[*harness.requirements(), "harbor-lamp"]))

    prefix = ran(harness, harness.kept_task()).prefix

    answer = processes.said_by_python(prefix, "import harbor_lamp", cwd=harness.folder)
    assert "ModuleNotFoundError" in answer.output, f"what is no longer required must not be importable; seen: {answer}"


def _beside_another_one(harness: Harness) -> list[Task]:
    older, newer = _two_tasks(harness)
    return [older, newer, older]


def _in_other_words(harness: Harness) -> list[Task]:
    harness.wheelhouse.add(LAMP)
    version, others = harness.versions[0], [] if harness.has_native_dbt else ["dbt_DuckDB"]
    spellings = [*harness.requirements(version), "harbor-lamp"], ["Harbor_Lamp", *others, f"dbt.core == {version}"]
    return [harness.kept_task(py_requirements=each) for each in spellings]


def _read_only(harness: Harness) -> list[Task]:
    return [harness.kept_task(), harness.kept_task(place={"read-only": str(harness.virtualenv_dir)})]


@pytest.mark.parametrize(
    ("said", "tasks"),
    [
        case("ENV-013", "a set of requirements must stay installed beside another one", _beside_another_one),
        case("ENV-018", "requirements in other words must lead to the environment that is there", _in_other_words),
        case("ENV-024", "a ready environment on a read-only file system must be used", _read_only),
        case("ENV-028", "an environment with a native dbt must be kept", lambda harness: [harness.native_task()] * 2),
    ],
)
def test_the_last_task_uses_the_environment_of_the_first(
    harness: Harness, said: str, tasks: Callable[[Harness], list[Task]]
) -> None:
    first, *others = tasks(harness)
    ready = ran(harness, first)
    before = unpacked(ready.prefix)

    *_, last = [ran(harness, task) for task in others]

    require_kept(said, ready.prefix, before, last)


@requirement("ENV-019")
@pytest.mark.parametrize("place", ["own directories", "temporary"])
def test_two_tasks_run_two_versions(harness: Harness, place: str) -> None:
    harness.wheelhouse.add_dbt(harness.versions[1])
    tasks = [
        harness.task(
            py_requirements=harness.requirements(version),
            virtualenv_dir=str(harness.virtualenv_dir / version) if place == "own directories" else None,
        )
        for version in harness.versions
    ]

    with harness.start(tasks) as running:
        outcomes = running.finish().outcomes

    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    assert not failed, f"both tasks must succeed; seen: {failed[0]}"
    seen = tuple(sorted(call.dbt_version for call in harness.calls("run")))
    required = harness.versions
    assert seen == required, f"two tasks at once must each run their own version ({place}), {required}; seen: {seen}"


@requirement("ENV-021")
def test_the_workers_python_does_not_reach_dbt(harness: Harness) -> None:
    broken = harness.folder / "path" / "dbt" / "__init__.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("raise ImportError('this is the dbt of the worker')\n")
    variables = {
        # The implementation itself may be on PYTHONPATH.
        "PYTHONPATH": os.pathsep.join([str(broken.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONHOME": str(_home_in_which_no_dbt_starts(harness.folder / "home")),
    }

    outcome = harness.run(harness.task(), variables=variables)

    assert outcome.succeeded, (
        f"{' and '.join(variables)} of the worker must not reach the environment or its dbt; seen: {outcome}"
    )


def _home_in_which_no_dbt_starts(folder: Path) -> Path:
    """A folder for PYTHONHOME: this Python's library, and a sitecustomize that ends each program called dbt."""
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
    own = folder / "lib" / library.name
    own.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in ("site-packages", "sitecustomize.py", "__pycache__"):
            (own / entry.name).symlink_to(entry)
    (own / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if any(os.path.basename(word) == 'dbt' for word in sys.orig_argv):\n"
        "    os.write(2, b'this dbt has the PYTHONHOME of the worker')\n"
        "    os._exit(3)\n"
    )
    return folder


@requirement("ENV-025")
def test_variables_of_the_workers_pip_do_not_divert_the_install(harness: Harness) -> None:
    elsewhere = harness.folder / "elsewhere"
    variables = {"PIP_USER": "1", "PIP_TARGET": str(elsewhere), "PYTHONUSERBASE": str(elsewhere)}

    call = ran(harness, harness.kept_task(), variables)

    there = sorted(installed(call.prefix))
    assert {each.split("-")[0] for each in there} == harness.distributions, (
        f"with PIP_USER and PIP_TARGET set, requirements must be in the environment; seen there: {there}"
    )
    assert not elsewhere.exists(), f"they must divert nothing; seen: {sorted(elsewhere.rglob('*'))[:5]}"


@requirement("ENV-015")
def test_a_warm_task_starts_no_installer(harness: Harness) -> None:
    calls = harness.folder / "installers.txt"
    variables = seen_installers(harness.folder, calls)
    ran(harness, harness.kept_task(), variables)
    if not calls.exists():
        pytest.skip("its installer is neither the uv on PATH nor pip: it cannot be seen")
    calls.unlink()

    ran(harness, harness.kept_task(), variables)

    assert not calls.exists(), (
        f"a task that finds its environment must start no installer; seen: {calls.read_text(encoding='utf-8')[:500]}"
    )


@requirement("ENV-009")
@pytest.mark.parametrize("none", [[], None], ids=["empty", "none"])
def test_requirements_that_are_missing_are_told(harness: Harness, none: list[str] | None) -> None:
    outcome = harness.run(harness.task(py_requirements=none))

    told = [line for line in outcome.log.splitlines() if _PARAMETER.search(line)]
    errors = [line for line in told if _ERROR.search(line)]
    assert errors or _PARAMETER.search(outcome.exception or ""), (
        "without requirements a record of level ERROR, or the error of the task, must name py_requirements; seen: "
        f"{outcome.exception}, {told or outcome.log[-2000:]}"
    )


@requirement("ENV-010")
def test_a_failing_install_is_told_and_leaves_nothing(harness: Harness) -> None:
    harness.wheelhouse.add_sdist("dbt-harbor", fails_with=COMPLAINT)
    task = harness.kept_task(py_requirements=[*harness.requirements(), "dbt-harbor"])

    first, second = harness.run(task), harness.run(task)

    assert first.state == "failed", f"a failing install must fail the task; seen: {first}"
    lock = harness.virtualenv_dir / "cosmos_virtualenv.lock"
    assert not lock.exists(), f"a failing install must leave no lock; seen: {lock} is there"
    assert second.state == "failed", f"a task must not use what a failing install has left; seen: {second}"
    assert not harness.calls("run"), f"dbt must not run without all its requirements; seen: {harness.calls('run')}"
    assert COMPLAINT in str(first.exception), (
        f"the error must have what the installer said ({COMPLAINT}); seen: {first.exception}"
    )


@requirement("ENV-011")
@pytest.mark.parametrize("point", ["creating", "installing", "unpacking", "finishing", "running"])
def test_a_task_that_dies_leaves_nothing_that_harms_the_next(harness: Harness, point: str) -> None:
    # A build that can be held takes longer than a wheel.
    lamp = harness.wheelhouse.add_sdist("harbor-lamp", hold=True) if point == "installing" else None
    if lamp is None:
        harness.wheelhouse.add(LAMP)
    required = {*harness.distributions, "harbor_lamp"}
    task = harness.kept_task(py_requirements=[*harness.requirements(), "harbor-lamp"])
    held = harness.wheelhouse.script("run", hold=True)
    kill_at = {
        "unpacking": unpacking_begins(harness.virtualenv_dir, "dbt_"),
        "finishing": installing_ends(harness.virtualenv_dir, required),
    }.get(point, point)

    with harness.start(task, kill_at=kill_at, virtualenv_dir=harness.virtualenv_dir, grace=1.0) as running:
        running.finish()
    held.take_back()
    if lamp is not None:
        lamp.release()
    call = ran(harness, task)

    names = {each.split("-")[0] for each in installed(call.prefix)}
    assert names == required, f"after a kill while {point} the next task must find {required}; seen: {names}"
    assert not damage(call.prefix), f"after a kill while {point} all files must be whole; seen: {damage(call.prefix)}"


@requirement("ENV-016")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_directory_that_takes_nothing_is_named(harness: Harness, kind: str) -> None:
    harness.virtualenv_dir.mkdir()

    outcome = harness.run(harness.kept_task(place={kind: str(harness.virtualenv_dir)}))

    assert outcome.state == "failed", f"a task whose virtualenv_dir is {kind} must fail; seen: {outcome}"
    assert str(harness.virtualenv_dir) in str(outcome.exception), (
        f"the error must name the virtualenv_dir that is {kind}, {harness.virtualenv_dir}; seen: {outcome.exception}"
    )


@requirement("ENV-027")
def test_a_native_dbt_is_installed_and_runs(harness: Harness) -> None:
    call = ran(harness, harness.native_task())

    assert call.dbt_version == NATIVE_DBT, f"dbt {NATIVE_DBT}, a program, must run; seen: dbt {call.dbt_version}"
    place = harness.virtualenv_dir
    assert is_below(call.prefix, place), f"dbt must run from below {place}; seen: {call.prefix}"
