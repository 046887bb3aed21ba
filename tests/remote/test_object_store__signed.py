"""Files that machines keep for each other: what is not signed with their key does not count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.files.read_limits import Limit
from cosmos_venv.remote.object_store import RemoteFolder, SignedFolder

KEY = b"a key of all machines"


def folder(path: Path, *, key: bytes = KEY, most: int = 1_000) -> SignedFolder:
    shared = RemoteFolder(url=f"file://{path}", key=lambda: key)
    return SignedFolder(folder=shared, seconds=10, limit=Limit(most=most))


def test_what_one_machine_writes_another_one_reads_with_its_time(tmp_path: Path) -> None:
    folder(tmp_path).write("plan", b"content")

    found = folder(tmp_path).read("plan")

    assert found is not None
    assert found[0] == b"content"
    assert abs(time.time() - found[1]) < 60
    assert folder(tmp_path).read("another plan") is None


def change_content(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def change_time(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:32] + b"9" + content[33:])


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def rename(file: Path) -> None:
    folder(file.parent).write("another", b"another content")
    (file.parent / "another").replace(file)


def sign_with_another_key(file: Path) -> None:
    folder(file.parent, key=b"a key of somebody else").write(file.name, b"content")


@pytest.mark.parametrize("change", [change_content, change_time, cut_short, rename, sign_with_another_key])
def test_what_somebody_else_has_written_or_changed_is_not_there(
    tmp_path: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path).write("plan", b"content")
    change(tmp_path / "plan")

    with caplog.at_level(logging.WARNING):
        assert folder(tmp_path).read("plan") is None

    assert "plan is not used: it is not signed with the key of this deployment" in caplog.text


def test_a_store_that_cannot_be_reached_is_asked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "plan").mkdir()
    shared = folder(tmp_path)

    with caplog.at_level(logging.WARNING):
        assert shared.read("plan") is None
        shared.write("other", b"content")
        assert shared.read("other") is None

    assert not (tmp_path / "other").exists()
    assert len(caplog.records) == 1
    assert "is of no use now" in caplog.text


def test_what_is_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    folder(tmp_path).write("plan", b"x" * 2_000)

    assert folder(tmp_path).read("plan") is None
