"""Airflow knows a Connection for the length of a test, and a mistake is told. On Airflow 2 and 3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow

# Every one that a profile mapping of Cosmos reads, whether its provider is installed here or not.
KINDS = (
    "google_cloud_platform",
    "postgres",
)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    def variables() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}

    before = variables()
    yield
    assert variables() == before


def connection_of(conn_id: str) -> Any:
    """Return the connection as hooks get it, in either Airflow."""
    try:
        from airflow.sdk.bases.hook import BaseHook
    except ImportError:
        from airflow.hooks.base import BaseHook  # type: ignore[attr-defined, no-redef]
    return BaseHook.get_connection(conn_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("nothing_is_left", "_cosmos_airflow_home")
def test_a_connection_arrives_whole_whatever_its_kind(kind: str, cosmos_airflow: CosmosAirflow) -> None:
    conn_id = cosmos_airflow.connections.add(
        f"the {kind}.one",
        conn_type=kind,
        host="pier.example",
        login="crane",
        password="p@ss/word:?",
        schema="harbor",
        port=5432,
        extra={"keyfile_dict": {"a": [1]}, "role": "loader"},
    )

    found = connection_of(conn_id)

    assert (found.conn_type, found.host, found.login) == (kind, "pier.example", "crane")
    assert (found.password, found.schema, found.port) == ("p@ss/word:?", "harbor", 5432)
    assert found.extra_dejson == {"keyfile_dict": {"a": [1]}, "role": "loader"}


@pytest.mark.usefixtures("_cosmos_airflow_home")
def test_a_connection_of_the_shell_is_covered_and_comes_back(
    cosmos_airflow: CosmosAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://production")
    cosmos_airflow.connections.add("warehouse", conn_type="sqlite")
    assert connection_of("warehouse").conn_type == "sqlite"

    cosmos_airflow.connections.remove("warehouse")

    assert os.environ["AIRFLOW_CONN_WAREHOUSE"] == "postgres://production"
