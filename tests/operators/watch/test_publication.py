"""What a producer tells tasks on other hosts, in an XCom and in object storage."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import journal_key
from cosmos_venv.operators.run.journal_lines import Outcome, TryRecord, packed
from cosmos_venv.operators.run.shared_record import record_of_watched, remove_abandoned
from cosmos_venv.operators.watch.publication import published, publisher

NODE, PRODUCER = "model.shop.orders", "dbt_producer_watcher"
PLACE: dict[str, Any] = {"dag_id": "shop", "run_id": "one", "map_index": -1}


class Airflow:
    """:ivar xcom: the one of the producer; an exception is raised when it is read."""

    def __init__(self) -> None:
        self.xcom: str | Exception | None = None
        self.context = {"ti": SimpleNamespace(task_id=PRODUCER, xcom_push=self._push, **PLACE)}
        self.key = str(journal_key(self.context, PRODUCER))

    def text(self, *, end: str = "", number: int = 1) -> str:
        record = TryRecord(number=number, last=0, end=end, outcomes={NODE: Outcome("success", number)})
        return packed(self.key, [record])

    def published(self, *, is_over: bool) -> list[str]:
        """The ends of the tries that are published."""
        return [each.end for each in published(self.key, task_id=PRODUCER, is_over=is_over, **PLACE)]

    def read(self, *_: Any, **__: Any) -> str | None:
        if isinstance(self.xcom, Exception):
            raise self.xcom
        return self.xcom

    def _push(self, _: str, text: str) -> None:
        self.xcom = text


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(compat, "xcom", airflow.read)
    return airflow


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an object storage that all hosts reach, with their key."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(key_file(tmp_path, "key of all workers")))
    monkeypatch.setenv("AIRFLOW__COSMOS__REMOTE_CACHE_DIR", f"file://{tmp_path}/storage")
    return tmp_path / "storage"


def key_file(folder: Path, key: str) -> Path:
    file = folder / key.replace(" ", "-")
    file.write_text(key)
    file.chmod(0o600)
    return file


def files(storage: Path) -> list[str]:
    return [path.name for path in storage.rglob("*") if path.is_file()]


def test_outside_of_airflow_nobody_watches() -> None:
    assert publisher({}) is None


def test_it_is_told_in_an_xcom(airflow: Airflow) -> None:
    publish = publisher(airflow.context)
    assert publish is not None

    publish(airflow.text(), is_end=False)
    assert airflow.published(is_over=False) == [""]
    publish(airflow.text(end="success"), is_end=True)
    assert airflow.published(is_over=True) == ["success"]


def test_it_is_told_in_object_storage_and_in_the_xcom_at_the_end(airflow: Airflow, storage: Path) -> None:
    publish = publisher(airflow.context)
    assert publish is not None

    publish(airflow.text(), is_end=False)
    assert airflow.xcom is None
    assert airflow.published(is_over=False) == [""]
    publish(airflow.text(end="success"), is_end=True)
    assert airflow.published(is_over=True) == ["success"]

    (file,) = storage.rglob("*.jsonl")
    file.unlink()
    assert airflow.published(is_over=True) == ["success"], "a host that has no such storage"


def test_an_old_text_in_the_storage_hides_no_end(airflow: Airflow, storage: Path) -> None:
    """The last writing has failed there."""
    publish = publisher(airflow.context)
    assert publish is not None
    publish(airflow.text(), is_end=False)
    airflow.xcom = airflow.text(end="failed")

    assert airflow.published(is_over=False) == [""]
    assert airflow.published(is_over=True) == ["failed"]


@pytest.mark.parametrize("forged", ["unsigned", "other-key", "of-another-run"])
def test_a_text_in_the_storage_that_no_worker_has_signed_makes_no_task_green(
    airflow: Airflow, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    publish = publisher(airflow.context)
    assert publish is not None
    publish(airflow.text(), is_end=False)
    (file,) = storage.rglob("*.jsonl")
    if forged == "unsigned":
        file.write_text(airflow.text(end="success"))
    elif forged == "other-key":
        own = str(tmp_path / "key-of-all-workers")
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(key_file(tmp_path, "key of somebody else")))
        publish(airflow.text(end="success"), is_end=False)
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", own)
    else:
        record_of_watched("0" * 32).write(airflow.text(end="success"))  # type: ignore[union-attr]
        next(storage.rglob("000*.jsonl")).replace(file)

    with pytest.raises(ValueError, match="it is not signed with the key of this deployment"):
        airflow.published(is_over=True)
    airflow.xcom = airflow.text(end="failed")
    assert airflow.published(is_over=True) == ["failed"], "that is Airflow's own"


def test_without_a_key_it_is_told_by_airflow_alone(
    airflow: Airflow, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE")
    publish = publisher(airflow.context)
    assert publish is not None

    publish(airflow.text(), is_end=False)

    assert files(storage) == []
    assert airflow.published(is_over=False) == [""]


def test_what_was_abandoned_goes_from_the_storage(airflow: Airflow, storage: Path) -> None:
    publish = publisher(airflow.context)
    assert publish is not None
    publish(airflow.text(), is_end=False)
    assert files(storage)

    remove_abandoned(airflow.key)

    assert files(storage) == []
