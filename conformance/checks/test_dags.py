"""LOAD and RENDER: from a dbt project to its nodes, and from nodes to tasks, their order and their groups."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow, FakeVenv

from ..adapter import AFTER, BEFORE, COMMANDS, OPERATOR_CLASSES, Shape
from ..declaration import Declaration
from ..harness.harness import Harness
from ..harness.sample_project import MODELS, PARENTS, Harbor, comes_before, path_without_dbt, tasks_of
from ..harness.served_airflow import PARSES, parsed_files
from ..requirements import case, needing, requirement

DATA = Path(__file__).with_name("data")
FOLDER = "rendering-project"
"""Folder of the project that was recorded: the one task of AFTER_ALL is named after it."""
EMPTY = "empty"
OF_EPHEMERAL = {"geo_cells_run": "run", "geo_cells_model_build": "build"}
"""Task of the ephemeral model, which dbt does not build -> the command that it may run. It may also run none."""
LS = "dbt_ls"
WITH_TESTS = [pytest.param(behavior, marks=needing(COMMANDS["test"])) for behavior in ("after_each", "after_all")]


def _require_all_models(shape: Shape, *, how: str) -> None:
    __tracebackhide__ = True
    missing = [model for model in MODELS if not tasks_of(shape, model)]
    assert not missing, f"A project that is loaded {how} must have a task for each model; seen: {shape}"


@requirement("LOAD-001")
def test_a_manifest_is_loaded_without_dbt(harbor: Harbor) -> None:
    _require_all_models(harbor.render(), how="from a manifest, without dbt")


@requirement("LOAD-002")
@pytest.mark.parametrize("mode", ["local", "virtualenv"])
def test_dbt_ls_is_asked_where_dbt_is_there(harbor: Harbor, cosmos_fake_venv: FakeVenv, mode: str) -> None:
    seen = harbor.render(load=LS, **_told(cosmos_fake_venv.dbt, mode))

    _require_all_models(seen, how=f"by dbt ls in {mode} mode")
    _require_asked(cosmos_fake_venv, seen)


def _require_asked(dbt: FakeVenv, seen: Shape) -> None:
    __tracebackhide__ = True
    assert [call for call in dbt.calls if call.command == "ls"], (
        f"the dbt that is named must be asked by dbt ls; its record says: {dbt.calls}; {seen}"
    )


def _told(executable: Path | str, mode: str) -> dict[str, dict[str, str]]:
    """The parts of a plan that name the dbt which is asked."""
    dbt = {"dbt_executable_path": str(executable), "invocation_mode": "subprocess"}
    return {"render": dbt, "execution": {"execution_mode": mode, **(dbt if mode == "local" else {})}}


@requirement("LOAD-009")
def test_what_dbt_ls_has_loaded_appears_in_airflow(
    harbor: Harbor, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, adapter: Declaration, tmp_path: Path
) -> None:
    harness, home = harbor.harness, tmp_path / "airflow"
    home.mkdir()
    modes = ("virtualenv", "local")
    plans = {
        f"harbor_{mode}": harness.dag_plan(
            harbor.project.path, load=LS, dag={"dag_id": f"harbor_{mode}"}, **_told(cosmos_fake_venv.dbt, mode)
        )
        for mode in modes
    }

    seen = parsed_files(
        home,
        cosmos_airflow.home.database,
        named=adapter.named,
        plans=plans,
        # TMPDIR is an empty folder too: an implementation may keep answers of dbt there.
        variables={**harness.wheelhouse.environment, **harness.own_temporary, "PATH": path_without_dbt()},
        timeout=harness.timeout,
    )

    for mode in modes:
        file = seen[f"harbor_{mode}"]
        missing = [model for model in MODELS if model not in (file.dag or "")]
        assert not missing, (
            f"A DAG of LoadMode.DBT_LS in {mode} mode must appear in Airflow's DAG processor, after {PARSES} parses at "
            f"the latest, with a task for each model; seen: none for {missing}, {file}"
        )


@requirement("LOAD-007")
def test_dbt_ls_is_asked_where_no_way_is_named(harbor: Harbor, cosmos_fake_venv: FakeVenv) -> None:
    seen = harbor.render(
        load=None, render={"dbt_executable_path": str(cosmos_fake_venv.dbt), "invocation_mode": "subprocess"}
    )

    _require_all_models(seen, how="without a load mode and a manifest, by dbt ls")
    _require_asked(cosmos_fake_venv, seen)


@pytest.mark.parametrize("question", [case("LOAD-003", "does it raise"), case("LOAD-005", "what does it say")])
def test_dbt_ls_without_dbt_raises_and_says_what_needs_none(
    harbor: Harbor, adapter: Declaration, tmp_path: Path, question: str
) -> None:
    missing = str(tmp_path / "nowhere" / "dbt")
    for mode in ("local", *(() if "dbt_ls_managed" in adapter.has else ("virtualenv",))):
        seen = harbor.render(load=LS, **_told(missing, mode))

        if question == "does it raise":
            required = f"LoadMode.DBT_LS in {mode} mode without dbt must raise while the DAG is built"
            assert seen.exception is not None, f"{required}; seen: {seen}"
        else:
            said = seen.exception or ""
            assert missing in said, f"The error in {mode} mode must name the missing executable; seen: {seen}"
            assert "manifest" in said.lower(), f"The error in {mode} mode must name a way without dbt; seen: {seen}"


@requirement("LOAD-004")
def test_dbt_ls_needs_no_dbt_beside_airflow(harbor: Harbor) -> None:
    harness = harbor.harness
    environments = {"virtualenv_dir": str(harness.virtualenv_dir)}

    seen = harbor.render(load=LS, execution=environments, variables=harness.wheelhouse.environment)

    _require_all_models(seen, how="by dbt ls in virtualenv mode, without dbt")
    assert harness.calls("ls"), f"The dbt of the managed environment must be asked; seen: no dbt ls; {seen}"


@requirement("LOAD-006")
def test_load_mode_has_the_documented_names(harness: Harness) -> None:
    seen = harness.ask("enum_members", name="LoadMode") or {}

    for name in ("DBT_LS", "DBT_MANIFEST"):
        assert name in seen, f"LoadMode must have {name}, as the documentation spells it; seen: {', '.join(seen)}"


@requirement("LOAD-008")
def test_the_other_name_of_the_manifest_means_the_same(harness: Harness) -> None:
    seen = harness.ask("enum_members", name="LoadMode") or {}

    assert "MANIFEST" in seen, f"LoadMode must have MANIFEST, as one page spells it; seen: {', '.join(seen)}"
    assert seen["MANIFEST"] == seen.get("DBT_MANIFEST"), f"MANIFEST must mean DBT_MANIFEST; seen: {seen}"


def _single_task(shape: Shape, model: str, *, group: str = "") -> str:
    """The only task that runs this model."""
    __tracebackhide__ = True
    found = [name for name in tasks_of(shape, model) if name.startswith(group)]
    assert len(found) == 1, f"The model {model} must have one task; seen: {found or 'none'} in {shape}"
    return found[0]


@requirement("RENDER-001")
@pytest.mark.parametrize("tests", ["none", *WITH_TESTS])
def test_each_model_has_a_task(harbor: Harbor, tests: str) -> None:
    seen = harbor.render(render={"test_behavior": tests})

    for model in MODELS:
        _single_task(seen, model)


@requirement("RENDER-001")
def test_what_is_not_selected_has_none(harbor: Harbor) -> None:
    seen = harbor.render(render={"select": ["crossings+"], "exclude": ["departures"]})

    _single_task(seen, "crossings")
    more = set(seen.tasks) - set(tasks_of(seen, "crossings", operator=""))
    assert not more, f"What is not selected must have no task; selected is crossings; seen: {seen}"


@requirement("RENDER-002")
@pytest.mark.parametrize("tests", ["none", WITH_TESTS[0]])
def test_tasks_come_in_the_order_of_dependencies(harbor: Harbor, tests: str) -> None:
    seen = harbor.render(render={"test_behavior": tests})

    task = {model: _single_task(seen, model) for model in MODELS}
    ancestors = {*PARENTS, ("arrivals", "departures"), ("berths", "departures")}
    for first in MODELS:
        for then in MODELS:
            is_before = comes_before(seen, task[first], task[then])
            required = (first, then) in ancestors
            assert is_before == required, f"{first} must {'' if required else 'not '}come before {then}; seen: {seen}"


@requirement("RENDER-012")
def test_a_group_stands_between_ordinary_tasks(harbor: Harbor) -> None:
    seen = harbor.render(groups=("port",))

    tasks = [_single_task(seen, model) for model in MODELS]
    for name in tasks:
        assert comes_before(seen, BEFORE, name), f"{name} must come after what is before the group; seen: {seen}"
        assert comes_before(seen, name, AFTER), f"{name} must come before what is after the group; seen: {seen}"


@requirement("RENDER-013")
def test_two_groups_stand_side_by_side(harbor: Harbor) -> None:
    seen = harbor.render(groups=("north", "south"))

    for model in MODELS:
        found = [_outermost_group(seen, name) for name in tasks_of(seen, model)]
        assert sorted(found) == ["north", "south"], (
            f"{model} must have one task in each of the two groups; seen: {seen}"
        )
    across = [edge for edge in seen.edges if {_outermost_group(seen, name) for name in edge} == {"north", "south"}]
    assert not across, f"The groups must not depend on each other; seen: {across}"


def _outermost_group(shape: Shape, name: str) -> str:
    return (shape.tasks[name].group or "").partition(".")[0]


@pytest.mark.parametrize(
    "names",
    [
        case("RENDER-004", ["test_after_each_default", "test_after_each_excluding", "detach_after_each"]),
        case("RENDER-005", ["test_none"]),
        case("RENDER-006", ["test_after_all", "test_after_all_with_selection"]),
        case("RENDER-007", ["test_build", "detach_build"]),
        case("RENDER-008", ["source_none"]),
        case("RENDER-009", ["source_all", "source_all_pruned", "source_all_build"]),
        case("RENDER-010", ["source_with_tests_or_freshness"]),
        case("RENDER-011", ["group_default", "group_named", "group_after_all"]),
    ],
)
def test_tasks_operators_groups_and_edges_are_as_recorded(harness: Harness, names: list[str]) -> None:
    project = _project(harness.folder / FOLDER)
    cases: dict[str, dict[str, Any]] = json.loads((DATA / "rendering.json").read_text(encoding="utf-8"))["cases"]
    for recorded in [cases[name] for name in names[: 1 if harness.is_glance else None]]:
        seen = harness.render(
            harness.dag_plan(
                project,
                profile={"profile_name": "harbor"},
                render={"test_behavior": "after_each", **recorded["render"]},
                groups=(recorded["group"],) if "group" in recorded else (),
            )
        )
        assert seen.exception is None, f"The DAG must be built; seen: {seen}"
        operators = {name: _as_recorded(name, task.operator) for name, task in seen.tasks.items()}
        _require_equal(operators, _operators(recorded["tasks"]), "tasks")
        _require_equal(dict.fromkeys(seen.edges), dict.fromkeys(map(tuple, recorded["edges"])), "edges")
        groups = dict.fromkeys(task.group for task in seen.tasks.values() if task.group is not None)
        innermost = dict.fromkeys(name.rpartition(".")[0] for name in recorded["tasks"] if "." in name)
        _require_equal(groups, innermost, "groups")


def _require_equal(seen: Mapping[Any, object], required: Mapping[Any, object], what: str) -> None:
    __tracebackhide__ = True
    missing = {key: value for key, value in required.items() if seen.get(key, key) != value}
    more = {key: value for key, value in seen.items() if required.get(key, key) != value}
    differ = bool(missing or more)
    assert not differ, f"The {what} must be those that DAGs of Cosmos have; missing: {missing}; seen: {more}"


def _as_recorded(name: str, operator: str) -> str:
    """The operator; for a task of an ephemeral model, the operator of the recording.

    Releases of Cosmos differ in whether dbt runs for an ephemeral model, and the documentation does not say.
    """
    command = OF_EPHEMERAL.get(name.rpartition(".")[2])
    return "EmptyOperator" if command and operator == OPERATOR_CLASSES[command] else operator


def _operators(commands: Mapping[str, str]) -> dict[str, str]:
    return {name: "EmptyOperator" if each == EMPTY else OPERATOR_CLASSES[each] for name, each in commands.items()}


def _project(folder: Path) -> Path:
    """The files that implementations look for in the project that was recorded."""
    for name in ("models", "target"):
        (folder / name).mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: harbor_ops\nversion: '1.0'\nprofile: harbor\n", encoding="utf-8")
    outputs = ", ".join(f"{target}: {{type: duckdb, path: {target}.duckdb}}" for target in ("dev", "prod"))
    (folder / "profiles.yml").write_text(f"harbor: {{target: dev, outputs: {{{outputs}}}}}\n", encoding="utf-8")
    shutil.copy(DATA / "manifest.json", folder / "target/manifest.json")
    return folder
