"""dbt's parse file, kept from one command to the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject, kept_file
from cosmos_venv.dbt.workspace import workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "harbor"
    (folder / "target").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: harbor\n")
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return kept_file(tmp_path / "cache", ["harbor", "profile"])


@pytest.fixture
def dbt(project: Path) -> Callable[[ParsedProject, bytes | None], bytes | None]:
    """One command: says what it was offered, and leaves this parse file."""

    def run(parsed: ParsedProject, leaves: bytes | None) -> bytes | None:
        with workspace(project, install_deps=False, parsed=parsed) as place:
            file = place / "target" / PARTIAL_PARSE_FILE
            offered = file.read_bytes() if file.exists() else None
            if leaves is not None:
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(leaves)
        return offered

    return run


Dbt = Callable[[ParsedProject, bytes | None], bytes | None]


def test_what_one_command_leaves_the_next_is_offered(project: Path, kept: Path, dbt: Dbt) -> None:
    parsed = ParsedProject(project_dir=project, kept=kept)

    offered = [dbt(parsed, b"first"), dbt(parsed, b"second"), dbt(parsed, None)]

    assert offered == [None, b"first", b"second"]
    assert list(kept.parent.iterdir()) == [kept]


def test_the_copy_names_no_folder_and_what_is_offered_names_the_readers(project: Path, kept: Path) -> None:
    """dbt-duckdb loads a seed from the folder that the parse file names, which was gone with the last command."""
    parsed = ParsedProject(project_dir=project, kept=kept)
    with workspace(project, install_deps=False, parsed=parsed) as first:
        (first / "target").mkdir()
        (first / "target" / PARTIAL_PARSE_FILE).write_bytes(b"root_path=%s;" % os.fsencode(first))

    with workspace(project, install_deps=False, parsed=parsed) as second:
        offered = (second / "target" / PARTIAL_PARSE_FILE).read_bytes()

    assert first != second
    assert offered == b"root_path=%s;" % os.fsencode(second)
    assert os.fsencode(first) not in kept.read_bytes()


def test_the_projects_own_file_is_offered_as_it_is_and_never_written(project: Path, dbt: Dbt) -> None:
    own = project / "target" / PARTIAL_PARSE_FILE
    own.write_bytes(b"own")

    assert dbt(ParsedProject(project_dir=project), b"newer") == b"own"
    assert own.read_bytes() == b"own"


@pytest.mark.parametrize(("seconds", "expected"), [(-60, b"kept"), (60, b"own")], ids=["own-older", "own-newer"])
def test_the_newer_of_the_two_is_offered(project: Path, kept: Path, dbt: Dbt, seconds: int, expected: bytes) -> None:
    parsed = ParsedProject(project_dir=project, kept=kept)
    dbt(parsed, b"kept")
    own = project / "target" / PARTIAL_PARSE_FILE
    own.write_bytes(b"own")
    os.utime(own, times=(kept.stat().st_mtime + seconds,) * 2)

    assert dbt(parsed, None) == expected


def test_another_key_has_another_copy(tmp_path: Path) -> None:
    one, other = (kept_file(tmp_path, key) for key in (["ab", "c"], ["a", "bc"]))

    assert one != other


def test_a_folder_that_others_may_write_to_is_not_used(project: Path, kept: Path, dbt: Dbt) -> None:
    kept.parent.mkdir(parents=True)
    kept.parent.chmod(0o777)
    kept.write_bytes(b"somebody's")

    assert dbt(ParsedProject(project_dir=project, kept=kept), b"parsed") is None
    assert kept.read_bytes() == b"somebody's"


def test_a_copy_that_cannot_be_kept_fails_nothing(project: Path, tmp_path: Path, dbt: Dbt) -> None:
    (tmp_path / "file").write_text("")

    assert dbt(ParsedProject(project_dir=project, kept=tmp_path / "file" / "x.msgpack"), b"parsed") is None
