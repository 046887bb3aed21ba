"""546 selections, to each the answer that dbt gave."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.manifest import Manifest
from tests.project.selection.conftest import DATA, listed

CASES = json.loads((DATA / "cases.json").read_text())


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_a_selection_comes_to_what_dbt_selects(manifest: Manifest, case: dict[str, Any]) -> None:
    if isinstance(case["dbt"], dict):
        with pytest.raises((CosmosValueError, CosmosLoadDbtException)):
            listed(manifest, case)
    else:
        assert listed(manifest, case) == sorted(case["dbt"])


def test_all_cases_are_here() -> None:
    assert len(CASES) == 546
