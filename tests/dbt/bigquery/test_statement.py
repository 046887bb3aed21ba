"""The statements of models are those that dbt-bigquery sends, as recorded in tests/data/bigquery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cosmos_venv.dbt.bigquery.statement import CompiledModel, compiled_models, must_be_dropped

DATA = Path(__file__).parent.parent.parent / "data" / "bigquery"
RECORDED: dict[str, str] = json.loads((DATA / "statements.json").read_text())
MODEL = CompiledModel(
    unique_id="model.shop.orders", project="p", dataset="d", name="orders", kind="table", sql="create ..."
)
BY_DAY = {"field": "Day", "data_type": "date"}
BY_RANGE = {"field": "id", "data_type": "int64", "range": {"start": 0, "end": 100, "interval": 10}}
RANGE = {"field": "id", "range": {"start": "0", "end": "100", "interval": "10"}}


def compiled(*unique_ids: str, **options: Any) -> list[CompiledModel]:
    return compiled_models((DATA / "manifest.json").read_bytes(), unique_ids, **{"full_refresh": False, **options})


@pytest.mark.parametrize("unique_id", RECORDED)
def test_a_statement_is_what_dbt_sends(unique_id: str) -> None:
    (model,) = compiled(unique_id)

    assert "".join(model.sql.split()) == "".join(RECORDED[unique_id].split())


def test_a_model_knows_where_it_is_built() -> None:
    (model,) = compiled("model.shop.documented")

    assert (model.project, model.dataset, model.name, model.kind) == ("test-project", "marts_docs", "shown", "view")


def changed(unique_id: str, **changes: Any) -> bytes:
    manifest = json.loads((DATA / "manifest.json").read_text())
    node = manifest["nodes"][unique_id]
    node["config"] |= changes.pop("config", {})
    node |= changes
    return json.dumps(manifest).encode()


def test_a_model_that_was_not_compiled_is_named() -> None:
    with pytest.raises(ValueError, match=r"no SQL of model\.shop\.orders"):
        compiled_models(changed("model.shop.orders", compiled_code=None), ["model.shop.orders"], full_refresh=False)
    with pytest.raises(ValueError, match=r"no SQL of model\.shop\.none"):
        compiled("model.shop.none")


def test_a_model_that_the_run_finds_to_be_no_single_query_is_refused() -> None:
    manifest = changed("model.shop.orders", config={"materialized": "incremental"})

    with pytest.raises(
        ValueError, match=r"model\.shop\.orders cannot be .* it is materialized as incremental\. Use Exec"
    ):
        compiled_models(manifest, ["model.shop.orders"], full_refresh=False)


@pytest.mark.parametrize(("of_model", "expected"), [(None, True), (False, False), (True, True)])
def test_a_full_refresh_is_that_of_dbt_unless_the_model_says_otherwise(of_model: bool | None, expected: bool) -> None:
    manifest = changed("model.shop.orders", config={"full_refresh": of_model})

    (model,) = compiled_models(manifest, ["model.shop.orders"], full_refresh=True)

    assert model.full_refresh is expected


@pytest.mark.parametrize(
    ("changes", "there", "dropped"),
    [
        pytest.param({}, {"type": "TABLE"}, False, id="alike"),
        pytest.param({}, {"type": "VIEW"}, True, id="a-view"),
        pytest.param({}, {"type": "MATERIALIZED_VIEW"}, True, id="a-materialized-view"),
        pytest.param({}, {"timePartitioning": {"type": "DAY", "field": "day"}}, True, id="partitions-too-many"),
        pytest.param({"partition_by": BY_DAY}, {}, True, id="no-partitions"),
        pytest.param(
            {"partition_by": BY_DAY}, {"timePartitioning": {"type": "DAY", "field": "day"}}, False, id="by-day"
        ),
        pytest.param({"partition_by": BY_RANGE}, {"rangePartitioning": RANGE}, False, id="by-range"),
        pytest.param(
            {"partition_by": BY_RANGE},
            {"rangePartitioning": {**RANGE, "range": {"start": "1", "end": "100", "interval": "10"}}},
            True,
            id="another-range",
        ),
        pytest.param({"cluster_by": ["id"]}, {"clustering": {"fields": ["id"]}}, False, id="clusters"),
        pytest.param({"cluster_by": ["id"]}, {}, True, id="no-clusters"),
        pytest.param({"kind": "view", "full_refresh": True}, {"type": "TABLE"}, True, id="a-view-for-a-table"),
    ],
)
def test_what_bigquery_does_not_replace_is_dropped(
    changes: dict[str, Any], there: dict[str, Any], dropped: bool
) -> None:
    assert must_be_dropped(msgspec.structs.replace(MODEL, **changes), there) is dropped


def test_a_table_in_the_place_of_a_view_is_not_dropped_unasked() -> None:
    with pytest.raises(ValueError, match=r"model\.shop\.orders is to be the view .* run the DAG with full_refresh"):
        must_be_dropped(msgspec.structs.replace(MODEL, kind="view"), {"type": "TABLE"})
