"""The project that probes selections, as its manifest tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.project.manifest import Manifest

DATA = Path(__file__).resolve().parents[2] / "data" / "selection"


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest(DATA / "manifest.json")
