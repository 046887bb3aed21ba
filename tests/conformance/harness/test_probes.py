"""A DAG is built as Airflow's DAG processor builds it: under the variables that the processor sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pytest_cosmos_venv.conformance.adapter import DagPlan
from pytest_cosmos_venv.conformance.cosmos_layout import CosmosLayout, plain_dag
from pytest_cosmos_venv.conformance.harness.probes import dag_facts, error_of, render, traces_of
from pytest_cosmos_venv.dags.dag_files import processor_variables

PLAN = DagPlan(project={}, profile={}, dag={"dag_id": "harbor", "schedule": None})


class Telling(CosmosLayout):
    """Keeps the variables that it has seen."""

    import_root = "telling"
    seen: Mapping[str, str | None] | None = None

    def make_dag(self, plan: DagPlan) -> Any:
        self.seen = variables()
        return plain_dag(plan.dag)


def variables() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in processor_variables()}


@pytest.mark.parametrize("probe", [render, partial(error_of, calls=(), variables={}), traces_of])
def test_a_dag_is_built_under_what_the_processor_sets(probe: Callable[..., object]) -> None:
    adapter, before = Telling(), variables()

    probe(adapter, PLAN)

    assert adapter.seen == processor_variables()
    assert variables() == before


def test_a_judged_dag_gets_no_task_that_it_has_not_and_an_ordinary_one_does() -> None:
    ordinary = {**PLAN.dag, "default_args": {"owner": "harbor"}}

    seen = dag_facts(Telling(), replace(PLAN, dag=ordinary))

    assert dag_facts(Telling(), ordinary) == {**seen, "a task's owner": "harbor"}
    assert "a task's owner" not in seen
