"""A parse file that another machine has made."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject, kept_file
from cosmos_venv.dbt.workspace import Outputs, workspace
from tests.dbt.elsewhere import Shelf
from tests.dbt.test_partial_parse import parse_file


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def parsed(tmp_path: Path, shelf: Shelf) -> ParsedProject:
    """The project on one machine."""
    project = tmp_path / "harbor"
    project.mkdir()
    (project / "dbt_project.yml").write_text("name: harbor\n")
    return ParsedProject(project_dir=project, kept=kept_file(tmp_path / "one", ["harbor"]), elsewhere=shelf)


def on_another_machine(parsed: ParsedProject, tmp_path: Path) -> ParsedProject:
    return replace(parsed, kept=kept_file(tmp_path / "another", ["harbor"]))


def command(parsed: ParsedProject, leaves: str) -> bool:
    """One command, which leaves a parse file; whether it was offered one."""
    with workspace(parsed.project_dir, install_deps=False, parsed=parsed) as place:
        artifacts = Outputs.of(place, {}).artifacts()
        file = place / "target" / PARTIAL_PARSE_FILE
        was_offered = file.exists()
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(parse_file(place, leaves))
        parsed.keep(artifacts)
        return was_offered


def test_a_fresh_worker_is_offered_the_parse_file_of_another_one(
    parsed: ParsedProject, shelf: Shelf, tmp_path: Path
) -> None:
    other = on_another_machine(parsed, tmp_path)

    offered = [command(parsed, "first"), command(other, "second")]
    asked = list(shelf.asked)
    offered.append(command(other, "third"))

    assert offered == [False, True, True]
    assert shelf.asked == asked, "a worker that has one asks nobody"
    (shared,) = shelf.files.values()
    assert b"first" in shared[0], "a young one is not sent again and again"


def test_one_that_is_a_day_old_is_replaced_by_the_worker_that_fetches_it(
    parsed: ParsedProject, shelf: Shelf, tmp_path: Path
) -> None:
    command(parsed, "first")
    ((name, (content, _)),) = shelf.files.items()
    shelf.files[name] = content, time.time() - 100_000

    command(on_another_machine(parsed, tmp_path), "second")

    assert b"second" in shelf.files[name][0]


def test_without_a_copy_of_its_own_project_nothing_is_asked(parsed: ParsedProject, shelf: Shelf) -> None:
    command(replace(parsed, kept=None), "first")

    assert shelf.asked == []
    assert shelf.files == {}


def test_half_a_parse_file_is_not_shared(parsed: ParsedProject, shelf: Shelf) -> None:
    with workspace(parsed.project_dir, install_deps=False, parsed=parsed) as place:
        artifacts = Outputs.of(place, {}).artifacts()
        (place / "target").mkdir(exist_ok=True)
        (place / "target" / PARTIAL_PARSE_FILE).write_bytes(parse_file(place, "half")[:-10])
        parsed.keep(artifacts)

    assert shelf.files == {}
    assert os.listdir(parsed.project_dir) == ["dbt_project.yml"]  # noqa: PTH208
