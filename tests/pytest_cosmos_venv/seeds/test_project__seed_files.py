"""The CSV of a seed changes as it is told to, and what cannot be done is refused in a sentence."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.project import SeedFile

CSV = b"id,name\n1,North\n"


@pytest.fixture
def piers(tmp_path: Path) -> SeedFile:
    (tmp_path / "attic").mkdir()
    (tmp_path / "piers.csv").write_bytes(CSV)
    return SeedFile(path=tmp_path / "piers.csv", attic=tmp_path / "attic")


def test_an_edit_adds_a_row_each_time(piers: SeedFile) -> None:
    digests = {piers.digest()}
    for _ in range(3):
        piers.edit()
        digests.add(piers.digest())

    assert len(digests) == 4
    assert piers.path.read_bytes().startswith(CSV)


def test_an_edit_writes_what_is_given(piers: SeedFile) -> None:
    piers.edit("id\r\n7\r\n")

    assert piers.path.read_bytes() == b"id\r\n7\r\n"


def test_an_unnoticed_edit_leaves_size_and_time(piers: SeedFile) -> None:
    before = piers.path.stat()

    piers.edit_unnoticed()

    after = piers.path.stat()
    assert piers.path.read_bytes() == b"id,name\n1,Nortx\n"
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_touch_changes_the_time_alone(piers: SeedFile) -> None:
    before = piers.path.stat().st_mtime_ns

    piers.touch()

    assert piers.path.stat().st_mtime_ns > before
    assert piers.path.read_bytes() == CSV


def test_line_endings_are_replaced_and_put_back(piers: SeedFile) -> None:
    piers.replace_line_endings()
    assert piers.path.read_bytes() == b"id,name\r\n1,North\r\n"

    piers.replace_line_endings("\n")
    assert piers.path.read_bytes() == CSV


def test_a_byte_order_mark_comes_first(piers: SeedFile) -> None:
    piers.add_byte_order_mark()

    assert piers.path.read_bytes() == b"\xef\xbb\xbf" + CSV


def test_a_deleted_file_comes_back_as_it_was(piers: SeedFile) -> None:
    piers.delete()
    assert not piers.path.exists()

    piers.restore()
    assert piers.path.read_bytes() == CSV


@pytest.mark.parametrize("by", ["dangling link", "directory"])
def test_what_stands_in_its_place_cannot_be_read_by_anybody(piers: SeedFile, by: str) -> None:
    piers.make_unreadable(by)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"piers\.csv"):
        piers.path.read_bytes()

    piers.restore()
    assert piers.path.read_bytes() == CSV


def test_a_fifo_stands_in_its_place(piers: SeedFile) -> None:
    piers.make_unreadable("fifo")

    assert stat.S_ISFIFO(piers.path.stat().st_mode)


def test_a_link_leads_to_the_same_content(piers: SeedFile) -> None:
    piers.replace_by_link()

    assert piers.path.is_symlink()
    assert piers.path.read_bytes() == CSV


def test_what_grows_takes_no_space(piers: SeedFile) -> None:
    piers.grow(2**30)

    assert piers.path.stat().st_size == 2**30
    assert piers.path.stat().st_blocks * 512 < 2**20


def test_the_last_byte_changes_and_nothing_else(piers: SeedFile) -> None:
    piers.change_last_byte()
    assert piers.path.read_bytes() == CSV[:-1] + b"x"

    piers.change_last_byte()
    assert piers.path.read_bytes() == CSV[:-1] + b"y"


@pytest.mark.parametrize(
    "change",
    [
        SeedFile.edit,
        SeedFile.delete,
        SeedFile.digest,
    ],
)
def test_what_is_gone_cannot_be_changed(piers: SeedFile, change: object) -> None:
    piers.delete()

    with pytest.raises(ToolkitMisuse, match=r"piers.csv is not there any more: restore it first"):
        change(piers)  # type: ignore[operator]
