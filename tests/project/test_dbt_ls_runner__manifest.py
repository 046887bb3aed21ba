"""The manifest that ``dbt ls`` writes is that of its own run, and no larger than a later parse reads."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from cosmos_venv.exceptions import CosmosLoadDbtException
from tests.project.ls_place import DATA, NODES, Place, writing


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(made.cache))
    return made


def test_a_folder_for_artifacts_that_runs_have_in_common_gives_no_manifest(place: Place, tmp_path: Path) -> None:
    """Another run of dbt may write its manifest there before the manifest of this run is read."""
    artifacts = tmp_path / "artifacts"

    graph = place.load(given={"DBT_TARGET_PATH": str(artifacts)})

    assert len(graph.nodes) == NODES
    assert not artifacts.exists()


def test_a_manifest_that_is_larger_than_the_limit_is_an_error_that_names_the_setting(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was kept, no parse could read it, and dbt ran at each parse."""
    manifest = json.loads((DATA / "manifest.json").read_text())
    manifest["nodes"]["seed.harbor_ops.raw_ports"]["description"] = secrets.token_hex(100_000)
    (tmp_path / "large.json").write_text(json.dumps(manifest))
    place.let_dbt(writing(tmp_path / "large.json"))
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__ARTIFACT_MAX_BYTES", "150000")

    with pytest.raises(CosmosLoadDbtException, match=r"artifact_max_bytes = 150000 \(raise that"):
        place.load()
