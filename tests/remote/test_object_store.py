"""Folders in which files are kept for other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.files.read_limits import Limit
from cosmos_venv.remote.download_cache import RemoteError
from cosmos_venv.remote.object_store import RemoteFolder

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
