"""Tests of the misuses that a scenario refuses, and of the sentences."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_cosmos_venv import CosmosSeeds
from pytest_cosmos_venv.errors import ToolkitMisuse


def test_nothing_can_happen_while_dbt_does_not_run(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="render_only", model=None)

    with pytest.raises(AssertionError, match=r"(?s)required: dbt seed runs.*nothing could be done while it ran"):
        harbor.run(while_dbt_runs=harbor.edit)


def test_nothing_is_remembered_before_a_run(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="when_seed_changes")

    for method in (harbor.corrupt_variable, harbor.forget, lambda: harbor.remember("0" * 64)):
        with pytest.raises(ToolkitMisuse, match="no run has set a Variable yet"):
            method()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"behavior": "sometimes"}, r"behavior='sometimes': SeedRenderingBehavior of cosmos_venv has always, when_"),
        ({"test_behavior": "later"}, r"test_behavior='later': TestBehavior of .* has build, none, after_each"),
        ({"execution_mode": "boat"}, r"execution_mode='boat': ExecutionMode of .* has watcher, local"),
        ({"seeds": []}, r"no CSV file in its folder seeds"),
        ({"seeds": ["no-name"]}, r"'no-name' is no name for a seed"),
        ({"project": "/nowhere"}, r"project='/nowhere': how a project of your own .* give make_dag= too"),
        ({"project": "/nowhere", "make_dag": print}, r"project='/nowhere': there is no dbt_project.yml in it"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    cosmos_seeds: CosmosSeeds, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolkitMisuse, match=message):
        cosmos_seeds(**given)
    assert cosmos_seeds().project.seeds == ("piers",)


def test_a_dag_of_another_project_is_refused(cosmos_seeds: CosmosSeeds) -> None:
    other = cosmos_seeds()
    harbor = cosmos_seeds(project=other.project.path, make_dag=lambda _: other.build().dag)

    with pytest.raises(ToolkitMisuse, match=rf"make_dag returned a DAG of {other.project.path}, but the scenario"):
        harbor.run()


def test_names_that_are_not_there_are_refused(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(model=None)

    with pytest.raises(ToolkitMisuse, match=r"seed='boats': the project has piers"):
        harbor.touch("boats")
    with pytest.raises(ToolkitMisuse, match=r"dag='port': this scenario has harbor"):
        harbor.run("port")
    run = harbor.run()
    with pytest.raises(ToolkitMisuse, match=r"seed\('boats'\): the project has piers"):
        run.seed("boats")
    with pytest.raises(ToolkitMisuse, match=r"place='port': there is harbor"):
        run.seed(place="port")
    with pytest.raises(ToolkitMisuse, match=r"must\('run'\): give one of ran, skipped"):
        run.must("run")  # type: ignore[arg-type]
