"""A scenario does what its methods say, and tells what it saw. Played on this project's operators."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode, SeedRenderingBehavior, TestBehavior
from pytest_cosmos_venv import SEED_SCENARIOS, CosmosProject, CosmosSeeds, DbtCall, SeedScenario
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.dag_file import Place
from pytest_cosmos_venv.seeds.outcomes import SeedOutcome

CALL = DbtCall(
    argv=("dbt", "seed", "--select", "piers"),
    cwd=Path("harbor"),
    env={},
    pid=1,
    prefix=Path("venv"),
    dbt_version="1.10.0",
    started_at=0.0,
    ended_at=1.0,
    exit_code=0,
)


def test_an_outcome_tells_what_was_seen(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="when_seed_changes", seeds=["piers", "ships"])

    first = harbor.run()
    harbor.edit("ships")
    second = harbor.run()

    assert first.seed("piers").ran
    assert first.stored
    assert len(first.variables) == 2
    assert harbor.remembered.keys() == first.variables.keys()
    assert second.seed().skipped
    assert second.seed("ships").verdict == "ran"
    assert second.seed("ships").assets[0].uri.endswith("/ships")
    assert second.seed("ships").downstream == {"staging_run": "success"}
    assert [call.command for call in second.calls] == ["seed", "run"]
    assert second.dag.state == "success"
    assert repr(second) == "<run of harbor: piers skipped, ships ran>"
    assert "piers skipped: piers_seed success, no call of dbt | ships ran: ships_seed success, dbt seed" in str(second)


def test_a_requirement_that_is_not_met_tells_the_story(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="when_seed_changes", model=None, sentence="Unchanged seeds are not loaded.")
    harbor.run()
    harbor.edit()
    with harbor.variables_down(writing=False):
        run = harbor.run()

    with pytest.raises(AssertionError) as caught:
        run.must("skipped")

    for part in (
        " does not do what is required: piers skipped: its task succeeds, and dbt does not load it\n",
        "Sentence: Unchanged seeds are not loaded.\n",
        "  1. a project with the seeds piers; DbtDag harbor, when_seed_changes, loaded from a manifest, ",
        "  3. edit piers.csv\n  4. Variables are down for reading\n  5. run of harbor: piers ran",
        "Seen:     piers ran: piers_seed success, dbt seed --select fqn:harbor.piers",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("required", "message"),
    [
        ({"stored": False}, "not so: the run stores a Variable"),
        ({"asset": False}, "not so: the task of piers updates its asset"),
        ({"full_refresh": True}, "required: dbt is told --full-refresh"),
    ],
)
def test_each_part_of_a_requirement_can_fail(
    cosmos_seeds: CosmosSeeds, required: dict[str, bool], message: str
) -> None:
    run = cosmos_seeds(behavior="when_seed_changes", model=None).run()

    with pytest.raises(AssertionError, match=message):
        run.must("ran", **required)  # type: ignore[arg-type]


def test_a_call_a_value_a_rendering_and_a_refusal_can_be_missing(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="always", model=None)
    run = harbor.run()

    with pytest.raises(AssertionError, match=r"dbt test is called"):
        run.must_call("test")
    with pytest.raises(AssertionError, match=r"(?s)piers is rendered as: empty.*task, in \{'piers_seed': "):
        harbor.build().must("empty")
    with pytest.raises(AssertionError, match=r"(?s)names docker.*the DAG was built"):
        harbor.must_be_refused("docker")


@pytest.mark.parametrize(
    ("task_id", "state", "is_empty", "is_called", "verdict"),
    [
        ("piers_seed", "success", False, True, "ran"),
        ("piers_seed", "success", False, False, "skipped"),
        ("piers_seed", "success", True, False, "empty"),
        ("piers_seed", "failed", False, True, "failed"),
        ("piers_seed", "skipped", False, False, "left out"),
        ("piers_seed", "upstream_failed", False, False, "left out"),
        (None, None, False, False, "absent"),
    ],
)
def test_a_verdict_follows_from_the_state_and_the_calls(
    task_id: str | None, state: str | None, is_empty: bool, is_called: bool, verdict: str
) -> None:
    seed = SeedOutcome(
        seed="piers",
        place=Place(dag_id="harbor"),
        task_id=task_id,
        state=state,
        is_empty=is_empty,
        calls=(CALL,) if is_called else (),
    )

    assert seed.verdict == verdict
    assert str(seed).startswith(f"piers {verdict}: ")


def test_dbt_fails_once_and_for_the_seed_that_was_named(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(seeds=["piers", "ships"], model=None)

    broken = harbor.run(dbt_fails="ships")
    mended = harbor.run()

    assert [seed.verdict for seed in broken.seeds] == ["ran", "failed"]
    assert [seed.verdict for seed in mended.seeds] == ["ran", "ran"]


def test_what_a_run_asks_of_dbt_leaves_the_authors_own_script_alone(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(model=None)
    harbor.dbt.script("seed", exit_code=1)

    harbor.run(dbt_fails=True).must("failed")
    harbor.run().must("failed")
    harbor.run(while_dbt_runs=lambda: None)
    harbor.run().must("failed")


@pytest.mark.parametrize(("dbt_version", "execution_mode"), [("1.11.0", "local"), ("2.0.0a4", "virtualenv")])
def test_the_dbt_is_of_the_version_that_is_asked_for(
    cosmos_seeds: CosmosSeeds, dbt_version: str, execution_mode: str
) -> None:
    harbor = cosmos_seeds(model=None, execution_mode=execution_mode, dbt_version=dbt_version)

    harbor.run().must("ran")

    assert {call.dbt_version for call in harbor.dbt.calls} == {dbt_version}


def test_a_ready_made_scenario_is_played(cosmos_seeds: CosmosSeeds) -> None:
    (scenario,) = [each for each in SEED_SCENARIOS if each.id == "changed-is-loaded"]

    cosmos_seeds.play(scenario)


def test_an_error_while_dbt_runs_comes_out_and_holds_nothing_up(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(model=None)

    with pytest.raises(ToolkitMisuse, match=r"seed='boats': the project has piers"):
        harbor.run(while_dbt_runs=lambda: harbor.edit("boats"))
    assert harbor.run().seed().ran


def test_what_is_remembered_is_rewritten_in_its_own_form(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds(behavior="when_seed_changes", model=None)
    harbor.run()

    harbor.remember("0" * 64)
    (kept,) = harbor.remembered.values()
    assert json.loads(kept)["checksum"] == "0" * 64
    harbor.corrupt_variable()
    assert list(harbor.remembered.values()) == [kept[: len(kept) // 2]]
    harbor.corrupt_variable("x")
    with pytest.raises(ToolkitMisuse, match=r"no checksum is to be recognised in .*'x'"):
        harbor.remember("0" * 64)
    harbor.forget()
    assert not harbor.remembered


def test_a_project_of_the_toolkit_can_be_used(cosmos_seeds: CosmosSeeds, cosmos_project: CosmosProject) -> None:
    project = cosmos_project("dock")
    project.seed("deep/cranes", "id\n1\n")
    project.model("berths", "select 1 as id")
    dock = cosmos_seeds(behavior="when_seed_changes", project=project)

    dock.run().must("ran", seed="cranes")
    dock.run().must("skipped", seed="cranes")
    dock.change(places=["port/outer/dock"], load="dbt_ls")
    dock.run().must("ran", seed="cranes", place="port/outer/dock")


def test_a_dag_of_the_authors_own_can_be_used(cosmos_seeds: CosmosSeeds, cosmos_project: CosmosProject) -> None:
    original = cosmos_project("dock")
    original.seed("cranes", "id\n1\n")
    original.model("berths", "select 1 as id")
    dock = cosmos_seeds(project=original.path, make_dag=dag_of_its_own)

    dock.run().must("ran")
    dock.run().must("skipped")
    dock.edit()
    dock.run().must("ran", full_refresh=False)
    dock.run(full_refresh=True).must("ran", full_refresh=True)
    assert original.file("cranes").read_text(encoding="utf-8") == "id\n1\n"


def dag_of_its_own(dock: SeedScenario) -> DbtDag:
    return DbtDag(
        dag_id="its_own",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(dock.project.path),
        profile_config=ProfileConfig("dock", "dev", Path(dock.project.path, "profiles.yml")),
        execution_config=ExecutionConfig(dbt_executable_path=str(dock.dbt_executable)),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_LS,
            seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES,
            test_behavior=TestBehavior.NONE,
        ),
        operator_args=dock.operator_args,
    )


def test_a_failed_task_shows_its_log(cosmos_seeds: CosmosSeeds) -> None:
    run = cosmos_seeds(model=None).run(dbt_fails=True)

    with pytest.raises(AssertionError, match=r"(?s)piers_seed failed.*log of that task ends.*exit code 1"):
        run.must("ran")


def test_a_model_that_is_held_up_is_told(cosmos_seeds: CosmosSeeds) -> None:
    harbor = cosmos_seeds()
    harbor.dbt.script("run", exit_code=1)

    with pytest.raises(AssertionError, match=r"(?s)what comes after piers succeeds.*'staging_run': 'failed'"):
        harbor.run().must("ran")
