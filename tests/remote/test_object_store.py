"""Folders in which files are kept for other machines."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from cosmos_venv.files.read_limits import Limit
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import RemoteFolder

LIMIT = Limit(most=1_000)
NEW_YEAR = 1_767_225_600.0


def test_a_file_on_a_shared_disk_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RemoteFolder(url=f"file://{tmp_path}/shared")
    folder.write("a.jsonl", b"old", seconds=10)

    def fail(*_: object, **__: object) -> None:
        raise OSError("the worker was killed")

    with monkeypatch.context() as killed:
        killed.setattr("fsspec.implementations.local.LocalFileSystem.mv", fail)
        with pytest.raises(RemoteError, match="the worker was killed"):
            folder.write("a.jsonl", b"new", seconds=10)

    assert folder.read("a.jsonl", seconds=10, limit=LIMIT) == b"old"
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["a.jsonl"], "nothing is left of what failed"
    folder.write("a.jsonl", b"new", seconds=10)
    assert folder.read("a.jsonl", seconds=10, limit=LIMIT) == b"new"


@pytest.mark.parametrize(
    ("info", "seconds"),
    [
        pytest.param({"LastModified": datetime(2026, 1, 1, tzinfo=timezone.utc)}, NEW_YEAR, id="amazon"),
        pytest.param({"updated": "2026-01-01T00:00:00.000Z"}, NEW_YEAR, id="google"),
        pytest.param({"last_modified": datetime(2026, 1, 1)}, NEW_YEAR, id="microsoft"),  # noqa: DTZ001 - as it may be
        pytest.param({"mtime": NEW_YEAR + 0.5}, NEW_YEAR + 0.5, id="a-disk"),
        pytest.param({"updated": "at some time"}, None, id="nobody-knows"),
        pytest.param({}, None, id="none"),
    ],
)
def test_the_time_of_a_file_is_one_number_whatever_the_storage_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: dict[str, object], seconds: float | None
) -> None:
    folder = RemoteFolder(url=f"file://{tmp_path}/shared")
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.info", lambda *_, **__: info)

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = folder.written_at("a.jsonl", seconds=10)
    time.tzset()

    assert found == seconds
