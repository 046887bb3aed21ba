"""A project as a DAG for each domain: what each shows, what it waits for, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from cosmos_venv import DbtDag, DbtProjectDags, ExecutionConfig, ExecutionMode, LoadMode, ProjectConfig, RenderConfig
from cosmos_venv.compat import AIRFLOW_VERSION, IS_AIRFLOW_3, asset, awaited_uris
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project import loaders
from cosmos_venv.project.load_request import Loaded, LoadRequest
from pytest_cosmos_venv import CosmosProject, DbtProject
from tests.dbt_packages import add_package
from tests.kit import harbor_profile

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAILY = {"staging": "@daily"}
HAS_PARTITIONS = IS_AIRFLOW_3 and tuple(map(int, AIRFLOW_VERSION.split(".")[:2])) >= (3, 2)

Split = Callable[..., DbtProjectDags]


@pytest.fixture
def shop(cosmos_project: CosmosProject) -> DbtProject:
    """Three domains by folder, in a row, and marts reads both others."""
    project = cosmos_project("shop")
    project.source("raw", tables={"orders": {"id": ["unique"]}})
    project.model("staging/stg_orders", "select * from {{ source('raw', 'orders') }}", tests={"id": ["unique"]})
    project.model("staging/stg_unread", "select * from {{ source('raw', 'orders') }}")
    project.model("finance/revenue", "select * from {{ ref('stg_orders') }}")
    project.model("marts/report", "select * from {{ ref('revenue') }} join {{ ref('stg_orders') }}")
    return project


@pytest.fixture
def split(shop: DbtProject) -> Split:
    def make(*, render: Mapping[str, Any] | None = None, mode: ExecutionMode = ExecutionMode.LOCAL, **more: Any) -> Any:
        arguments = {"schedules": DAILY, "start_date": START, "profile_config": harbor_profile(shop.path), **more}
        return DbtProjectDags(
            ProjectConfig(shop.path, manifest_path=shop.manifest()),
            render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, **render or {}),
            execution_config=ExecutionConfig(mode, dbt_executable_path="/usr/bin/dbt"),
            **arguments,
        )

    return make


def waits(dags: Mapping[str, DbtDag]) -> dict[str, set[str]]:
    """By domain the ids of the DAGs for whose assets its DAG waits."""
    return {domain: {uri.split("/")[2] for uri in awaited_uris(dag)} for domain, dag in dags.items()}


def given(dags: Mapping[str, DbtDag]) -> dict[str, set[str]]:
    """By URI the tasks behind which it is given."""
    return {
        outlet.uri: {f"{dag.dag_id}.{each}" for each in task.upstream_task_ids}
        for dag in dags.values()
        for task in dag.tasks
        for outlet in task.outlets
        if task.task_id.startswith("ready_for_")
    }


def selected(dag: DbtDag, task_id: str) -> str:
    task: Any = dag.get_task(task_id)
    return str(task.select)


def tasks(dags: Mapping[str, DbtDag]) -> dict[str, set[str]]:
    return {domain: set(dag.task_ids) for domain, dag in dags.items()}


def test_each_folder_is_a_dag_that_waits_for_the_nodes_that_it_reads_with_their_tests(split: Split) -> None:
    dags = split()

    assert tasks(dags) == {
        "staging": {
            "stg_orders.run",
            "stg_orders.test",
            "stg_unread_run",
            "ready_for_finance",
            "ready_for_marts",
        },
        "finance": {"revenue_run", "ready_for_marts"},
        "marts": {"report_run"},
    }
    assert waits(dags) == {"staging": set(), "finance": {"shop_staging"}, "marts": {"shop_staging", "shop_finance"}}
    assert given(dags) == {
        "dbt://shop_staging/shop_finance": {"shop_staging.stg_orders.test"},
        "dbt://shop_staging/shop_marts": {"shop_staging.stg_orders.test"},
        "dbt://shop_finance/shop_marts": {"shop_finance.revenue_run"},
    }
    assert {(type(dag).__mro__[1], dag.fileloc) for dag in dags.values()} == {(DbtDag, __file__)}
    # dbt runs the nodes of the domain alone.
    assert selected(dags["marts"], "report_run") == "fqn:shop.marts.report"


def test_a_schedule_of_the_users_replaces_the_wait(split: Split) -> None:
    dags = split(schedules={**DAILY, "marts": None}, dag_id="eu")

    assert [dag.dag_id for dag in dags.values()] == ["eu_staging", "eu_finance", "eu_marts"]
    assert waits(dags) == {"staging": set(), "finance": {"eu_staging"}, "marts": set()}


def test_a_model_that_is_moved_or_renamed_takes_its_waits_along(split: Split, shop: DbtProject) -> None:
    split()
    shop.delete("revenue")
    shop.model("marts/income", "select * from {{ ref('stg_orders') }}")
    shop.edit("report", "select * from {{ ref('income') }}")

    dags = split()

    assert waits(dags) == {"staging": set(), "marts": {"shop_staging"}}
    assert given(dags) == {"dbt://shop_staging/shop_marts": {"shop_staging.stg_orders.test"}}


def test_a_wait_of_the_users_for_a_domain_that_has_gone_is_refused(split: Split) -> None:
    own = [asset("dbt://shop_finance/shop_marts"), asset("x://own")]
    assert waits(split(schedules={**DAILY, "marts": own}))["marts"] == {"shop_finance", "own"}
    own.append(asset("dbt://shop_billing/shop_marts"))

    with pytest.raises(
        CosmosValueError, match=r"schedules\['marts'\] waits for .*dbt://shop_billing/shop_marts, which no"
    ):
        split(schedules={**DAILY, "marts": own})


def test_a_circle_of_domains_is_refused_with_the_models_that_make_it(split: Split, shop: DbtProject) -> None:
    shop.model("staging/late", "select * from {{ ref('report') }}")

    with pytest.raises(CosmosValueError) as refused:
        split()

    text = str(refused.value)
    assert "'staging' reads 'marts' (model.shop.late reads model.shop.report)" in text
    assert "'marts' reads 'finance' (model.shop.report reads model.shop.revenue)" in text
    assert "'finance' reads 'staging' (model.shop.revenue reads model.shop.stg_orders)" in text


@pytest.mark.parametrize("as_placeholder", [True, False])
def test_an_ephemeral_model_is_a_part_of_its_readers_which_wait_for_its_parents(
    split: Split, shop: DbtProject, as_placeholder: bool
) -> None:
    shop.model(
        "staging/eph", "select * from {{ ref('stg_orders') }}", materialized="ephemeral", tests={"id": ["unique"]}
    )
    shop.model("own/eph_of_report", "select * from {{ ref('report') }}", materialized="ephemeral")
    shop.model("more/reader", "select * from {{ ref('eph') }}")
    shop.model("marts/last", "select * from {{ ref('eph_of_report') }}")

    dags = split(render={"ephemeral_models_as_empty_operator": as_placeholder})

    assert set(dags) == {"staging", "finance", "marts", "more"}
    assert tasks(dags)["more"] == {"eph_run", "reader_run"}
    assert waits(dags)["more"] == {"shop_staging"}
    assert given(dags)["dbt://shop_staging/shop_more"] == {"shop_staging.stg_orders.test"}
    assert "eph.test" in tasks(dags)["staging"]
    assert dags["marts"].get_task("eph_of_report_run").upstream_task_ids == {"report_run"}


def test_a_test_of_several_domains_runs_in_the_last_one(split: Split, shop: DbtProject) -> None:
    shop.model("other/apart", "select * from {{ source('raw', 'orders') }}")
    shop.test("spans", "select * from {{ ref('apart') }} join {{ ref('revenue') }}")
    schedules = {**DAILY, "other": "@daily"}

    dags = split(schedules=schedules, render={"test_behavior": "after_all"})

    of_all = {domain: selected(dags[domain], "shop_test") for domain in dags}
    assert {domain for domain, text in of_all.items() if "spans" in text} == {"finance"}
    assert {domain for domain, text in of_all.items() if "unique_stg_orders" in text} == {"staging"}
    assert waits(dags)["finance"] == {"shop_other", "shop_staging"}
    assert given(dags)["dbt://shop_other/shop_finance"] == {"shop_other.apart_run", "shop_other.shop_test"}


def test_a_source_and_a_seed_that_no_task_loads_stand_in_each_domain_that_reads_them(
    split: Split, shop: DbtProject
) -> None:
    shop.seed("piers", "id\n1\n")
    shop.source("late", tables={"rates": {"id": ["unique"]}})
    shop.edit("report", "select * from {{ ref('revenue') }}, {{ source('late', 'rates') }}")
    shop.edit("revenue", "select * from {{ ref('stg_orders') }}, {{ source('raw', 'orders') }}, {{ ref('piers') }}")
    render = {"source_rendering_behavior": "all", "seed_rendering_behavior": "render_only"}

    dags = split(render=render)

    assert {domain for domain in dags if "raw_orders_source" in tasks(dags)[domain]} == {"finance"}
    assert {"raw_orders.source", "raw_orders.test"} <= tasks(dags)["staging"]  # its tests run once
    assert {domain for domain in dags if "late_rates.test" in tasks(dags)[domain]} == {"marts"}
    assert {domain for domain in dags if "piers_seed" in tasks(dags)[domain]} == {"finance"}
    assert waits(split(schedules={**DAILY, "seeds": "@daily"}))["finance"] == {"shop_staging", "shop_seeds"}
    assert waits(split(schedules={**DAILY, "seeds": None}))["finance"] == {"shop_staging"}
    assert waits(split(schedules={**dict.fromkeys(DAILY), "seeds": None}))["finance"] == {"shop_staging", "shop_seeds"}


@pytest.mark.parametrize(
    ("mode", "render"),
    [
        (ExecutionMode.WATCHER, {}),
        (ExecutionMode.WATCHER, {"batch_by": "all", "run_summary": True, "run_hooks_once": True}),
        (ExecutionMode.LOCAL, {"batch_by": "all", "run_summary": True, "run_hooks_once": True}),
        (ExecutionMode.LOCAL, {"test_behavior": "build"}),  # which WATCHER refuses
    ],
)
def test_other_ways_to_build_nodes_give_the_same_assets(
    split: Split, mode: ExecutionMode, render: Mapping[str, Any]
) -> None:
    dags = split(mode=mode, render=render)

    last = "all_batch" if "batch_by" in render else "stg_orders.test" if not render else "stg_orders_model_build"
    assert given(dags)["dbt://shop_staging/shop_finance"] == {f"shop_staging.{last}"}
    if "run_summary" in render:
        last_tasks: list[Any] = [dags["staging"].get_task(each) for each in ("dbt_run_summary", "dbt_on_run_end")]
        assert not any(each.startswith("ready_for_") for task in last_tasks for each in task.task_nodes)


def test_a_run_that_builds_none_of_the_nodes_that_are_read_starts_no_other_dag(split: Split) -> None:
    dags = split(run_params=True)

    assert dags["staging"].get_task("ready_for_marts").trigger_rule == "none_failed_min_one_success"
    assert split()["staging"].get_task("ready_for_marts").trigger_rule == "all_success"


def configure(shop: DbtProject, *folders: str) -> None:
    """Configure folders of models in ``dbt_project.yml``."""
    with (shop.path / "dbt_project.yml").open("a", encoding="utf-8") as file:
        file.write(f"models: {{shop: {{{', '.join(folders)}}}}}\n")


def test_domains_are_tags_groups_or_what_a_function_says(split: Split, shop: DbtProject) -> None:
    shop.write("models/money.yml", "groups: [{name: money, owner: {name: me}}]\n")
    configure(
        shop, "staging: {+tags: [first step]}", "finance: {+tags: [last], +group: money}", "marts: {+tags: [last]}"
    )

    by_tag = split(split_by="tag", schedules={"first_step": "@daily"})
    assert [dag.dag_id for dag in by_tag.values()] == ["shop_first_step", "shop_last"]
    assert "revenue_run" in tasks(by_tag)["last"]
    by_name = split(split_by=lambda node: "raw" if node.name.startswith("stg") else "rest", schedules={"raw": None})
    assert waits(by_name) == {"raw": set(), "rest": {"shop_raw"}}
    with pytest.raises(CosmosValueError, match=r"circle.*'money' reads 'ungrouped'"):
        split(split_by="group")
    shop.edit("report", "select 1 as id")
    assert waits(split(split_by="group", schedules={"ungrouped": None})) == {
        "ungrouped": set(),
        "money": {"shop_ungrouped"},
    }


def test_a_package_is_one_domain(split: Split, shop: DbtProject) -> None:
    package = add_package(shop, "taxes")
    package.model("staging/rates", "select 1 as id")
    package.model("marts/rules", "select * from {{ ref('rates') }}")

    dags = split(schedules={**DAILY, "taxes": "@daily"})

    assert tasks(dags)["taxes"] == {"rates_run", "rules_run"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"schedules": {}}, "schedules lacks 'staging'.*schedules={'staging': '@daily'}"),
        ({"schedules": {**DAILY, "mart": None}}, r"schedules takes no argument 'mart'\. Did you mean 'marts'"),
        ({"schedule": "@daily"}, "takes no argument 'schedule'. Did you mean 'schedules'"),
        ({"split_by": "owner"}, "split_by='owner' must be 'folder', 'tag' or 'group', or a function"),
        ({"split_by": lambda _: None}, r"split_by gave None for model\.shop\."),
        ({"operator_args": {"select": "x", "no_such": 1}}, "no dbt operator takes 'no_such'"),
    ],
)
def test_refused(split: Split, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CosmosValueError, match=words):
        split(**arguments)


def test_a_node_of_two_tags_is_refused(split: Split, shop: DbtProject) -> None:
    configure(shop, "finance: {+tags: [one, two]}")

    with pytest.raises(CosmosValueError, match=r"model\.shop\.revenue has the tags one, two"):
        split(split_by="tag")


def test_a_selection_without_a_domain_is_refused(split: Split) -> None:
    with pytest.raises(CosmosLoadDbtException, match="None of the 2 selected nodes is built"):
        split(render={"select": ["source:raw"]})


@pytest.mark.skipif(not HAS_PARTITIONS, reason="runs have partition keys since Airflow 3.2")
def test_where_the_runs_of_a_domain_have_partition_keys_those_behind_it_go_by_keys(
    split: Split, shop: DbtProject
) -> None:
    from airflow.sdk import CronPartitionTimetable, PartitionedAssetTimetable

    hourly = CronPartitionTimetable("0 * * * *", timezone="UTC")
    dags = split(schedules={"staging": hourly})

    assert {domain for domain, dag in dags.items() if isinstance(dag.schedule, PartitionedAssetTimetable)} == {
        "finance",
        "marts",
    }
    assert waits(dags)["marts"] == {"shop_staging", "shop_finance"}
    shop.model("other/apart", "select 1 as id")
    shop.edit("report", "select * from {{ ref('revenue') }} join {{ ref('apart') }}")
    with pytest.raises(CosmosValueError, match=r"'marts' reads .* the runs of only one of these have partition keys"):
        split(schedules={"staging": hourly, "other": "@hourly"})

    dags = split(schedules={"staging": hourly, "other": None})

    assert waits(dags)["marts"] == {"shop_finance"}


def test_the_project_is_loaded_once(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    load = loaders.load

    def counted(request: LoadRequest) -> Loaded:
        loads.append(request)
        return load(request)

    monkeypatch.setattr(loaders, "load", counted)

    assert len(split()) == 3
    assert len(loads) == 1
