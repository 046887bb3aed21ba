"""A recording is read, and its lines may be edited by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.recordings.recording import read_recording
from tests.pytest_cosmos_venv.recordings.conftest import MakeReplay
from tests.pytest_cosmos_venv.recordings.recorded_shop import NODES, write_recording

DEADLINE = 60.0
RECORDED = {name: status for name, (status, _) in NODES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "recording")


def test_the_commands_and_nodes_are_read(folder: Path) -> None:
    recording = read_recording(folder)

    (command,) = recording.commands
    assert (command.command, command.exit_code, recording.dbt_version) == ("build", 1, "1.11.2")
    assert recording.nodes == RECORDED


def test_lines_and_an_exit_code_that_are_changed_by_hand_are_repeated(
    make_replay: MakeReplay, folder: Path, tmp_path: Path
) -> None:
    (folder / "001-build" / "stdout.txt").write_text("one\ntwo\nthree\nfour\nfive\n", encoding="utf-8")
    index = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    index["commands"][0]["exit_code"] = 5
    (folder / "recording.json").write_text(json.dumps(index), encoding="utf-8")
    dbt = make_replay(folder).dbt

    done = subprocess.run([dbt, "build"], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False)

    assert (done.returncode, done.stdout) == (5, "one\ntwo\nthree\nfour\nfive\n")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("recording.json", "{", "recording.json is no JSON", id="half"),
        pytest.param("recording.json", "[]", "has format None; this toolkit reads 1", id="list"),
        pytest.param("recording.json", '{"format": 2}', "has format 2; this toolkit reads 1", id="format"),
        pytest.param("recording.json", '{"format": 1, "commands": [{}]}', "has no 'folder'", id="entry"),
        pytest.param("001-build/events.jsonl", "{}\n{", "events.jsonl, line 2 is no JSON", id="events"),
    ],
)
def test_files_that_cannot_be_read_are_named(name: str, text: str, words: str, folder: Path) -> None:
    (folder / name).write_text(text, encoding="utf-8")

    with pytest.raises(ToolkitMisuse, match=words):
        _ = [command.events for command in read_recording(folder).commands]
