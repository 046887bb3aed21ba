"""Does a configuration render to what Cosmos was seen to make of it? Where not, it is said here by name, and why.

See tests/data/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from tests.rendering.recorded import CASES, Built, build

BY_NAME = {case["name"]: case for case in CASES}

# loading: pending. Each is held to the recording as soon as its line goes.
LOADING_PENDING = {
    "after_all_render_and_execution_paths",
    "load_custom",
    "load_custom_after_all",
    "load_custom_no_tests",
    "load_custom_old_style_tests",
    "load_custom_selected",
    "load_custom_selector_refused",
    "load_ls_file",
    "load_ls_file_absent",
    "load_ls_file_no_tests",
}
# Refused here as well or here only, by an error that says more than Cosmos's.
OWN_ERRORS = {
    "converter_model_whole_group": "CosmosValueError",  # names the converter, the node and the way out
    "node_long_name": "CosmosValueError",  # names the node
    "node_operator_kwargs_task_id_refused": "CosmosLoadDbtException",  # names the node
    "node_same_name_two_packages": "CosmosLoadDbtException",  # names both nodes
    "operator_args_unknown_key": "CosmosValueError",  # a typing error would vanish without a word
}
# Rendered here, where Cosmos trips over an attribute that ProjectConfig() lacks.
RENDERED_HERE = {"after_all_render_and_execution_paths"}

# The recording changed where we differ on purpose: by what, and why.
RENAMED = {
    # A detached test stands in the folder of its own file, not in that of whatever node came last.
    "folders_detached_build": {"models.marts.assert_calls_have_known_port": "tests.assert_calls_have_known_port"},
}
ADDED_ATTRIBUTES = {
    # What default_args say reaches every operator that takes it.
    "default_args_with_dbt_arguments": {"full_refresh": True},
}
# dbt's answer to the selector, which Cosmos takes for an empty one.
SELECTED_BY_DBT = {
    "selector_yaml_union": [
        *("geo_cells_run", "port_calls_run", "rendering-project_test", "stg_ports_run", "stg_positions_run"),
    ],
}
# Selected is what dbt selects, from a manifest too: a test of a model that is left out is left out, and a model whose
# tests are all left out needs no task for them. Cosmos has dbt's answer with dbt ls; from a manifest it gives such a
# model a group with a test task that finds nothing to do. What names this model is not compared.
SELECTED_AS_DBT = {
    "operator_args_exclude_after_each": "fleet_summary",
    "test_after_all_with_selection": "fleet_summary",
    "test_after_each_excluding": "fleet_summary",
}
# Unit tests count as nodes, as with dbt ls; they have no tasks.
UNIT_TEST = "unit_test."


def mode_of(case: dict[str, Any]) -> str:
    mode: str = case["config"].get("execution", {}).get("execution_mode", "ExecutionMode.LOCAL")
    return mode.partition(".")[2]


OFFERED = [case for case in CASES if mode_of(case) in ("LOCAL", "VIRTUALENV")]
RENDERED = [case for case in OFFERED if "error" not in case["result"] and case["name"] not in OWN_ERRORS]
REFUSED = [case for case in OFFERED if "error" in case["result"] or case["name"] in OWN_ERRORS]
OTHER_MODES = [case for case in CASES if case not in OFFERED]


def params(cases: list[dict[str, Any]]) -> list[Any]:
    pending = pytest.mark.xfail(reason="loading: pending")
    return [
        pytest.param(case, id=case["name"], marks=[pending] if case["name"] in LOADING_PENDING else [])
        for case in cases
    ]


@pytest.fixture
def built(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    for name, value in case["config"].get("env", {}).items():
        monkeypatch.setenv(name, value)
    return build(case, tmp_path)


def test_no_case_vanishes_unnoticed() -> None:
    assert (len(RENDERED), len(REFUSED), len(OTHER_MODES)) == (132, 29, 36)
    named = {*LOADING_PENDING, *OWN_ERRORS, *RENDERED_HERE, *RENAMED}
    named |= {*ADDED_ATTRIBUTES, *SELECTED_BY_DBT, *SELECTED_AS_DBT}
    assert named <= set(BY_NAME)


@pytest.mark.parametrize("case", params([case for case in RENDERED if case["name"] not in SELECTED_BY_DBT]))
def test_a_configuration_renders_to_the_recorded_tasks(case: dict[str, Any], built: Built) -> None:
    expected = expected_of(case)

    compared = without(SELECTED_AS_DBT.get(case["name"]))
    assert compared(sorted(built.tasks)) == compared(expected["task_ids"])
    assert compared(built.groups) == compared(expected["group_ids"])
    assert compared(built.edges) == compared(expected["edges"])
    assert compared(built.operators) == compared(expected["operators"])
    assert compared(built.tasks_map) == compared(expected["tasks_map"])


@pytest.mark.parametrize("case", params([case for case in RENDERED if case["name"] not in SELECTED_BY_DBT]))
def test_the_tasks_of_a_configuration_have_the_recorded_attributes(case: dict[str, Any], built: Built) -> None:
    expected = {task_id: attributes_of(each) for task_id, each in expected_of(case)["attributes"].items()}

    compared = without(SELECTED_AS_DBT.get(case["name"]))
    assert compared(built.attributes) == compared(expected)


@pytest.mark.parametrize("case", params([case for case in RENDERED if case["name"] not in SELECTED_BY_DBT]))
def test_a_configuration_selects_and_says_what_was_recorded(case: dict[str, Any], built: Built) -> None:
    expected = expected_of(case)

    compared = without(SELECTED_AS_DBT.get(case["name"]))
    nodes = [each for each in built.filtered_nodes if not each.startswith(UNIT_TEST)]
    assert compared(nodes) == compared(expected["filtered_nodes"])
    assert compared(built.tests_per_model) == compared(expected["tests_per_model"])
    assert built.host.dbt_graph.load_method.value == expected["load_method"]
    assert set(expected.get("warnings", ())) <= built.warnings
    assert sorted(built.hooks.converter_arguments) == expected.get("converter_arguments", [])


@pytest.mark.parametrize("name", ["operator_args_exclude_after_each", "test_after_each_excluding"])
def test_a_model_whose_tests_are_all_excluded_has_no_task_for_them(name: str, tmp_path: Path) -> None:
    built = build(BY_NAME[name], tmp_path)

    assert [each for each in built.tasks if "fleet_summary" in each] == ["fleet_summary_run"]
    assert built.tasks["fleet_summary_run"].upstream_task_ids == {"stg_vessels_run", "voyages_v2.test"}


@pytest.mark.parametrize("case", params([BY_NAME[name] for name in SELECTED_BY_DBT]))
def test_a_selector_that_dbt_reads_otherwise_than_cosmos_renders_what_dbt_selects(
    case: dict[str, Any], built: Built
) -> None:
    assert sorted(built.tasks) == SELECTED_BY_DBT[case["name"]]
    assert case["result"]["task_ids"] == []


@pytest.mark.parametrize("case", params([case for case in REFUSED if case["name"] not in RENDERED_HERE]))
def test_a_configuration_is_refused_with_the_recorded_kind_of_error(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the type is the case's, compared below
        build(case, tmp_path)

    recorded = case["result"].get("error", {}).get("type", "")
    assert type(refusal.value).__name__ == OWN_ERRORS.get(case["name"], recorded)


@pytest.mark.parametrize("case", params([BY_NAME[name] for name in sorted(RENDERED_HERE)]))
def test_what_cosmos_trips_over_is_rendered(case: dict[str, Any], built: Built) -> None:
    assert "rendering-project_test" in built.tasks


@pytest.mark.parametrize("case", params(OTHER_MODES))
def test_other_execution_modes_are_refused_by_name(case: dict[str, Any], tmp_path: Path) -> None:
    """Each of them, also where Cosmos renders it."""
    mode = mode_of(case)

    with pytest.raises(CosmosValueError, match=rf"ExecutionMode\.{mode}\b") as refusal:
        build(case, tmp_path)

    if "WHEN_SEED_CHANGES" in json.dumps(case["config"]):
        assert "SeedRenderingBehavior.WHEN_SEED_CHANGES does not go with" in str(refusal.value)
    elif "invocation_mode" not in case["config"]["execution"]:
        is_planned = mode.startswith("WATCHER") or mode == "AIRFLOW_ASYNC"
        assert ("does not have this yet" in str(refusal.value)) is is_planned


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("converter_model_whole_group", r"to_empty makes a task for model\.harbor_ops\.\w+ under an id that is taken"),
        ("node_long_name", r"model\.harbor_ops\.n{260} would become 'n{260}_run', an id of 264 characters"),
        ("node_operator_kwargs_task_id_refused", r"model\.harbor_ops\.stg_ports: .*operator_kwargs sets task_id"),
        ("node_same_name_two_packages", r"model\.harbor_ops\.stg_ports and model\.other_pkg\.stg_ports would both"),
        ("operator_args_unknown_key", "no dbt operator takes 'no_such_argument'"),
    ],
)
def test_an_error_of_our_own_names_what_is_wrong(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=words):
        build(BY_NAME[name], tmp_path)


def expected_of(case: dict[str, Any]) -> dict[str, Any]:
    """The recording, with the names that we give on purpose."""
    text = json.dumps(case["result"])
    for theirs, ours in RENAMED.get(case["name"], {}).items():
        text = text.replace(theirs, ours)
    expected: dict[str, Any] = json.loads(text)
    for name in ("task_ids", "edges"):
        expected[name].sort()
    for task_id, attributes in expected["attributes"].items():
        if "emit_datasets" not in attributes and "select" in attributes and not task_id.endswith("snapshot"):
            attributes.update(ADDED_ATTRIBUTES.get(case["name"], {}))
    return expected


def without(left_out: str | None) -> Callable[[Any], Any]:
    """What is left of names, edges or of a dict by name when those with this text in them go."""

    def is_compared(name: Any) -> bool:
        return left_out is None or left_out not in (name if isinstance(name, str) else " ".join(name))

    def compared(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if is_compared(name)}
        return [each for each in found if is_compared(each)]

    return compared


def attributes_of(recorded: dict[str, Any]) -> dict[str, Any]:
    """Without what is looked at in another test, or is another's name here."""
    context = {name: value for name, value in recorded.get("extra_context", {}).items() if name != "node_config"}
    kept = {name: value for name, value in recorded.items() if name not in ("extra_context", "template_fields")}
    return {**kept, **({"extra_context": context} if context else {})}
