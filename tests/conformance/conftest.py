"""Tests of the suite run its processes from this checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _this_checkout_is_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """This checkout is the one that processes of a test import: what is installed may be another."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
