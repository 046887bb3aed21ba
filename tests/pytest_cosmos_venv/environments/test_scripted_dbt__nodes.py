"""The nodes that the fake works on, and how they end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv, NodeOutcome
from pytest_cosmos_venv.errors import ToolkitMisuse


def statuses(project: Path) -> dict[str, str]:
    results = json.loads((project / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {result["unique_id"].split(".", 2)[2]: result["status"] for result in results}


def test_nodes_end_as_scripted_and_what_lies_below_is_skipped(
    dbt: Any, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    cosmos_fake_venv.script(
        "build",
        nodes={
            "orders": NodeOutcome(status="error", message="no such harbour"),
            "test.shop.unique_id.1a2b": NodeOutcome(status="warn", failures=3),
        },
    )

    done = dbt("build")

    assert done.returncode == 1
    assert statuses(project) == {
        "orders": "error",
        "piers": "success",
        "totals": "skipped",
        "report": "skipped",
        "unique_id.1a2b": "warn",
    }
    assert "  no such harbour\n" in done.stdout
    assert "WARN 3 unique_id" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("Done. PASS=1 WARN=1 ERROR=1 SKIP=2 NO-OP=0 TOTAL=5")


@pytest.mark.parametrize(
    ("script", "given"),
    [
        ({"nodes": {"ordres": "error"}}, "nodes={'ordres': ...}"),
        ({"at": "ordres", "hold": True}, "at='ordres'"),
    ],
)
def test_a_script_for_a_node_that_is_not_there_fails_its_call_and_its_test(
    script: dict[str, Any], given: str, dbt: Any, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("run", **script)

    done = dbt("run")

    message = f"{given}: the project 'shop' has no node of this name. There are: orders, "
    assert done.returncode == 2
    assert message in done.stderr
    with pytest.raises(ToolkitMisuse, match=re.escape(message)):
        cosmos_fake_venv.close()


def test_a_reference_to_a_missing_model_is_an_error_as_in_dbt(dbt: Any, project: Path) -> None:
    (project / "models" / "lost.sql").write_text("select * from {{ ref('odrers') }}\n", encoding="utf-8")

    done = dbt("run", "--select", "orders")

    said = "Compilation Error\n  Model 'model.shop.lost' (models/lost.sql) depends on a node named 'odrers' which was"
    assert said in done.stdout
    assert done.returncode == 2
    assert not (project / "target" / "run_results.json").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "{{ ref('off') }}",  # a disabled model, whose configuration may depend on what only dbt knows
        "{{ ref('ext') }}",  # a node of the script
        "{{ ref('platform', 'harbors') }}",  # a node of a project of dbt Mesh
        "{% if target.type != 'duckdb' %}{{ ref('gone') }}{% endif %}",
        "{{ config(enabled=target.type == 'duckdb') }}{% raw %}{{ ref('gone') }}{% endraw %}",
        "{{ source('raw_dev', 'ships') }}",  # the name of a source may be Jinja
    ],
)
def test_a_reference_that_dbt_does_not_refuse_is_no_error(
    sql: str, dbt: Any, cosmos_fake_venv: FakeVenv, project: Path
) -> None:
    (project / "models" / "off.sql").write_text("{{ config(enabled=false) }} select 1", encoding="utf-8")
    (project / "models" / "reader.sql").write_text(sql, encoding="utf-8")
    source = '{name: "raw_{{ target.name }}", tables: [{name: ships}]}'
    (project / "models" / "raw.yml").write_text(f"sources: [{source}]\n", encoding="utf-8")
    (project / "profiles.yml").write_text("shop: {target: dev, outputs: {dev: {type: duckdb}}}\n", encoding="utf-8")
    cosmos_fake_venv.script("run", nodes={"model.shop.ext": "success"})

    assert dbt("run", "--select", "reader").returncode == 0


def test_a_model_cannot_pass(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("run", nodes={"orders": "pass"})

    done = dbt("run")

    assert done.returncode == 2
    assert "nodes={'orders': 'pass'}: in dbt 1.10.0 a model does not end so; give one of error, no-op" in done.stderr
    with pytest.raises(ToolkitMisuse, match="a model does not end so"):
        cosmos_fake_venv.close()
    cosmos_fake_venv.forget()
    shutil.rmtree(cosmos_fake_venv.folder / "forgotten")


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        ("test", True),
        ("test --select orders", True),  # its name is that of a test of this model
        ("test --select totals", False),
    ],
)
def test_an_added_test_runs_where_it_or_its_model_is_selected(
    line: str, runs: bool, dbt: Any, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("test", nodes={"test.shop.unique_orders_id.1a2b": "fail"})

    assert dbt(*line.split()).returncode == int(runs)


def test_a_test_that_only_the_script_knows_is_listed_with_what_it_tests(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("ls", nodes={"test.shop.unique_orders_id.1a2b": "pass"})

    lines = dbt("ls", "--output", "json", "--log-format", "text", "--quiet").stdout.splitlines()

    (listed,) = [node for node in map(json.loads, lines) if node["resource_type"] == "test"]
    assert listed["depends_on"]["nodes"] == ["model.shop.orders"]


def test_a_script_for_a_selection_adds_to_it(dbt: Any, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("test", select="totals", nodes={"test.shop.odd.1a2b": "fail"})

    assert [dbt("test", "-s", name).returncode for name in ("totals", "orders")] == [1, 0]


def test_kinds_of_nodes_are_chosen(dbt: Any, project: Path) -> None:
    dbt("build", "--resource-type", "seed")
    assert statuses(project).keys() == {"piers"}

    dbt("build", "--exclude-resource-types", "seed")
    assert statuses(project).keys() == {"orders", "totals", "report"}
