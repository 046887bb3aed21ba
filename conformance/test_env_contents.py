"""ENV: what is in an environment: requirements, options, and nothing of the worker's."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_cosmos_venv import Wheel, write_wheel

from . import process
from .bench import REQUIREMENTS, Bench
from .requirements import requirement
from .runs import installed, ran, unpacked

if TYPE_CHECKING:
    from pytest_cosmos_venv import PackageIndex

# An environment has them before anything is installed, wherever they come from.
SEEDS = ("pip", "setuptools", "wheel")
LAMP = Wheel(name="harbor-lamp", version="1.0", files={"harbor_lamp.py": ""})


def said_by_python(prefix: Path, code: str, *, cwd: Path) -> process.Finished:
    """What the Python of an environment says, without anything of this process's variables."""
    return process.run([str(prefix / "bin" / "python"), "-I", "-c", code], cwd=cwd)


@requirement("ENV-005")
@pytest.mark.parametrize("is_visible", [True, False])
def test_system_site_packages_are_visible_when_they_are_wanted(bench: Bench, is_visible: bool) -> None:
    prefix = ran(bench, bench.kept_task(py_system_site_packages=is_visible)).prefix

    code = "import sys; print([p for p in sys.path if p.endswith('-packages') and not p.startswith(sys.prefix)])"
    answer = said_by_python(prefix, code, cwd=bench.folder)

    assert answer.succeeded, f"the Python of the environment must answer; seen: {answer}"
    assert ("[]" not in answer.output) == is_visible, (
        f"py_system_site_packages={is_visible} must decide whether packages outside the environment can be imported; "
        f"seen: {answer}"
    )


@requirement("ENV-006")
def test_pip_options_take_effect(bench: Bench, cosmos_package_index: PackageIndex) -> None:
    index = cosmos_package_index
    shelf = bench.folder / "shelf"
    shelf.mkdir()
    write_wheel(
        Wheel(name="harbor-lamp", version="1.0", files={"harbor_lamp.py": ""}, requires=("no-such-oil",)), shelf
    )
    documented = ["--upgrade", "--no-cache-dir"]
    without_index = [*index.pip_install_options, *bench.wheelhouse.pip_install_options]
    options = [*without_index, "--find-links", str(shelf), "--no-deps", *documented]
    task = bench.kept_task(py_requirements=[*REQUIREMENTS, "harbor-lamp"], pip_install_options=options)

    call = ran(bench, task, index.environment)

    asked = [request.path for request in index.requests if not any(f"/{seed}" in request.path for seed in SEEDS)]
    assert not asked, f"--no-index must let no index be asked for what is required; seen: {asked}"
    assert "harbor_lamp-1.0" in installed(call.prefix), (
        f"--find-links and --no-deps must let harbor-lamp be installed; seen: {sorted(installed(call.prefix))}"
    )


@requirement("ENV-012")
def test_a_changed_pin_takes_effect_in_the_next_task(bench: Bench) -> None:
    bench.wheelhouse.add_dbt("1.11.0")

    seen = [
        ran(bench, bench.kept_task(py_requirements=[f"dbt-core=={version}", "dbt-duckdb"])).dbt_version
        for version in ("1.10.0", "1.11.0")
    ]

    assert seen == ["1.10.0", "1.11.0"], f"each task must run the dbt that it pins, 1.10.0 and 1.11.0; seen: {seen}"


@requirement("ENV-023")
def test_a_dropped_requirement_is_gone(bench: Bench) -> None:
    bench.wheelhouse.add(LAMP)
    ran(bench, bench.kept_task(py_requirements=[*REQUIREMENTS, "harbor-lamp"]))

    prefix = ran(bench, bench.kept_task()).prefix

    answer = said_by_python(prefix, "import harbor_lamp", cwd=bench.folder)
    assert "ModuleNotFoundError" in answer.output, (
        f"what is no longer required must not be importable in the next task; seen: import harbor_lamp: {answer}"
    )


@requirement("ENV-013")
def test_sets_of_requirements_live_in_one_directory(bench: Bench) -> None:
    bench.wheelhouse.add_dbt("1.11.0")
    older, newer = (
        bench.kept_task(py_requirements=[f"dbt-core=={version}", "dbt-duckdb"]) for version in ("1.10.0", "1.11.0")
    )
    first = ran(bench, older)
    before = unpacked(first.prefix)
    ran(bench, newer)

    again = ran(bench, older)

    now = unpacked(again.prefix)
    assert (again.dbt_version, now) == ("1.10.0", before), (
        f"a set of requirements must stay installed beside another one; before: {before}; seen: {now}"
    )


@requirement("ENV-018")
def test_order_and_spelling_of_requirements_do_not_count(bench: Bench) -> None:
    first = ran(bench, bench.kept_task(py_requirements=["dbt-core==1.10.0", "dbt-duckdb"]))
    before = unpacked(first.prefix)

    second = ran(bench, bench.kept_task(py_requirements=["DBT_DuckDB", "dbt.core == 1.10.0"]))

    seen = (second.prefix, unpacked(second.prefix))
    assert seen == (first.prefix, before), (
        f"the same requirements in other words must lead to the same environment, {first.prefix} {before}; seen: {seen}"
    )


@requirement("ENV-019")
@pytest.mark.parametrize("place", ["own directories", "temporary"])
def test_two_tasks_run_two_versions(bench: Bench, place: str) -> None:
    versions = ["1.10.0", "1.11.0"]
    bench.wheelhouse.add_dbt("1.11.0")
    tasks = [
        bench.task(
            py_requirements=[f"dbt-core=={version}", "dbt-duckdb"],
            virtualenv_dir=str(bench.virtualenv_dir / version) if place == "own directories" else None,
        )
        for version in versions
    ]

    with bench.start(tasks) as running:
        outcomes = running.finish().outcomes

    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    assert not failed, f"both tasks must succeed; seen: {failed[0]}"
    seen = sorted(call.dbt_version for call in bench.calls("run"))
    assert seen == versions, f"two tasks at once must each run their own version ({place}), {versions}; seen: {seen}"


@requirement("ENV-021")
def test_the_workers_python_does_not_reach_dbt(bench: Bench) -> None:
    folder = module_path_with_a_broken_dbt(bench.folder / "path")
    variables = {
        # The implementation itself may be there.
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONHOME": str(home_in_which_no_dbt_starts(bench.folder / "home")),
    }

    outcome = bench.run(bench.task(), variables=variables)

    assert outcome.succeeded, (
        f"{' and '.join(variables)} of the worker must not reach the environment or its dbt; seen: {outcome}"
    )


def module_path_with_a_broken_dbt(folder: Path) -> Path:
    """A folder for PYTHONPATH."""
    (folder / "dbt").mkdir(parents=True)
    (folder / "dbt" / "__init__.py").write_text("raise ImportError('this is the dbt of the worker')\n")
    return folder


def home_in_which_no_dbt_starts(folder: Path) -> Path:
    """A folder for PYTHONHOME: all of this Python's library, and an end for whatever is called dbt."""
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
def test_variables_of_the_workers_pip_do_not_divert_the_install(bench: Bench) -> None:
    elsewhere = bench.folder / "elsewhere"
    variables = {"PIP_USER": "1", "PIP_TARGET": str(elsewhere), "PYTHONUSERBASE": str(elsewhere)}

    call = ran(bench, bench.kept_task(), variables)

    there = sorted(installed(call.prefix))
    assert [each.split("-")[0] for each in there] == ["dbt_core", "dbt_duckdb"], (
        f"with PIP_USER and PIP_TARGET set, requirements must be in the environment; seen there: {there}"
    )
    assert not elsewhere.exists(), f"they must divert nothing; seen: {sorted(elsewhere.rglob('*'))[:5]}"


@requirement("ENV-015")
def test_a_warm_task_starts_no_installer(bench: Bench) -> None:
    calls = bench.folder / "installers.txt"
    variables = seen_installers(bench.folder, calls)
    ran(bench, bench.kept_task(), variables)
    if not calls.exists():
        pytest.skip("its installer is neither the uv on PATH nor pip: it cannot be seen")
    calls.unlink()

    ran(bench, bench.kept_task(), variables)

    assert not calls.exists(), (
        f"a task that finds its environment must start no installer; seen: {calls.read_text(encoding='utf-8')[:500]}"
    )


def seen_installers(folder: Path, calls: Path) -> dict[str, str]:
    """Variables with which each uv of PATH and each pip leaves a line in a file."""
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv") or shutil.which("uv", path=beside)
    scripts = folder / "scripts"
    scripts.mkdir()
    if uv:
        script = f'#!/bin/sh\necho "uv $*" >> "{calls}"\nexec "{uv}" "$@"\n'
        (scripts / "uv").write_text(script, encoding="utf-8")
        (scripts / "uv").chmod(0o755)
    return {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PIP_LOG": str(calls)}
