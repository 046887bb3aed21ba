"""546 selections, to each the answer that dbt gave; 542 are compared, as 4 have a method of Cosmos."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.manifest import Manifest
from tests.project.selection.conftest import DATA, has_words_of_cosmos, listed

CASES = json.loads((DATA / "cases.json").read_text())
OF_COSMOS = [case for case in CASES if has_words_of_cosmos(case)]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if case not in OF_COSMOS])
def test_a_selection_comes_to_what_dbt_selects(manifest: Manifest, case: dict[str, Any]) -> None:
    if isinstance(case["dbt"], dict):
        with pytest.raises((CosmosValueError, CosmosLoadDbtException)):
            listed(manifest, case)
    else:
        assert listed(manifest, case) == sorted(case["dbt"])


def test_all_cases_are_here() -> None:
    assert (len(CASES), len(OF_COSMOS)) == (546, 4)
