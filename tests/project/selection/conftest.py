"""The project that probes selections, as its manifest tells it, and selections of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.manifest import Manifest

DATA = Path(__file__).resolve().parents[2] / "data" / "selection"


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest(DATA / "manifest.json")


def ours(manifest: Manifest, select: list[str], exclude: list[str], indirect_selection: str) -> list[str] | str:
    """The selected ids in order; ``refused`` where there is no such selection."""
    try:
        mode = TestIndirectSelection(indirect_selection)
        return sorted(manifest.selected(select, exclude, None, indirect_selection=mode))
    except CosmosValueError:
        return "refused"
