"""The YAML selectors beside a manifest of dbt 2, which says less of them than selectors.yml."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.project.graph import DbtGraph
from tests.kit import harbor_profile
from tests.project.ls_place import DATA, Place

SELECTORS = """
selectors:
  - name: ports
    default: {is_default}
    definition: {{method: fqn, value: stg_ports, indirect_selection: {indirect}}}
"""


def selected(place: Place, selectors: str, **render: Any) -> set[str]:
    """The kinds of the nodes that are selected by a manifest of dbt 2."""
    manifest = json.loads((DATA / "manifest.json").read_text())
    manifest["metadata"]["dbt_version"] = "2.0.0-alpha.4"
    of_dbt_2 = {"name": "ports", "definition": {"method": "fqn", "value": "stg_ports"}}
    place.write("target/manifest.json", json.dumps({**manifest, "selectors": {"ports": of_dbt_2}}))
    place.write("selectors.yml", selectors)
    graph = DbtGraph(
        project=ProjectConfig(place.project, manifest_path=place.project / "target" / "manifest.json"),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, **render),
        profile_config=harbor_profile(place.project),
    )
    graph.load()
    return {each.split(".")[0] for each in graph.filtered_nodes}


@pytest.mark.parametrize(("indirect", "kinds"), [("eager", {"model", "test"}), ("empty", {"model"})])
def test_what_the_file_says_of_tests_counts(indirect: str, kinds: set[str], place: Place) -> None:
    text = SELECTORS.format(is_default="false", indirect=indirect)

    assert selected(place, text, selector="ports") == kinds


def test_the_default_selector_of_the_file_counts(place: Place) -> None:
    assert selected(place, SELECTORS.format(is_default="true", indirect="empty")) == {"model"}


@pytest.mark.parametrize("text", ["selectors: [{{ env_var('SELECTORS') }}]", "selectors: 3", "selectors: [", ""])
def test_where_the_file_says_nothing_the_manifest_counts(text: str, place: Place) -> None:
    assert selected(place, text, selector="ports") == {"model", "test"}
