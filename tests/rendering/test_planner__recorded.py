"""A configuration renders to what Cosmos was seen to make of it. Where it does not, that is said here by name, and why.

See tests/data/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from tests.rendering.recorded import CASES, Built, build, name_of

BY_NAME = {case["name"]: case for case in CASES}

# Refused here as well or here only, by an error that says more than Cosmos's.
OWN_ERRORS = {
    "converter_model_whole_group": "CosmosValueError",  # names the converter, the node and the way out
    "node_long_name": "CosmosValueError",  # names the node
    "node_operator_kwargs_task_id_refused": "CosmosLoadDbtException",  # names the node
    "node_same_name_two_packages": "CosmosLoadDbtException",  # names both nodes
    "operator_args_unknown_key": "CosmosValueError",  # a typing error would vanish without a word
}
# Held to the recording of another configuration, which says what is expected, since
# - the test task of AFTER_ALL comes after all others, where Cosmos leaves it unconnected;
# - Cosmos trips over an attribute that ProjectConfig() lacks;
# - a dbt of its own for dbt ls is taken without an invocation mode, where Cosmos's default would import it.
EXPECTED_OF = {
    "after_all_render_and_execution_paths": "test_after_all",
    "refuse_render_executable_with_runner": "accept_render_executable_with_subprocess",
}
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
        "geo_cells_run",
        "port_calls_run",
        "rendering-project_test",
        "stg_ports_run",
        "stg_positions_run",
    ],
}
# Selected is what dbt selects, from a manifest too: a test of a model that is left out is left out with it.
SELECTED_AS_DBT = {"test_after_all_with_selection": "fleet_summary"}
# Cosmos tells dbt a node by its name, and dbt takes others too; the words of tasks are judged by dbt, see
# test_selectors__drawn.py.
SELECTING = ("select", "models", "exclude", "indirect_selection")
# No tasks, but nodes: unit tests as with dbt ls, from a manifest too; analyses, of which dbt ls says nothing.
NOT_COMPARED = ("unit_test.", "analysis.")


def expected_result(case: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = BY_NAME[EXPECTED_OF.get(case["name"], case["name"])]["result"]
    return result


def mode_of(case: dict[str, Any]) -> str:
    mode: str = case["config"].get("execution", {}).get("execution_mode", "ExecutionMode.LOCAL")
    return mode.partition(".")[2]


OFFERED = [case for case in CASES if mode_of(case) in ("LOCAL", "VIRTUALENV")]
ELSEWHERE = [case for case in CASES if mode_of(case) in ("WATCHER", "AIRFLOW_ASYNC")]  # see modes/
REFUSED = [case for case in OFFERED if case["name"] in OWN_ERRORS or "error" in expected_result(case)]
RENDERED = [case for case in OFFERED if case not in REFUSED]
OTHER_MODES = [case for case in CASES if case not in OFFERED and case not in ELSEWHERE]


def test_no_case_vanishes_unnoticed() -> None:
    assert (len(RENDERED), len(REFUSED), len(OTHER_MODES)) == (129, 26, 12)
    named = {*OWN_ERRORS, *EXPECTED_OF, *EXPECTED_OF.values(), *RENAMED}
    named |= {*ADDED_ATTRIBUTES, *SELECTED_BY_DBT, *SELECTED_AS_DBT}
    assert named <= set(BY_NAME)


@pytest.mark.parametrize("case", [case for case in RENDERED if case["name"] not in SELECTED_BY_DBT], ids=name_of)
def test_a_configuration_renders_to_the_recorded_tasks(case: dict[str, Any], built: Built) -> None:
    expected = expected_of(case)

    compared = without(SELECTED_AS_DBT.get(case["name"]))
    assert compared(sorted(built.tasks)) == compared(expected["task_ids"])
    assert compared(built.groups) == compared(expected["group_ids"])
    assert compared(built.edges) == compared(expected["edges"])
    assert compared(built.operators) == compared(expected["operators"])
    assert compared(built.tasks_map) == compared(expected["tasks_map"])


@pytest.mark.parametrize("case", [case for case in RENDERED if case["name"] not in SELECTED_BY_DBT], ids=name_of)
def test_the_tasks_of_a_configuration_have_the_recorded_attributes(case: dict[str, Any], built: Built) -> None:
    expected = {task_id: attributes_of(each) for task_id, each in expected_of(case)["attributes"].items()}

    compared = without(SELECTED_AS_DBT.get(case["name"]))
    assert compared({each: attributes_of(found) for each, found in built.attributes.items()}) == compared(expected)


@pytest.mark.parametrize("case", [case for case in RENDERED if case["name"] not in SELECTED_BY_DBT], ids=name_of)
def test_a_configuration_selects_and_says_what_was_recorded(case: dict[str, Any], built: Built) -> None:
    expected = expected_of(case)

    compared = without(SELECTED_AS_DBT.get(case["name"]))
    nodes, of_dbt = (
        [each for each in found if not each.startswith(NOT_COMPARED)]
        for found in (built.filtered_nodes, expected["filtered_nodes"])
    )
    assert compared(nodes) == compared(of_dbt)
    assert compared(built.tests_per_model) == compared(expected["tests_per_model"])
    assert built.host.dbt_graph.load_method.value == expected["load_method"]
    assert set(expected["warnings"]) <= built.warnings
    assert sorted(built.hooks.converter_arguments) == expected.get("converter_arguments", [])


@pytest.mark.parametrize("case", [BY_NAME[name] for name in SELECTED_BY_DBT], ids=name_of)
def test_a_selector_that_dbt_reads_otherwise_than_cosmos_renders_what_dbt_selects(
    case: dict[str, Any], built: Built
) -> None:
    assert sorted(built.tasks) == SELECTED_BY_DBT[case["name"]]
    assert case["result"]["task_ids"] == []


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_a_configuration_is_refused_with_the_recorded_kind_of_error(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the type is the case's, compared below
        build(case, tmp_path)

    recorded = case["result"].get("error", {}).get("type", "")
    assert type(refusal.value).__name__ == OWN_ERRORS.get(case["name"], recorded)


@pytest.mark.parametrize("case", OTHER_MODES, ids=name_of)
def test_other_execution_modes_are_refused_by_name(case: dict[str, Any], tmp_path: Path) -> None:
    """Each of them, also where Cosmos renders it."""
    mode = mode_of(case)

    with pytest.raises(CosmosValueError, match=rf"ExecutionMode\.{mode}\b") as refusal:
        build(case, tmp_path)

    if "WHEN_SEED_CHANGES" in json.dumps(case["config"]):
        assert "SeedRenderingBehavior.WHEN_SEED_CHANGES does not go with" in str(refusal.value)
    else:
        assert "runs dbt on Airflow's workers" in str(refusal.value)


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
    text = json.dumps(expected_result(case))
    for theirs, ours in RENAMED.get(case["name"], {}).items():
        text = text.replace(theirs, ours)
    expected: dict[str, Any] = json.loads(text)
    way = case["config"]["render"].get("load_method", "").partition(".")[2].lower()
    expected["load_method"] = case["result"].get("load_method", way)
    expected["warnings"] = case["result"].get("warnings", [])
    for found in (expected["filtered_nodes"], *expected["tests_per_model"].values()):
        found.sort()
    for name in ("task_ids", "edges"):
        expected[name].sort()
    for task_id, attributes in expected["attributes"].items():
        if "emit_datasets" not in attributes and "select" in attributes and not task_id.endswith("snapshot"):
            attributes.update(ADDED_ATTRIBUTES.get(case["name"], {}))
    return expected


def without(left_out: str | None) -> Callable[[Any], Any]:
    """A filter of names, edges or a dict by name, which drops those with this text in them."""

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
    kept = {
        name: value for name, value in recorded.items() if name not in (*SELECTING, "extra_context", "template_fields")
    }
    return {**kept, **({"extra_context": context} if context else {})}
