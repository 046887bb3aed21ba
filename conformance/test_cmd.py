"""CMD: which dbt command an operator runs, with which dbt, and what becomes of its exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .adapter import OPERATOR_CLASSES
from .bench import Bench
from .dags import TaskOfDag
from .requirements import requirement
from .runs import is_below

if TYPE_CHECKING:
    from pytest_cosmos_venv import DbtProjects, FakeVenv

LAST_WORDS = "Database Error: the harbor is closed"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("build", marks=requirement("CMD-001")),
        pytest.param("ls", marks=requirement("CMD-002")),
        pytest.param("seed", marks=requirement("CMD-003")),
        pytest.param("snapshot", marks=requirement("CMD-004")),
        pytest.param("source freshness", marks=requirement("CMD-005")),
        pytest.param("run", marks=requirement("CMD-006")),
        pytest.param("test", marks=requirement("CMD-007")),
        pytest.param("run-operation", marks=requirement("CMD-008")),
        pytest.param("docs generate", marks=requirement("CMD-009")),
        pytest.param("clone", marks=requirement("CMD-010")),
    ],
)
def test_each_operator_runs_its_command(bench: Bench, command: str) -> None:
    name = OPERATOR_CLASSES[command]

    outcome = bench.run(bench.shared_task(command))

    assert outcome.succeeded, f"{name} must succeed; seen: {outcome}"
    calls = [call for call in bench.calls() if call.command not in ("deps", "--version")]
    assert [call.command for call in calls] == [command], f"{name} must run dbt {command}, once; seen: {calls}"
    arguments = calls[0].arguments
    for option, value in ((("--profile",), "shop"), (("--target", "-t"), "dev")):
        given = calls[0].option(*option)
        assert given == value, f"{name} must hand {option[0]} {value} on to dbt; seen: {arguments}"
    # dbt takes the macro before and after options, and never as the value of one.
    words = (*command.split(), *(["grant"] if command == "run-operation" else []))
    assert calls[0].words == words, f"{name} must run dbt {' '.join(words)}; seen: {arguments}"


@requirement("CMD-011")
def test_the_dbt_of_the_environment_runs(bench: Bench, cosmos_fake_venv: FakeVenv) -> None:
    path = f"{cosmos_fake_venv.dbt.parent}{os.pathsep}{os.environ['PATH']}"

    outcome = bench.run(bench.shared_task(), variables={"PATH": path})

    assert not cosmos_fake_venv.calls, f"the dbt on PATH must not run; seen: {cosmos_fake_venv.calls}"
    assert outcome.succeeded, f"the task must succeed beside another dbt on PATH; seen: {outcome}"
    prefixes = [call.prefix for call in bench.calls("run")]
    kept = bench.shared_directory
    assert len(prefixes) == 1, f"dbt run must be called once; seen: {bench.calls()}"
    assert is_below(prefixes[0], kept), f"dbt must run from below {kept}; seen: {prefixes[0]}"


@requirement("CMD-014")
@pytest.mark.parametrize("exit_code", [1, 2])
def test_a_dbt_that_fails_fails_the_task(bench: Bench, exit_code: int) -> None:
    bench.wheelhouse.script("run", exit_code=exit_code)

    outcome = bench.run(bench.shared_task())

    codes = [call.exit_code for call in bench.calls("run")]
    assert codes == [exit_code], f"dbt run must be called once, and end with {exit_code}; seen: {codes}, {outcome}"
    assert outcome.state == "failed", f"dbt's exit code {exit_code} must fail the task; seen: {outcome}"


@requirement("CMD-015")
def test_the_error_has_dbts_last_words(bench: Bench) -> None:
    bench.wheelhouse.script("run", exit_code=2, stdout=["Running with dbt=1.10.0", LAST_WORDS])

    outcome = bench.run(bench.shared_task())

    assert LAST_WORDS in str(outcome.exception), (
        f"the error must have what dbt said last ({LAST_WORDS}); seen: {outcome.exception}"
    )


@requirement("CMD-017")
@pytest.mark.parametrize("install_deps", [True, False])
def test_packages_are_installed_by_the_dbt_of_the_environment(bench: Bench, install_deps: bool) -> None:
    # Of its own for each test: an implementation may keep what dbt deps has installed.
    listed = f"# {bench.folder}\npackages:\n- package: harbor/tides\n  version: 1.0.0\n"
    (bench.project / "packages.yml").write_text(listed, encoding="utf-8")
    if not install_deps:  # dbt refuses a project whose packages are not there
        folder = bench.project / "dbt_packages" / "tides"
        folder.mkdir(parents=True)
        (folder / "dbt_project.yml").write_text("name: tides\n")

    outcome = bench.run(bench.shared_task(install_deps=install_deps))

    assert outcome.succeeded, f"the task must succeed with install_deps={install_deps}; seen: {outcome}"
    calls = [call for call in bench.calls() if call.command in ("deps", "run")]
    required = ["deps", "run"] if install_deps else ["run"]
    seen = [call.command for call in calls]
    assert seen == required, f"install_deps={install_deps} must lead to dbt {' and dbt '.join(required)}; seen: {seen}"
    prefixes = {call.prefix for call in calls}
    assert len(prefixes) == 1, f"dbt deps must be that of the environment in which dbt run runs; seen: {prefixes}"


@requirement("CMD-018")
def test_local_mode_runs_the_dbt_that_is_named(
    bench: Bench, cosmos_fake_venv: FakeVenv, cosmos_dbt_project: DbtProjects
) -> None:
    project = cosmos_dbt_project("harbor")
    project.model("orders", "select 1 as id")
    execution = {"execution_mode": "local", "dbt_executable_path": str(cosmos_fake_venv.dbt)}
    project.manifest()
    plan = bench.dag_plan(project.path, execution={**execution, "invocation_mode": "subprocess"})

    outcome = bench.run(TaskOfDag(command="run", plan=plan))

    assert outcome.succeeded, f"a task in local mode must succeed; seen: {outcome}"
    seen = [(call.command, call.argv[0]) for call in cosmos_fake_venv.calls if call.command != "--version"]
    required = [("run", str(cosmos_fake_venv.dbt))]
    assert seen == required, f"local mode must run {required}; seen: {seen}, {outcome}"
