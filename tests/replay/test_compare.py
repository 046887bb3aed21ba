"""The comparison of records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.replay.compare import Difference, Meant, differences, read_meant, verdict


def record(**of_dag: Any) -> dict[str, Any]:
    return {"shop": {"dags": {"shop": {"bytes": 1000, **of_dag}}, "steps": [{"states": {"run": "success"}}]}}


def test_equal_records_have_no_differences() -> None:
    assert differences(record(), record()) == []


@pytest.mark.parametrize(("size", "is_told"), [(1100, False), (10, False), (1101, True)])
def test_a_serialized_dag_may_grow_by_a_tenth(size: int, is_told: bool) -> None:
    assert bool(differences(record(), record(bytes=size))) is is_told


def test_a_line_names_scenario_value_and_both_sides() -> None:
    now = record()
    now["shop"]["steps"][0]["states"]["run"] = "failed"

    assert list(map(str, differences(record(), now))) == ["shop: record/steps/0/states/run: success → failed"]


def test_a_further_call_leaves_the_others_as_they_were() -> None:
    before, now = record(calls=["dbt ls", "dbt run"]), record(calls=["dbt deps", "dbt ls", "dbt run"])

    assert list(map(str, differences(before, now))) == ["shop: record/dags/shop/calls: nothing → dbt deps"]


def test_the_order_of_a_selection_says_nothing_and_each_of_its_words_does() -> None:
    before = record(calls=["dbt build --select a b --target dev", "dbt build --select c"])
    reordered = record(calls=["dbt build --select c", "dbt build --select b a --target dev"])
    other = record(calls=["dbt build --select a c --target dev", "dbt build --select c"])

    assert differences(before, reordered) == []
    assert len(differences(before, other)) == 1


def test_a_scenario_that_one_side_lacks_is_a_difference() -> None:
    assert len(differences(record(), {})) == len(differences({}, record())) == 1


def test_a_difference_that_is_meant_is_not_told() -> None:
    found = [Difference(scenario="shop", what="record/left/temporary", recorded="nothing", now="<temp>/x")]
    meant = Meant(scenario="s*", what="*/temporary", now="<temp>/*", reason="x is kept")

    assert verdict(found, [meant]) == []
    assert len(verdict(found, [Meant(scenario="s*", what="*/project", reason="")])) == 2


def test_an_entry_that_no_longer_occurs_is_told() -> None:
    (line,) = verdict([], [Meant(scenario="shop", what="*", reason="x is kept")])

    assert "no longer occurs: shop: * (x is kept)" in line


def test_an_entry_without_a_reason_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meant.toml").write_text('[[meant]]\nscenario = "shop"\nwhat = "*"\n')

    with pytest.raises(TypeError, match="reason"):
        read_meant(tmp_path / "meant.toml")
