"""A task that watches nodes, when its trigger hands it back to a worker."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.operators.watch import waiting
from cosmos_venv.operators.watch.feed import JournalFiles
from cosmos_venv.operators.watcher import DbtRunWatcherOperator
from tests.kit import harbor_profile

FAILED = {"action": "fail", "reason": "model.harbor.mart: error.", "told": {}, "try_number": 1}


@pytest.fixture
def mart(dbt_project: Path, monkeypatch: pytest.MonkeyPatch) -> DbtRunWatcherOperator:
    """The task of a node of which a producer that runs has said nothing yet."""
    monkeypatch.setattr(waiting, "look", lambda _: ("running", JournalFiles(Path()), []))
    monkeypatch.setattr(waiting, "journal_key", lambda *_: "0" * 32)
    return DbtRunWatcherOperator(
        task_id="mart_run",
        node_ids=["model.harbor.mart"],
        project_dir=dbt_project,
        profile_config=harbor_profile(dbt_project),
        retries=1,
    )


def context_of(try_number: int) -> Any:
    ti = SimpleNamespace(dag_id="harbor", run_id="one", map_index=-1, try_number=try_number, max_tries=1)
    return {"ti": ti}


def test_it_fails_with_the_event_of_its_try(mart: DbtRunWatcherOperator) -> None:
    with pytest.raises(AirflowException, match=r"model\.harbor\.mart: error\."):
        mart.execute_complete(context_of(1), FAILED)


def test_a_retry_that_is_given_the_event_of_the_try_before_begins_anew(
    mart: DbtRunWatcherOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow 3.0.6 does not forget the event with which a deferred task has failed."""
    waits_with: list[Any] = []
    monkeypatch.setattr(type(mart), "defer", lambda _, *, trigger, method_name: waits_with.append(trigger))  # noqa: ARG005

    mart.execute_complete(context_of(2), FAILED)

    assert [trigger.try_number for trigger in waits_with] == [2]
