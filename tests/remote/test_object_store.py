"""Folders in which files are kept for other machines."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from cosmos_venv.files.read_limits import Limit
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import RemoteFolder
from tests.waiting import DEADLINE

LIMIT = Limit(most=1_000)


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


def test_a_download_that_has_timed_out_writes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RemoteFolder(url=f"file://{tmp_path}/shared")
    folder.write("large", b"0123456789", seconds=10)
    goes_on, readers = threading.Event(), list[threading.Thread]()

    class Slow(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            readers.append(threading.current_thread())
            if len(readers) == 2:
                goes_on.wait()
            return super().read(1)

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", lambda *_, **__: Slow(b"0123456789"))

    with pytest.raises(RemoteError, match="there was no answer within 1 s"):
        folder.download("large", tmp_path / "file", size=10, seconds=1)
    goes_on.set()

    readers[0].join(DEADLINE)
    assert len(readers) == 2
    assert (tmp_path / "file").stat().st_size <= 2
