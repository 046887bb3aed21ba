"""The project that probes selections, as its manifest tells it, and selections of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.manifest import Manifest
from cosmos_venv.project.selection.criterion import Criterion

DATA = Path(__file__).resolve().parents[2] / "data" / "selection"
NOT_LISTED = {"analysis", "operation"}  # by dbt ls, unless asked for


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest(DATA / "manifest.json")


def ours(manifest: Manifest, select: list[str], exclude: list[str]) -> list[str] | str:
    """The selected ids in order; ``refused`` where there is no such selection."""
    try:
        return sorted(manifest.selected(select, exclude, None))
    except CosmosValueError:
        return "refused"


def has_words_of_cosmos(case: dict[str, Any]) -> bool:
    """Whether a recorded selection has ``exclude_resource_type:``, which dbt refuses (test_methods.py)."""
    return "exclude_resource_type:" in "".join(case.get("select", []))


def listed(manifest: Manifest, case: dict[str, Any]) -> list[str]:
    """What `dbt ls` would list for one of the recorded cases, in order.

    :raises CosmosValueError: when dbt would refuse the selection.
    :raises CosmosLoadDbtException: when there is no such selector.
    """
    order = case.get("select", []), case.get("exclude", []), case.get("selector")
    if mode := next(iter(_flags(case, "--indirect-selection")), ""):
        manifest, order = _with_selector(manifest, case["select"], mode), ([], [], "asked")
    wanted = set(_flags(case, "--resource-type"))
    unlisted = set(_flags(case, "--exclude-resource-type")) | (NOT_LISTED - wanted)
    types = {each: each.partition(".")[0] for each in manifest.selected(*order)}
    return sorted(each for each, kind in types.items() if kind not in unlisted and (not wanted or kind in wanted))


def _with_selector(manifest: Manifest, select: list[str], mode: str) -> Manifest:
    """The manifest with a YAML selector ``asked`` of one word, with this ``indirect_selection``."""
    (word,) = select
    item = Criterion.from_text(word)
    definition = {"method": item.method, "value": item.value, "parents": item.parents is None}
    written = [{"name": "asked", "definition": {**definition, "indirect_selection": mode}}]
    other = Manifest(manifest.path)
    other.use_selectors(json.dumps({"selectors": written}).encode())  # JSON is YAML
    return other


def _flags(case: dict[str, Any], name: str) -> list[str]:
    words = case.get("dbt_flags", [])
    return [value for flag, value in itertools.pairwise(words) if flag == name]
