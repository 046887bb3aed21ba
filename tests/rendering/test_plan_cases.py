"""Does the plan agree with what Cosmos was seen to make of the same project? See tests/data/README.md."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import constants
from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.profiles.duckdb import DuckDBUserPasswordProfileMapping
from cosmos_venv.project.load import DbtGraph
from cosmos_venv.rendering.plan import plan
from cosmos_venv.rendering.planned import Plan, PlannedTask

DATA = Path(__file__).parent.parent / "data"
PROJECT = DATA / "rendering-project"
CASES: list[dict[str, Any]] = json.loads((DATA / "rendering-cases.json").read_text())["cases"]

OPTIONS_NOT_OFFERED = (
    "group_nodes_by_folder",
    "node_converters",
    "normalize_task_id",
    "normalize_task_display_name",
    "should_detach_multiple_parents_tests",
)
# The configurations contradict each other; each alone is good.
CHECKED_ACROSS_CONFIGURATIONS = {
    "mode_local_no_profile",
    "operator_args_output_field",
    "refuse_env_twice",
    "refuse_no_execution_path",
    "refuse_render_env_twice",
    "refuse_two_execution_paths",
    "refuse_two_project_paths",
}
# Where Cosmos lets another error through, the plan names the node.
OWN_ERRORS = {
    "node_operator_kwargs_task_id_refused": "CosmosLoadDbtException",
    "node_same_name_two_packages": "CosmosLoadDbtException",
}
PLAIN = {
    "owner": "airflow",
    "pool": "default_pool",
    "queue": "default",
    "retries": 0,
    "trigger_rule": "all_success",
    "emit_datasets": True,
}
COMPARED = (*PLAIN, "select", "exclude", "selector", "indirect_selection", "task_display_name")
EMPTY_OPERATOR = "airflow.providers.standard.operators.empty.EmptyOperator"


def why_left_out(case: dict[str, Any]) -> str | None:
    """None for a case that this release can be held to."""
    config = case["config"]
    render, mode = config["render"], config.get("execution", {}).get("execution_mode", "ExecutionMode.LOCAL")
    reasons = {
        "a setting that is not offered": bool(config.get("env")),
        "ids below a DbtTaskGroup are made by Airflow": config["entry"] == "DbtTaskGroup",
        "an execution mode that is not offered": mode.split(".")[1] not in ("LOCAL", "VIRTUALENV"),
        "another load method: test_load_cases.py": render["load_method"].split(".")[1] in ("CUSTOM", "DBT_LS_FILE"),
        "selection from a manifest is not offered": any(render.get(key) for key in ("select", "exclude", "selector")),
        "an option that is not offered": any(render.get(key) for key in OPTIONS_NOT_OFFERED),
        "source rendering is not offered": bool(render.get("source_rendering_behavior")),
        "change detection of seeds is not offered": "WHEN_SEED_CHANGES" in render.get("seed_rendering_behavior", "")
        and "error" not in case["result"],
        "checked across configurations": case["name"] in CHECKED_ACROSS_CONFIGURATIONS,
        "Airflow refuses an id of more than 250 characters": case["name"] == "node_long_name",
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


HELD_TO = [case for case in CASES if why_left_out(case) is None]


def test_no_case_vanishes_unnoticed() -> None:
    found = Counter(why_left_out(case) for case in CASES)

    assert found == {
        None: 75,
        "Airflow refuses an id of more than 250 characters": 1,
        "another load method: test_load_cases.py": 10,
        "a setting that is not offered": 5,
        "an execution mode that is not offered": 31,
        "an option that is not offered": 27,
        "change detection of seeds is not offered": 2,
        "checked across configurations": 7,
        "ids below a DbtTaskGroup are made by Airflow": 10,
        "selection from a manifest is not offered": 18,
        "source rendering is not offered": 11,
    }


@pytest.mark.filterwarnings("ignore:RenderConfig.source_rendering_behavior None:UserWarning")
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in HELD_TO])
def test_a_configuration_gives_the_recorded_plan_or_the_recorded_error(case: dict[str, Any], tmp_path: Path) -> None:
    expected = case["result"]

    if "error" in expected:
        with pytest.raises(Exception) as refusal:  # noqa: PT011 - the type is the case's, compared below
            make_plan(case, tmp_path)
        name = OWN_ERRORS.get(case["name"], expected["error"]["type"])
        assert type(refusal.value).__name__ == name
        return
    made = make_plan(case, tmp_path)

    assert sorted(task.task_id for task in made.tasks) == expected["task_ids"]
    assert sorted(made.groups) == expected["group_ids"]
    assert [list(edge) for edge in made.edges] == expected["edges"]
    assert made.tasks_map == expected["tasks_map"]
    assert {task.task_id: operator_path(task) for task in made.tasks} == expected["operators"]
    assert {task.task_id: attributes(task, case["config"]) for task in made.tasks} == expected["attributes"]


def make_plan(case: dict[str, Any], tmp_path: Path) -> Plan:
    config = case["config"]
    folder = patched_project(config.get("patch", {}), tmp_path)

    def given(key: str) -> dict[str, Any]:
        return {name: value_of(value, folder, tmp_path) for name, value in config.get(key, {}).items()}

    project = ProjectConfig(
        **{"dbt_project_path": folder, "manifest_path": folder / "manifest.json", **given("project")}
    )
    execution, render = ExecutionConfig(**given("execution")), RenderConfig(**given("render"))
    profile = profile_config(config["profile"], folder)
    if case["name"] == "refuse_missing_project":
        project.validate_project()
    profile.validate_profiles_yml()
    graph = DbtGraph(
        project=project,
        render_config=render,
        execution_config=execution,
        profile_config=profile,
        operator_args=config.get("operator_args", {}),
    )
    graph.load()
    return plan(
        graph.filtered_nodes,
        tests_per_model=graph.tests_per_model,
        render_config=render,
        execution_config=execution,
        project_config=project,
        operator_args=graph.operator_args,
    )


def patched_project(patch: dict[str, Any], tmp_path: Path) -> Path:
    """The project itself, or a copy whose manifest has some entries merged over."""
    if not patch:
        return PROJECT
    folder = tmp_path / PROJECT.name
    shutil.copytree(PROJECT, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for unique_id, change in patch.items():
        section = next((key for key in ("nodes", "sources", "exposures") if unique_id in manifest[key]), "nodes")
        manifest[section][unique_id] = merged(manifest[section].get(unique_id, {}), change)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new


def value_of(value: Any, folder: Path, tmp_path: Path) -> Any:
    """The cases write enum members, paths below the project and temporary paths as text."""
    if not isinstance(value, str):
        return value
    for prefix, base in (("path:", folder), ("tmp:", tmp_path)):
        if value.startswith(prefix):
            return base / value[len(prefix) :]
    kind, _, name = value.partition(".")
    return getattr(constants, kind)[name] if hasattr(constants, kind) else value


def profile_config(how: str, folder: Path) -> ProfileConfig:
    own_file = {"yml": "profiles.yml", "absent": "absent.yml", "both": "profiles.yml"}.get(how)
    return ProfileConfig(
        profile_name="harbor",
        target_name="dev",
        profiles_yml_filepath=folder / own_file if own_file else None,
        profile_mapping=DuckDBUserPasswordProfileMapping("harbor") if how == "both" else None,
    )


def operator_path(task: PlannedTask) -> str:
    return EMPTY_OPERATOR if task.is_placeholder else f"{{impl}}.{task.operator}"


def attributes(task: PlannedTask, config: dict[str, Any]) -> dict[str, Any]:
    """What the task would have of the compared attributes, those at Airflow's default left out."""
    values = {**config.get("extra", {}).get("default_args", {})}
    if not task.is_placeholder:
        values |= {"emit_datasets": config["render"].get("emit_datasets", True), **config.get("operator_args", {})}
    values |= task.arguments
    shown = {key: values[key] for key in COMPARED if values.get(key) is not None and values[key] != PLAIN.get(key)}
    if not task.is_placeholder:
        shown["profile"] = ["harbor", task.profile.get("target_name", "dev")]
    return shown


def test_an_error_of_our_own_names_both_nodes(tmp_path: Path) -> None:
    case = next(case for case in CASES if case["name"] == "node_same_name_two_packages")

    with pytest.raises(CosmosLoadDbtException, match=r"model\.harbor_ops\.stg_ports and model\.other_pkg\.stg_ports"):
        make_plan(case, tmp_path)
