"""The scenarios are played on the stand-in, which does what the page says."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from pytest_cosmos_venv import Implementation

# The stand-in is written with Airflow 3's SDK; on Airflow 2 astronomer-cosmos plays the scenarios.
collect_ignore_glob = [] if find_spec("airflow") is None or find_spec("airflow.sdk") else ["test_s*.py"]


@pytest.fixture(scope="session")
def _cosmos_implementation() -> Implementation:
    """The stand-in beside this file."""
    return Implementation(import_root="tests.pytest_cosmos_venv.seeds.standin", version="1")
