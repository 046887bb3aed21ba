"""The CSV of a seed changes as it is told to, and what cannot be done is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.seeds.edits import SeedEdits
from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.trace import ScenarioTrace

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
    return SeedEdits(project, ScenarioTrace(implementation="any", sentence=""))


@pytest.mark.parametrize("by", ["dangling link", "directory"])
def test_what_stands_in_its_place_cannot_be_read_by_anybody(piers: SeedEdits, by: str) -> None:
    piers.make_unreadable(by=by)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"piers\.csv"):
        piers.file().read_bytes()

    piers.restore()
    assert piers.file().read_bytes() == CSV


def test_what_grows_takes_no_space(piers: SeedEdits) -> None:
    piers.grow(size=2**30)

    assert piers.file().stat().st_size == 2**30
    assert piers.file().stat().st_blocks * 512 < 2**20


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


@pytest.mark.parametrize(
    ("edit", "content"),
    [
        pytest.param(SeedEdits.edit, CSV + b"16,edited\n", id="edit"),
        pytest.param(lambda piers: piers.edit(csv="id\r\n7\r\n"), b"id\r\n7\r\n", id="given"),
        pytest.param(SeedEdits.edit_unnoticed, b"id,name\n1,Nortx\n", id="unnoticed"),
        pytest.param(SeedEdits.touch, CSV, id="touch"),
        pytest.param(SeedEdits.replace_line_endings, b"id,name\r\n1,North\r\n", id="line-endings"),
        pytest.param(SeedEdits.add_byte_order_mark, b"\xef\xbb\xbf" + CSV, id="byte-order-mark"),
        pytest.param(SeedEdits.replace_by_link, CSV, id="link"),
        pytest.param(SeedEdits.change_last_byte, CSV[:-1] + b"x", id="last-byte"),
    ],
)
def test_an_edit_changes_what_it_says_and_nothing_else(
    piers: SeedEdits, edit: Callable[[SeedEdits], object], content: bytes
) -> None:
    before, digest = piers.file().stat(), piers.digest()

    edit(piers)

    after = piers.file().stat()
    assert piers.file().read_bytes() == content
    assert (piers.digest() == digest) is (content == CSV)
    assert (after.st_mtime_ns == before.st_mtime_ns) is (edit is SeedEdits.edit_unnoticed)
    assert piers.file().is_symlink() is (edit is SeedEdits.replace_by_link)
