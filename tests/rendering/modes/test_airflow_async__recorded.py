"""DAGs of ExecutionMode.AIRFLOW_ASYNC against those that Cosmos makes of the same configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from tests.rendering.recorded import CASES, Built, build, name_of

SETUP, TEARDOWN = "dbt_setup_async", "dbt_teardown_async"
ASYNC = [case for case in CASES if case["config"].get("execution", {}).get("execution_mode", "").endswith("_ASYNC")]
REFUSED = {
    # Cosmos: an ImportError of a class that it makes up.
    "mode_async_duckdb_refused": "sends the queries of models to BigQuery, and the profile is of 'duckdb'",
    "mode_async_seeds_only_no_requirements": "async_py_requirements is missing.*or \\[\\] for the dbt",
    "mode_async_without_requirements": "async_py_requirements is missing",
}
RENDERED = [case for case in ASYNC if case["name"] not in REFUSED]


def expected_of(case: dict[str, Any]) -> dict[str, Any]:
    """The recording, with the names that we give on purpose."""
    text = json.dumps(case["result"]).replace("operators._asynchronous.", "operators.airflow_async.")
    if "async_py_requirements" in case["config"]["execution"]:
        # What runs dbt does so in that environment.
        text = text.replace("SetupAsyncOperator", "SetupAsyncVirtualenvOperator")
        text = text.replace("operators.airflow_async.DbtSeedAirflowAsync", "operators.virtualenv.DbtSeedVirtualenv")
        text = text.replace("operators.airflow_async.DbtTestAirflowAsync", "operators.virtualenv.DbtTestVirtualenv")
    expected: dict[str, Any] = json.loads(text)
    return expected


def edges_of(case: dict[str, Any]) -> list[list[str]]:
    """Those of Cosmos; a teardown task of Airflow's does not hold up what comes behind the group.

    The teardown task stands right behind each task: a task is upstream_failed as soon as one before it has failed. The
    edge from the setup task tells Airflow that the two tasks are a pair.
    """
    expected = expected_of(case)
    edges: list[list[str]] = expected["edges"]
    ids = {each for each in expected["task_ids"] if each not in ("before", "after")}
    teardown = next((each for each in ids if each.endswith(TEARDOWN)), None)
    if teardown is None:
        return sorted(edges)
    lasts = [before for before, after in edges if after == teardown]
    behind = [after for before, after in edges if before == teardown]
    kept = [edge for edge in edges if teardown not in edge]
    direct = [[each, teardown] for each in ids - {teardown}]
    return sorted([*kept, *([each, after] for each in lasts for after in behind), *direct])


def test_no_case_vanishes_unnoticed() -> None:
    assert (len(RENDERED), len(REFUSED)) == (4, 3)


@pytest.mark.parametrize("case", [case for case in ASYNC if case["name"] in REFUSED], ids=name_of)
def test_what_cannot_be_sent_is_refused_with_the_way_out(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CosmosValueError, match=REFUSED[case["name"]]):
        build(case, tmp_path)


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_a_configuration_renders_to_the_recorded_tasks(case: dict[str, Any], built: Built) -> None:
    expected = expected_of(case)

    assert sorted(built.tasks) == sorted(expected["task_ids"])
    assert built.groups == expected["group_ids"]
    assert built.edges == edges_of(case)
    assert built.operators == expected["operators"]
    assert built.tasks_map == expected["tasks_map"]


@pytest.mark.parametrize("case", RENDERED, ids=name_of)
def test_the_tasks_of_a_configuration_have_the_recorded_attributes(case: dict[str, Any], built: Built) -> None:
    has_environment = "async_py_requirements" in case["config"]["execution"]
    of_environment = {"invocation_mode": "subprocess", "py_requirements": ["dbt-duckdb"], "virtualenv_dir": None}

    for task_id, recorded in expected_of(case)["attributes"].items():
        producer = recorded.pop("producer_task_id", None)
        if task_id.endswith(TEARDOWN):  # it deletes files, and runs no dbt
            context = {"extra_context": recorded["extra_context"]}
            assert built.attributes[task_id] == {"trigger_rule": "all_done_setup_success", **context}
            continue
        if recorded:
            is_known = not has_environment  # nothing reads it
            assert getattr(built.tasks[task_id], "producer_task_id", None) == (producer if is_known else None)
            recorded.update(of_environment if has_environment else {})
        of_words = {"select", "indirect_selection"}  # judged by dbt: test_selectors__drawn.py
        found = {name: value for name, value in built.attributes[task_id].items() if name not in of_words}
        assert found == {name: value for name, value in recorded.items() if name not in of_words}


@pytest.mark.parametrize("case", [case for case in RENDERED if "no_setup" not in case["name"]], ids=name_of)
def test_airflow_knows_the_first_task_and_the_last_one_for_what_they_are(case: dict[str, Any], built: Built) -> None:
    kinds = {task_id.rpartition(".")[2]: (task.is_setup, task.is_teardown) for task_id, task in built.tasks.items()}

    assert kinds[SETUP] == (True, False)
    assert kinds[TEARDOWN] == (False, True)
    assert sum(map(any, kinds.values())) == 2
    # A task that is cleared has it run again.
    (seed,) = (task for task_id, task in built.tasks.items() if "raw_vessels" in task_id)
    assert [task.task_id.rpartition(".")[2] for task in seed.get_upstreams_only_setups()] == [SETUP]
