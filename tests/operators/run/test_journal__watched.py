"""The journal of a task that others watch: it stays, says its end, and tells other hosts."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.log_lines import NodeEvent
from cosmos_venv.operators.run.journal import Journal
from cosmos_venv.operators.run.journal_record import TryRecord, folder_of, record_in, unpacked

KEY = "0" * 32
NODE = "model.harbor.piers"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test alone for the journal."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def watched(number: int = 1, last: int = 1) -> tuple[Journal, list[TryRecord | None]]:
    """A journal that is open, and what it has told other hosts."""
    told: list[TryRecord | None] = []
    tries = KEY, TryRecord(number=number, max_tries=last)

    journal = Journal(*tries, logging.getLogger("task"), lambda _, text: told.append(unpacked(KEY, text)))
    journal.begin({})
    return journal, told


def event(status: str, node: str = NODE, **info: Any) -> NodeEvent:
    data = {"node_info": info, "execution_time": 1.5}
    return NodeEvent(name="LogModelResult", thread="", unique_id=node, status=status, text=f"said {status}", data=data)


def test_it_stays_when_the_task_is_over_and_says_how_it_has_ended() -> None:
    journal, told = watched()
    journal.note(event("success"))

    journal.close(is_over=True, end="success")

    record = record_in(folder_of(KEY))
    assert record is not None
    assert (record.end, record.outcomes[NODE].status) == ("success", "success")
    assert told[-1] == record


def test_other_hosts_are_told_of_a_try_before_its_first_node_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then object storage says what was before the task was cleared."""
    journal, told = watched()
    later = time.monotonic() + 2.0
    monkeypatch.setattr(time, "monotonic", lambda: later)

    journal.write_copies()
    journal.write_copies()

    assert [(each.number, each.outcomes) for each in told if each] == [(1, {})]


def test_what_other_hosts_are_told_grows_with_the_time_and_not_with_nodes_times_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each writing tells of all nodes: 2,000 of them once a second would be 50 MB."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sizes: list[int] = []

    tries = KEY, TryRecord(number=1, max_tries=0)
    journal = Journal(*tries, logging.getLogger("task"), lambda _, text: sizes.append(len(text)))
    journal.begin({})

    for number in range(2_000):
        now += 1.0
        journal.note(event("success", f"model.harbor.{hashlib.sha256(str(number).encode()).hexdigest()}"))

    assert sum(sizes) <= 2_000 * 8_192
    assert len(sizes) > 100


@pytest.mark.parametrize("place", ["staging/piers.sql", "models/staging/piers.sql"], ids=["dbt-1", "dbt-2"])
def test_the_end_of_a_model_comes_with_its_sql(place: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    file = target / "compiled" / "harbor" / "models" / "staging" / "piers.sql"
    file.parent.mkdir(parents=True)
    file.write_text("select 1")
    journal, _ = watched()

    journal.note(event("success", node_path=place), target)

    text = next(folder_of(KEY).glob("*.jsonl")).read_text()
    assert '"sql":"select 1"' in text
