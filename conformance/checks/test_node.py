"""NODE: several nodes of a project in one task."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest

from ..adapter import Outcome
from ..harness.sample_project import MODELS, Harbor
from ..requirements import case, requirement

ACROSS = "arrivals_have_left"
"""The data test whose parents are the first model and the last one."""


def _run_models(harbor: Harbor, *, batch_by: str = "folder", retries: int = 0, tests: str = "none") -> Outcome:
    """The outcome of a DAG of the project's models, which lie in one folder."""
    __tracebackhide__ = True
    render = {"batch_by": batch_by, "test_behavior": tests, "exclude": ["piers"]}
    return harbor.harness.run(harbor.whole_dag(retries=retries, render=render))


def _statuses(harbor: Harbor) -> list[dict[str, str]]:
    """The statuses of models and tests of each ``dbt build``, by name, in their order."""
    built = [call.nodes for call in harbor.harness.calls("build")]
    return [{_name(node): status for node, status in nodes.items()} for nodes in built]


def _name(node: str) -> str:
    return node.split(".")[2]


@requirement("NODE-001")
@pytest.mark.parametrize("failed", ["arrivals", "departures"])
def test_a_node_that_fails_fails_the_task_and_is_named_first(harbor: Harbor, failed: str) -> None:
    harbor.harness.wheelhouse.script("build", nodes={failed: "error"})

    outcome = _run_models(harbor)

    _require_failure(outcome, failed)


@requirement("NODE-002")
@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_node_of_which_dbt_says_nothing_has_failed(harbor: Harbor, exit_code: int) -> None:
    results = _run_results(*(name for name in MODELS if name != "departures"))
    artifacts = {"run_results.json": results}
    harbor.harness.wheelhouse.script("build", exit_code=exit_code, stdout=["Done."], artifacts=artifacts)

    outcome = _run_models(harbor)

    _require_failure(outcome, "departures")


def _require_failure(outcome: Outcome, name: str) -> None:
    """Fail unless the task has failed, and its error names this model before all models that succeeded."""
    __tracebackhide__ = True
    assert outcome.state == "failed", f"the task must fail, as its node {name} has; seen: {outcome}"
    said = outcome.exception or ""
    assert name in said, f"the error must name {name}; seen: {said}"
    before = [each for each in MODELS if each in said[: said.index(name)]]
    assert not before, f"the error must name {name} before nodes that have not failed; seen: {said}"


def _run_results(*names: str) -> Mapping[str, Any]:
    facts = {"status": "success", "execution_time": 0.1, "message": "OK"}
    return {
        "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"},
        "results": [{"unique_id": f"model.harbor.{name}", **facts} for name in names],
    }


@pytest.mark.parametrize(
    ("what", "first"),
    [
        case("NODE-003", "a failure", {"nodes": {"crossings": "error"}}),
        case("NODE-004", "a kill in a node", {"crash": signal.SIGKILL, "at": "berths"}),
        case("NODE-004", "a kill between nodes", {"crash": signal.SIGKILL, "after": "crossings"}),
    ],
)
def test_a_retry_runs_what_is_not_done(harbor: Harbor, what: str, first: dict[str, Any]) -> None:
    harbor.harness.wheelhouse.script("build", nth=1, **first)

    outcome = _run_models(harbor, retries=1)

    assert outcome.succeeded, f"a retry after {what}, with which all nodes are done, must succeed; seen: {outcome}"
    built = _statuses(harbor)
    assert len(built) == 2, f"dbt build must be called twice, once by each try; seen: {built}, {outcome}"
    done = [name for nodes in built for name, status in nodes.items() if status == "success"]
    assert sorted(done) == sorted(MODELS), f"each node must be done once; seen: {built}, {outcome}"


@requirement("NODE-005")
@pytest.mark.parametrize("batch_by", ["wave", "folder"])
def test_a_test_of_several_nodes_runs_once_and_after_them(harbor: Harbor, batch_by: str) -> None:
    harbor.project.test(ACROSS, "select * from {{ ref('arrivals') }} join {{ ref('departures') }} using (id)")
    harbor.project.manifest(harbor.manifest)
    tests = [node for node in harbor.project.manifest_data()["nodes"] if node.startswith("test.")]
    harbor.harness.wheelhouse.script("build", nodes=dict.fromkeys(tests, "pass"))  # the fake dbt reads no YAML

    outcome = _run_models(harbor, batch_by=batch_by, tests="after_each")

    assert outcome.succeeded, f"a DAG of sound nodes must succeed; seen: {outcome}"
    order = [name for nodes in _statuses(harbor) for name in nodes]
    seen = {_name(test): order.count(_name(test)) for test in tests}
    assert seen == dict.fromkeys(seen, 1), f"each test must run once; seen: {seen}"
    assert "departures" in order[: order.index(ACROSS)], f"the test {ACROSS} must run after departures; seen: {order}"
