"""The project that the tests of Airflow's home share."""

from __future__ import annotations

import pytest

from tests.pytest_cosmos_venv.airflow.standin import STAND_IN


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project beside whose tests lies a stand-in for Airflow; its user has a home of his own."""
    for name, text in STAND_IN.items():
        file = pytester.path / "library" / "airflow" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pytester.makepyfile(**{str(file.relative_to(pytester.path).with_suffix("")): text})
    monkeypatch.setenv("PYTHONPATH", str(pytester.path / "library"))
    monkeypatch.setenv("AIRFLOW_HOME", str(pytester.path / "production"))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    return pytester
