"""Folders in which files are kept for other machines."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped] # it has no types

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


def _dated(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


@pytest.mark.parametrize(
    ("times", "removed"),
    [
        pytest.param(lambda at: {"mtime": at}, ["old"], id="file"),
        pytest.param(lambda at: {"LastModified": _dated(at)}, ["old"], id="s3"),
        pytest.param(lambda at: {"updated": str(_dated(at)), "mtime": _dated(at)}, ["old"], id="gs"),
        pytest.param(lambda at: {"last_modified": _dated(at)}, ["old"], id="abfs"),
        pytest.param(lambda _: {"last_modified": None}, [], id="no-time"),
    ],
)
def test_files_are_removed_by_their_age_however_their_storage_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: Callable[[float], dict[str, object]], removed: list[str]
) -> None:
    folder = RemoteFolder(url=f"file://{tmp_path}/shared")
    for name in ("old", "young"):
        folder.write(name, b"x", seconds=10)
    os.utime(tmp_path / "shared" / "old", (time.time() - 100,) * 2)
    info = LocalFileSystem.info

    def told(*place: Any, **options: Any) -> dict[str, object]:
        found = info(*place, **options)
        return {key: value for key, value in found.items() if key != "mtime"} | times(found["mtime"])

    monkeypatch.setattr(LocalFileSystem, "info", told)

    assert folder.remove_older(50, seconds=10) == len(removed)
    left = {path.name for path in (tmp_path / "shared").iterdir()}
    assert left == {"old", "young"} - {*removed}


def test_files_that_another_machine_removes_meanwhile_do_not_fail_a_cleanup_and_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RemoteFolder(url=f"file://{tmp_path}/shared")
    for name in ("one", "other"):
        folder.write(name, b"x", seconds=10)
        os.utime(tmp_path / "shared" / name, (time.time() - 100,) * 2)
    info, gone = LocalFileSystem.info, list[str]()

    def told(system: Any, path: Any, **options: Any) -> dict[str, object]:
        found: dict[str, object] = info(system, path, **options)
        if found["type"] == "file" and isinstance(path, str) and not gone:
            gone.append(path)
            Path(path).unlink()
        return found

    monkeypatch.setattr(LocalFileSystem, "info", told)

    assert folder.remove_older(50, seconds=10) == 1
    assert len(gone) == 1
    assert not list((tmp_path / "shared").iterdir())
