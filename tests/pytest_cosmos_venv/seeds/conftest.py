"""Where the scenarios are played on the stand-in, which does what the page says."""

from __future__ import annotations

import pytest

from pytest_cosmos_venv import Implementation


@pytest.fixture(scope="session")
def _cosmos_implementation() -> Implementation:
    """The stand-in beside this file."""
    return Implementation(import_root="tests.pytest_cosmos_venv.seeds.standin", version="1")
