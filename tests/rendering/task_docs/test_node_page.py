"""The pages of nodes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import TestBehavior
from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import BatchBy
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.rendering.model import Plan
from cosmos_venv.rendering.task_arguments import PlanningSettings
from cosmos_venv.rendering.task_docs import node_page
from tests.project.manifests import entry, write_manifest
from tests.rendering.made import node, planned

SQL = "select id\nfrom warehouse.raw\nwhere id > 0"


def shop(folder: Path, **orders: Any) -> list[Any]:
    """The nodes of a manifest with a seed, a model and what reads it."""

    def model(name: str, *reads: str, **more: Any) -> dict[str, Any]:
        given: dict[str, Any] = {
            "config": {"materialized": "view"},
            "depends_on": {"nodes": list(reads)},
            "fqn": ["shop", name],
        }
        return entry(original_file_path=f"models/{name}.sql", **given, **more)

    unique = entry("test", depends_on={"nodes": ["model.shop.orders"]}, compiled_code=SQL)
    nodes = {
        "seed.shop.raw": entry("seed", original_file_path="seeds/raw.csv"),
        "model.shop.orders": model("orders", "seed.shop.raw", "source.shop.erp.lines", **orders),
        "model.shop.b": model("b", "model.shop.orders"),
        "model.shop.a": model("a", "model.shop.orders"),
        "test.shop.unique_orders_id.4edec0ffee": unique,
    }
    sources = {"source.shop.erp.lines": entry("source", original_file_path="models/sources.yml")}
    manifest = Manifest(write_manifest(folder, nodes, sources=sources))
    return [*manifest.nodes(project_path=folder).values()]


def page(plan: Plan, node_id: str = "model.shop.orders") -> str:
    (document,) = (task.document for task in plan.tasks if task.node_id == node_id and "Test" not in task.operator)
    return document


def limited(longest: int, **more: Any) -> PlanningSettings:
    return PlanningSettings(longest_page=longest, has_sql_pages=True, **more)


COLUMNS = {"id": {"name": "id", "description": "The key,\nof <b>orders</b>"}, "note": {"name": "note"}}


def test_a_page_says_what_a_compiled_manifest_knows(tmp_path: Path) -> None:
    said = {"description": "All *orders*.", "columns": COLUMNS, "compiled_code": SQL, "tags": ["daily", "eu"]}

    found = page(planned(*shop(tmp_path, **said), settings=limited(3000, docs_base="https://docs.example/")))

    assert found == (
        "All *orders*.\n"
        "\n"
        "- dbt node: `model.shop.orders`\n"
        "- file: `models/orders.sql`\n"
        "- materialized: `view`\n"
        "- tags: `daily`, `eu`\n"
        "- reads: `raw_seed`, `source.shop.erp.lines`\n"
        "- read by: `a_run`, `b_run`\n"
        "- tests: `unique_orders_id`\n"
        "- [dbt docs](<https://docs.example/#!/model/model.shop.orders>)\n"
        "\n"
        "Columns:\n"
        "\n"
        "- `id`: The key, of &lt;b>orders&lt;/b>\n"
        "- `note`\n"
        "\n"
        "Compiled SQL:\n"
        "\n"
        f"```sql\n{SQL}\n```"
    )


def test_without_the_setting_a_date_in_compiled_sql_changes_no_page(tmp_path: Path) -> None:
    pages = [
        page(planned(*shop(tmp_path, columns=COLUMNS, compiled_code=f"select '2026-01-0{day}'"))) for day in (1, 2)
    ]

    assert pages[0] == pages[1]
    assert "Columns" in pages[0]


def test_a_page_says_less_where_less_is_known() -> None:
    found = page(planned(node("model.shop.orders", meta={"owner": "sales"})))

    assert found == "- dbt node: `model.shop.orders`\n- file: `models/orders.sql`\n- owner: `sales`"


@pytest.mark.parametrize("longest", [500, 1000, 3000])
def test_a_page_is_bounded_whatever_a_node_says(tmp_path: Path, longest: int) -> None:
    columns = {f"column_{number}": {"description": "said " * 100} for number in range(500)}
    tags = [f"tag_{number}" for number in range(500)]
    nodes = shop(tmp_path, description="word " * 9000, columns=columns, compiled_code="select 1\n" * 9000, tags=tags)
    readers = [node(f"model.shop.reader_{number:03}", "model.shop.orders") for number in range(300)]

    found = page(planned(*nodes, *readers, settings=limited(longest)))

    assert len(found) < longest + 700
    assert " …\n\n- dbt node" in found
    assert " more\n- reads" in found  # tags
    assert "Compiled SQL" in found


def test_what_is_cut_is_said(tmp_path: Path) -> None:
    columns = {f"column_{number}": {"description": "said " * 3} for number in range(50)}
    nodes = shop(tmp_path, columns=columns, compiled_code="select 1\n" * 900)

    found = page(planned(*nodes, settings=limited(1000)))

    shown = found.count("`column_")
    assert f"\n- and {50 - shown} more\n" in found
    assert 0 < shown < 20
    assert re.search(r"\nCompiled SQL, the first [2-4]\d\d characters:\n", found)
    assert "there is no room" in page(planned(*nodes, settings=limited(400)))


def test_the_pages_of_many_nodes_share_what_a_dag_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_page, "MOST_OF_A_DAG", 30_000)
    models = [node(f"model.shop.m{number}", *(["model.shop.m0"] if number else [])) for number in range(40)]

    plan = planned(*models, settings=limited(3000))

    hub = page(plan, "model.shop.m0")
    assert len(hub) < 200
    assert hub.endswith("and 32 more")  # an eighth of 700


def test_the_pages_of_nodes_in_a_batch_are_a_list(tmp_path: Path) -> None:
    batch = RenderConfig(batch_by=BatchBy.ALL, test_behavior=TestBehavior.NONE)

    (task,) = planned(*shop(tmp_path), render=batch, settings=limited(50)).tasks

    assert task.document == "- `seed.shop.raw`\n- `model.shop.orders`\n- and 2 more"


@pytest.mark.parametrize(
    ("said", "columns", "sql"),
    [
        pytest.param({"columns": [], "compiled_code": None}, None, "", id="other-shapes"),
        pytest.param({"columns": {"a": 1}, "compiled_code": {"x": 1}}, None, "", id="unreadable"),
        pytest.param({"columns": {"a": {"description": None}}}, {"a": ""}, "", id="no-description"),
    ],
)
def test_odd_columns_and_sql_are_not_shown(
    tmp_path: Path, said: dict[str, Any], columns: dict[str, str] | None, sql: str
) -> None:
    orders = next(each for each in shop(tmp_path, **said) if each.unique_id == "model.shop.orders")

    assert (orders.columns, orders.compiled_sql) == (columns, sql)


def test_a_page_has_no_path_of_the_host(tmp_path: Path) -> None:
    plan = planned(*shop(tmp_path, columns=COLUMNS, compiled_code=SQL))

    assert str(tmp_path) not in json.dumps([task.document for task in plan.tasks])
