"""What dbt 2 answers to the recorded selections, where it is not what dbt 1 answers, and what cosmos-venv makes of it.

The differences are recorded by ``record_selections.py``. A selection that is none of them is answered by both in
the same way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.manifest import Manifest
from tests.installed import ENVIRONMENTS, ROOT, is_missing
from tests.project.selection.conftest import DATA, has_words_of_cosmos, listed
from tests.project.selection.record_selections import CASES, RECORD, Dbt2, difference

DBT_2 = ENVIRONMENTS / "dbt2" / "bin" / "dbt"
PAGE = ROOT / "docs" / "reference" / "selection.md"
RECORDED: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
DIFFERENCES: dict[str, dict[str, Any]] = RECORDED["differences"]
YAML = [case for case in CASES if case["id"].startswith("yaml_selector-")]

# The rows of the table, and the recorded selections that each of them is about.
PACKAGES = ("path-067", "path-068", "path-088", "path-089", "exclude-441", "exclude-442", "exclude-443", "exclude-444")
PACKAGES_IN_YAML = ("yaml_selector-492", "yaml_selector-493", "yaml_selector-502")
ROWS: dict[str, tuple[str, ...]] = {
    "`path:models`, `path:dbt_packages/toolkit`": (*PACKAGES, *PACKAGES_IN_YAML),
    "`path:.`, `path:/an/absolute/folder`": ("path-091", "path-094"),
    "`file:schema.yml`, `path:models/marts` with `--indirect-selection empty`": (
        "path-107",
        "dbt_indirect_selection-537",
    ),
    "`config.tags:night*`": ("config-132", "config-139"),
    "`config.meta.owner.name:ana` where `owner` is `ana`": ("config-148",),
    "`config.enabled:true`": ("config-149",),
    "`tag:`, `tag: nightly`, `package:`": (
        "fqn_method-064",
        "tag-119",
        "tag-122",
        "config_malformed-157",
        "source-175",
        "exposure-182",
        "package-203",
        "exclude-429",
        "exclude-431",
    ),
    "`+`, `1+`, `@`, `x+orders`, `-1+orders`, `orders+1.5`, `+ orders`": (
        "graph_malformed-323",
        "graph_malformed-324",
        "graph_malformed-327",
        "graph_malformed-334",
        "graph_malformed-335",
        "graph_malformed-337",
        "graph_malformed-338",
        "graph_malformed-339",
        "graph_malformed-340",
    ),
    "`resource_type:nope`, `resource_type:MODEL`": ("resource_type-192", "resource_type-194"),
    "`state:modified`, `result:error`, `source_status:fresher` without a state": (
        "other_methods-217",
        "other_methods-218",
        "other_methods-219",
    ),
    "`@lonely`, a node that nothing reads and that reads nothing": ("graph_at-273",),
    "`@+orders`": ("graph_malformed-332",),
    "`tag:a,` · `,tag:a` · `tag:a,,tag:b`": ("intersection-382", "intersection-383", "intersection-384"),
    "`tag:a, tag:b`": ("intersection-385",),
    "YAML: `parents_depth` without `parents`": ("yaml_selector-481",),
    "YAML: an item of a union with an `exclude` of its own": ("yaml_selector-496",),
    "`select` beside `selector`": ("yaml_selector_plus_select-516",),
    "`exclude` beside `selector`": ("yaml_selector_plus_exclude-517",),
}
# Selectors of which dbt 2 leaves something out of the manifest: `indirect_selection`.
LOST = {"s_indirect_empty"}


def answer_of_dbt_2(case: dict[str, Any]) -> list[str] | None:
    """The ids, from the answer of dbt 1 and what is recorded beside it; None: it refuses the selection."""
    found = DIFFERENCES.get(case["id"], {"more": [], "less": []})
    is_refused = isinstance(case["dbt"], dict)
    if "error" in found or (is_refused and case["id"] not in DIFFERENCES):
        return None
    return sorted({*([] if is_refused else case["dbt"]), *found["more"]} - {*found["less"]})


def answer(manifest: Manifest, case: dict[str, Any]) -> list[str] | None:
    """The ids that cosmos-venv selects; None: it refuses the selection."""
    try:
        return listed(manifest, case)
    except (CosmosValueError, CosmosLoadDbtException):
        return None


def rows_of_the_page() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| selection | dbt 1"))
    table = lines[start + 2 : lines.index("", start)]
    return [line.strip("| ").split(" | ")[0] for line in table]


def test_each_difference_stands_in_a_row_of_the_page() -> None:
    assert sorted(name for row in ROWS.values() for name in row) == sorted(DIFFERENCES)
    assert rows_of_the_page() == list(ROWS)


@pytest.fixture(scope="module")
def manifest_of_dbt_2(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The recorded manifest with the YAML selectors as dbt 2 writes them."""
    content = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
    content["metadata"]["dbt_version"] = RECORDED["dbt"]
    content["selectors"] = RECORDED["selectors"]
    path = tmp_path_factory.mktemp("dbt-2") / "manifest.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return Manifest(path)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in YAML])
def test_a_selector_of_a_manifest_of_dbt_2_comes_to_what_dbt_2_selects(
    manifest_of_dbt_2: Manifest, case: dict[str, Any]
) -> None:
    name = case["selector"]
    if '"method": "config"' in json.dumps(RECORDED["selectors"].get(name, {})):
        with pytest.raises(CosmosValueError, match=f"selector '{name}' cannot be used: .* dbt 2 leaves that out"):
            listed(manifest_of_dbt_2, case)
    elif name not in LOST and case["id"] not in PACKAGES_IN_YAML:
        assert answer(manifest_of_dbt_2, case) == answer_of_dbt_2(case)


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.skipif(is_missing(DBT_2), reason="no dbt 2 at .cache/envs/dbt2: make test makes it")
def test_the_record_is_what_dbt_2_answers_and_its_nodes_are_selected_as_those_of_dbt_1(tmp_path: Path) -> None:
    dbt = Dbt2(DBT_2, tmp_path / "project")
    manifest = Manifest(dbt.manifest())

    assert json.loads(Path(manifest.path).read_text(encoding="utf-8"))["selectors"] == RECORDED["selectors"]
    for case in _asked_again(CASES):
        assert difference(case, dbt.answer(case)) == DIFFERENCES.get(case["id"]), case["id"]
    for case in CASES:
        if "selector" not in case and not has_words_of_cosmos(case):
            expected = None if isinstance(case["dbt"], dict) else sorted(case["dbt"])
            assert answer(manifest, case) == expected, case["id"]


def _asked_again(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What has differed, and every sixth of the others."""
    return [each for number, each in enumerate(cases) if each["id"] in DIFFERENCES or number % 6 == 0]
