"""Alerts of a run are seen where no fault is asked for: what a failed model of dbt has called. On Airflow 2 and 3."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosProject, FakeVenv, Faults, NodeOutcome
from tests.pytest_cosmos_venv.faults.harbor import dbt, harbor

try:
    from airflow.sdk import BaseNotifier
except ImportError:  # Airflow 2
    from airflow.notifications.basenotifier import BaseNotifier  # type: ignore[import-not-found, no-redef]


@pytest.fixture
def project(cosmos_project: CosmosProject, cosmos_fake_venv: FakeVenv) -> Path:
    """A model that fails."""
    made = cosmos_project("harbor")
    made.model("pier", "select 1 as id")
    cosmos_fake_venv.script("run", nodes={"pier": NodeOutcome(status="error", message="no such column")})
    return made.path


class Pager(BaseNotifier):
    """A notifier, as those of Airflow's providers are."""

    def __init__(self, paged: list[str]) -> None:
        super().__init__()
        self.paged = paged

    def notify(self, context: Any) -> None:
        self.paged.append(context["ti"].task_id)


def post(channel: str, _context: Any) -> None:
    raise ConnectionError(f"{channel} is closed")


def test_a_failed_model_calls_what_was_to_be_called(
    project: Path, cosmos_airflow: CosmosAirflow, cosmos_fake_venv: FakeVenv, cosmos_faults: Faults
) -> None:
    paged: list[str] = []
    executable = cosmos_fake_venv.dbt
    dag = harbor(
        lambda: dbt(executable, "run", cwd=project),
        on_failure_callback=[Pager(paged), partial(post, "#harbor")],
        on_retry_callback=lambda _: None,
    )

    outcome = cosmos_airflow.run(dag)

    assert outcome.states == {"load": "failed", "report": "upstream_failed"}
    assert paged == ["load"]
    assert [(each.callback, each.function, each.task_id) for each in cosmos_faults.alerts] == [
        ("on_retry_callback", "<lambda>", "load"),
        ("on_failure_callback", "Pager", "load"),
        ("on_failure_callback", "post", "load"),
    ]
    assert [each.error for each in cosmos_faults.alerts] == [None, None, "ConnectionError: #harbor is closed"]
    assert str(cosmos_faults.alerts[-1]) == "on_failure_callback of load: ConnectionError: #harbor is closed"
    assert cosmos_faults.happened == []
    assert isinstance(dag.get_task("load").on_failure_callback[0], Pager)
