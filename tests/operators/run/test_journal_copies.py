"""What a task that is watched tells tasks on other hosts, in an XCom and in object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv import compat
from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.operators.run.journal import published, stores_of
from cosmos_venv.operators.run.journal_record import TryRecord, packed

NODE, PRODUCER = "model.shop.orders", "dbt_producer_watcher"
PLACE: dict[str, Any] = {"dag_id": "shop", "run_id": "one", "map_index": -1}


class Airflow:
    """:ivar xcom: the one of the producer; an exception is raised when it is read."""

    def __init__(self, key: str = "c0ffee") -> None:
        self.xcom: str | Exception | None = None
        self.key = key

    def text(self, *, end: str = "", number: int = 1) -> str:
        written = 2.0 if end else 1.0
        outcomes = {NODE: NodeOutcome("success", number)}
        record = TryRecord(number=number, max_tries=0, written=written, end=end, outcomes=outcomes)
        return packed(self.key, record)

    def published(self) -> str | None:
        """The end of the try that is published; None where none is."""
        found = published(self.key, task_id=PRODUCER, **PLACE)
        return None if found is None else found.end

    def read(self, *_: Any, **__: Any) -> str | None:
        if isinstance(self.xcom, Exception):
            raise self.xcom
        return self.xcom

    def tell(self, text: str) -> None:
        """Write the copies that tasks watch."""
        for store in stores_of(self.key, self._push):
            if store.is_watched:
                store.write(text)

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


def test_it_is_told_in_an_xcom(airflow: Airflow) -> None:
    airflow.tell(airflow.text())
    assert airflow.published() == ""
    airflow.tell(airflow.text(end="success"))
    assert airflow.published() == "success"


def test_it_is_told_in_object_storage_in_place_of_an_xcom(airflow: Airflow, storage: Path) -> None:
    airflow.tell(airflow.text())
    assert airflow.published() == ""
    airflow.tell(airflow.text(end="success"))

    assert airflow.published() == "success"
    assert airflow.xcom is None


@pytest.mark.parametrize("forged", ["unsigned", "other-key", "of-another-run"])
def test_a_text_in_the_storage_that_no_worker_has_signed_makes_no_task_green(
    airflow: Airflow, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    airflow.tell(airflow.text())
    (file,) = storage.rglob("*.jsonl")
    if forged == "unsigned":
        file.write_text(airflow.text(end="success"))
    elif forged == "other-key":
        own = str(tmp_path / "key-of-all-workers")
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(key_file(tmp_path, "key of somebody else")))
        airflow.tell(airflow.text(end="success"))
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", own)
    else:
        of_another = Airflow(key="0" * 32)
        of_another.tell(airflow.text(end="success"))
        next(storage.rglob("000*.jsonl")).replace(file)

    with pytest.raises(ValueError, match="it is not signed with the key of this deployment"):
        airflow.published()
