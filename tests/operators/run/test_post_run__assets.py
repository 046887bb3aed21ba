"""The assets that a task gives to Airflow, their alias, and what happens where they cannot be known."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import compat
from cosmos_venv.compat import DAG, TaskGroup, add_outlets, asset, asset_alias
from cosmos_venv.exceptions import AirflowCompatibilityError
from cosmos_venv.operators import local
from cosmos_venv.operators.run.post_run import alias_name, gives_assets
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import MakeTask, harbor_profile

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
PROFILE = """
harbor:
  target: dev
  outputs:
    dev: {type: postgres, host: "{{ env_var('PG_HOST') }}", port: 5433, user: u, password: p, dbname: d, schema: s}
    other: {type: oracle, host: h}
"""
SEPARATOR = "/" if compat.ASSET_URIS_HAVE_SLASHES else "."
PIERS = f"postgres://db.example:5433/{SEPARATOR.join(['dev', 'main', 'piers'])}"


@pytest.fixture
def make(make_here: MakeTask, dbt_project: Path) -> MakeTask:
    (dbt_project / "profiles.yml").write_text(PROFILE)

    def make(of: Any = "Run", *, target: str = "dev", **arguments: Any) -> Any:
        profile = harbor_profile(dbt_project, target)
        return make_here(of, profile_config=profile, env={"PG_HOST": "db.example"}, **arguments)

    return make


@pytest.mark.parametrize("name", ["Build", "Run", "Seed", "Snapshot"])
def test_commands_that_update_relations_give_assets_unless_that_is_not_wanted(make: MakeTask, name: str) -> None:
    assert gives_assets(make(name))
    assert not gives_assets(make(name, emit_datasets=False))
    assert not gives_assets(make(name, emit_datasets="False"))
    assert gives_assets(make(name, emit_datasets="{{ params.emit }}"))  # only the running task knows


@pytest.mark.parametrize("name", ["Test", "Source", "LS", "Compile", "Docs", "Clone", "RunOperation"])
def test_other_commands_give_none(make: MakeTask, name: str) -> None:
    operator = make(name, **({"macro_name": "grant"} if name == "RunOperation" else {}))

    assert not gives_assets(operator)


def test_a_look_at_sources_gives_assets_where_that_is_asked_for(make: MakeTask) -> None:
    assert gives_assets(make("Source", emit_source_assets=True))
    assert not gives_assets(make("Source", emit_source_assets=True, emit_datasets=False))


def test_assets_of_sources_without_aliases_are_refused_before_dbt_runs(
    make: MakeTask, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_DATASET_ALIAS", "False")

    with pytest.raises(AirflowCompatibilityError, match="enable_dataset_alias = False, and emit_source_assets=True"):
        make("Source", emit_source_assets=True).execute({})

    assert cosmos_fake_venv.calls == []


def test_an_outlet_is_added_once_and_not_to_the_list_that_other_tasks_have(make: MakeTask) -> None:
    """Airflow 2 gives all tasks of a DAG the list that stands in its default_args."""
    shared = [asset("x://own/data")]
    operator = make("Seed")
    operator.outlets = shared

    for _ in range(2):
        add_outlets(operator, [asset_alias("load")])

    assert operator.outlets == [asset("x://own/data"), asset_alias("load")]
    assert shared == [asset("x://own/data")]


def test_a_mapped_task_has_no_outlets_before_it_runs(make: MakeTask) -> None:
    """Airflow would take None for a list, were another class than an operator first among the bases of ours."""
    like = make("Seed")
    with DAG("harbor", schedule=None, start_date=START):
        mapped: Any = local.DbtSeedLocalOperator.partial(
            task_id="load", project_dir=like.project_dir, profile_config=like.profile_config
        ).expand(full_refresh=[True])

    assert (mapped.inlets, mapped.outlets) == ([], [])


def test_a_task_gives_the_assets_of_its_nodes_beside_its_own_outlets(
    make: MakeTask, cosmos_airflow: CosmosAirflow
) -> None:
    shared = [asset("x://own/data")]
    seed = make("Seed", outlets=shared)
    before = dict(os.environ)

    done = cosmos_airflow.run(seed)

    assert done.state == "success"
    assert {each.name for each in done.assets} == {"x://own/data", PIERS}
    assert "Inlets: []" in done.log
    assert f"Outlets: ['{PIERS}']" in done.log
    assert shared == [asset("x://own/data")]
    assert dict(os.environ) == before


def test_each_node_of_a_build_gives_its_asset(make: MakeTask, cosmos_airflow: CosmosAirflow) -> None:
    done = cosmos_airflow.run(make("Build"))

    assert sorted(each.name.rpartition(SEPARATOR)[2] for each in done.assets) == ["mart", "piers", "staging"]
    assert f"Inlets: ['{PIERS}'" in done.log


def test_a_task_that_fails_gives_nothing(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_URI_XCOM", "True")
    cosmos_fake_venv.script("build", nodes={"model.harbor.mart": "error"})

    done = cosmos_airflow.run(make("Build"))

    assert done.state == "failed"
    assert (done.assets, done.xcoms.get("uri")) == ((), None)
    assert "Outlets" not in done.log


def test_uris_are_pushed_where_that_is_wanted(
    make: MakeTask, cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_URI_XCOM", "True")

    assert cosmos_airflow.run(make("Seed")).xcoms["uri"] == [PIERS]


def test_an_adapter_that_openlineage_does_not_know_gives_no_assets(
    make: MakeTask, cosmos_airflow: CosmosAirflow
) -> None:
    done = cosmos_airflow.run(make("Seed", target="other"))

    assert (done.state, done.assets) == ("success", ())
    assert "OpenLineage has no name for where dbt's adapter 'oracle' writes" in done.log


@pytest.mark.skipif(not compat.ASSETS_NEED_AN_ALIAS, reason="Airflow 2 takes assets without an alias, too")
def test_aliases_turned_off_are_refused_before_dbt_runs(
    make: MakeTask, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_DATASET_ALIAS", "False")
    make("Seed", emit_datasets=False).execute({})

    with pytest.raises(AirflowCompatibilityError, match=r"enable_dataset_alias = False.*emit_datasets=False"):
        make("Run").execute({})

    assert [call.command for call in cosmos_fake_venv.calls] == ["seed"]


def alias_of(operator: Any) -> str:
    name: str = alias_name(operator)
    return name


def test_an_alias_is_named_after_the_dag_the_innermost_group_and_the_task(make: MakeTask) -> None:
    with DAG("d.x", schedule=None, start_date=START):
        alone = make("Run", task_id="stg_pings_run")
        with TaskGroup("outer"), TaskGroup("abc"):
            inner = make("Run", task_id="stg_pings_run")
            with TaskGroup("port_calls"):
                innermost = make("Run", task_id="run")

    assert alias_of(alone) == "d.x__stg_pings_run"
    assert alias_of(inner) == "d.x__abc__stg_pings_run"
    assert alias_of(innermost) == "d.x__port_calls__run"
    assert alias_of(make("Run", task_id="run")) == "run"
    # Airflow 3 learns of it when the task runs.
    assert innermost.outlets == ([] if compat.ASSETS_NEED_AN_ALIAS else [asset_alias("d.x__port_calls__run")])
