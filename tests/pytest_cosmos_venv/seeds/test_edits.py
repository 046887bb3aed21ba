"""The CSV of a seed changes as it is told to, and what cannot be done is refused in a sentence."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.edits import SeedEdits
from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.trace import Trace

CSV = b"id,name\n1,North\n"


@pytest.fixture
def piers(tmp_path: Path) -> SeedEdits:
    (tmp_path / "attic").mkdir()
    (tmp_path / "piers.csv").write_bytes(CSV)
    project = SeedProject(
        path=tmp_path,
        profile=("", "", tmp_path),
        manifest=tmp_path / "manifest.json",
        attic=tmp_path / "attic",
        files={"piers": tmp_path / "piers.csv"},
    )
    return SeedEdits(project, Trace(implementation="any", sentence=""))


def test_an_edit_adds_a_row_each_time(piers: SeedEdits) -> None:
    digests = {piers.digest()}
    for _ in range(3):
        piers.edit()
        digests.add(piers.digest())

    assert len(digests) == 4
    assert piers.file().read_bytes().startswith(CSV)


def test_an_edit_writes_what_is_given(piers: SeedEdits) -> None:
    piers.edit(csv="id\r\n7\r\n")

    assert piers.file().read_bytes() == b"id\r\n7\r\n"


def test_an_unnoticed_edit_leaves_size_and_time(piers: SeedEdits) -> None:
    before = piers.file().stat()

    piers.edit_unnoticed()

    after = piers.file().stat()
    assert piers.file().read_bytes() == b"id,name\n1,Nortx\n"
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_touch_changes_the_time_alone(piers: SeedEdits) -> None:
    before = piers.file().stat().st_mtime_ns

    piers.touch()

    assert piers.file().stat().st_mtime_ns > before
    assert piers.file().read_bytes() == CSV


def test_line_endings_are_replaced_and_put_back(piers: SeedEdits) -> None:
    piers.replace_line_endings()
    assert piers.file().read_bytes() == b"id,name\r\n1,North\r\n"

    piers.replace_line_endings(ending="\n")
    assert piers.file().read_bytes() == CSV


def test_a_byte_order_mark_comes_first(piers: SeedEdits) -> None:
    piers.add_byte_order_mark()

    assert piers.file().read_bytes() == b"\xef\xbb\xbf" + CSV


def test_a_deleted_file_comes_back_as_it_was(piers: SeedEdits) -> None:
    piers.delete()
    assert not piers.file().exists()

    piers.restore()
    assert piers.file().read_bytes() == CSV


@pytest.mark.parametrize("by", ["dangling link", "directory"])
def test_what_stands_in_its_place_cannot_be_read_by_anybody(piers: SeedEdits, by: str) -> None:
    piers.make_unreadable(by=by)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"piers\.csv"):
        piers.file().read_bytes()

    piers.restore()
    assert piers.file().read_bytes() == CSV


def test_a_fifo_stands_in_its_place(piers: SeedEdits) -> None:
    piers.make_unreadable(by="fifo")

    assert stat.S_ISFIFO(piers.file().stat().st_mode)


def test_a_link_leads_to_the_same_content(piers: SeedEdits) -> None:
    piers.replace_by_link()

    assert piers.file().is_symlink()
    assert piers.file().read_bytes() == CSV


def test_what_grows_takes_no_space(piers: SeedEdits) -> None:
    piers.grow(size=2**30)

    assert piers.file().stat().st_size == 2**30
    assert piers.file().stat().st_blocks * 512 < 2**20


def test_the_last_byte_changes_and_nothing_else(piers: SeedEdits) -> None:
    piers.change_last_byte()
    assert piers.file().read_bytes() == CSV[:-1] + b"x"

    piers.change_last_byte()
    assert piers.file().read_bytes() == CSV[:-1] + b"y"


@pytest.mark.parametrize(
    "change",
    [
        SeedEdits.edit,
        SeedEdits.delete,
        SeedEdits.digest,
    ],
)
def test_what_is_gone_cannot_be_changed(piers: SeedEdits, change: object) -> None:
    piers.delete()

    with pytest.raises(ToolkitMisuse, match=r"piers.csv is not there any more: restore it first"):
        change(piers)  # type: ignore[operator]
