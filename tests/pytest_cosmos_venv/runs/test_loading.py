"""The Connections that are made up for a DAG file under test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest

from pytest_cosmos_venv import CosmosAirflow
from pytest_cosmos_venv.implementation import Implementation
from pytest_cosmos_venv.runs.loading import Substitutes


class Mapping:
    """A profile mapping, as far as it says what it requires."""

    airflow_param_mapping = MappingProxyType({"path": "host"})
    required_fields = ("path",)

    def __init__(self, kind: str) -> None:
        self.conn_id = f"the_{kind}"
        self.airflow_connection_type = kind


class Profile:
    """Stands for ``ProfileConfig``."""

    def __init__(self, profile_mapping: Mapping) -> None:
        self.profile_mapping = profile_mapping


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_the_host_of_duckdb_is_the_path_of_a_file(
    cosmos_airflow: CosmosAirflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A mapping refuses a relative path: each task failed, and a test that expected a failed task was green."""
    config = SimpleNamespace(ExecutionConfig=type("ExecutionConfig", (Profile,), {}), ProfileConfig=Profile)
    monkeypatch.setattr(Implementation, "module", lambda *_: config)
    substitutes = Substitutes(folder=tmp_path, connections=cosmos_airflow.connections)

    with substitutes.in_force(Implementation(import_root="cosmos_venv", version="0")):
        Profile(profile_mapping=Mapping(kind))
        host = json.loads(os.environ[f"AIRFLOW_CONN_THE_{kind.upper()}"])["host"]
    assert (Path(host).is_absolute(), Path(host).parent == tmp_path) == (kind == "duckdb",) * 2
