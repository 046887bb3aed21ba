"""546 selections, to each the answer that dbt gave."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.manifest import Manifest

CASES = json.loads((Path(__file__).resolve().parents[2] / "data" / "selection" / "cases.json").read_text())
NOT_LISTED = {"analysis", "operation"}  # by dbt ls, unless asked for


def flags(case: dict[str, Any], name: str) -> list[str]:
    words = case.get("dbt_flags", [])
    return [value for flag, value in itertools.pairwise(words) if flag == name]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_a_selection_comes_to_what_dbt_selects(manifest: Manifest, case: dict[str, Any]) -> None:
    mode = TestIndirectSelection(next(iter(flags(case, "--indirect-selection")), "eager"))
    order = case.get("select", []), case.get("exclude", []), case.get("selector")

    if isinstance(case["dbt"], dict):
        with pytest.raises((CosmosValueError, CosmosLoadDbtException)):
            manifest.selected(*order, indirect_selection=mode)
        return
    selected = manifest.selected(*order, indirect_selection=mode)

    listed = set(flags(case, "--resource-type"))
    unlisted = set(flags(case, "--exclude-resource-type")) | (NOT_LISTED - listed)
    types = {unique_id: unique_id.partition(".")[0] for unique_id in selected}
    shown = {each for each, kind in types.items() if kind not in unlisted and (not listed or kind in listed)}
    assert sorted(shown) == sorted(case["dbt"])


def test_all_cases_are_here() -> None:
    assert len(CASES) == 546
