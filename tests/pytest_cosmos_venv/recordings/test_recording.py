"""A recording is read, edited by a call or by hand, and written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv import ToolkitMisuse, read_recording
from pytest_cosmos_venv.fixtures.recordings import MakeReplay
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


def test_a_model_that_fails_takes_what_lies_behind_it_along(folder: Path) -> None:
    edited = read_recording(folder).fail("model.shop.orders", "relation is gone")

    assert edited.nodes == {
        **RECORDED,
        "model.shop.orders": "error",
        "test.shop.unique_orders_id.1a2b": "skipped",
        "model.shop.totals": "skipped",
    }
    rows = {row["unique_id"]: row for row in edited.commands[0].artifact("run_results.json")["results"]}
    assert rows["model.shop.orders"]["message"] == "relation is gone"
    assert rows["model.shop.orders"]["adapter_response"] == {}
    assert (rows["model.shop.totals"]["message"], rows["model.shop.totals"]["timing"]) == (None, [])
    assert read_recording(folder).nodes == RECORDED  # the files are as they were


def test_a_test_that_fails_in_a_build_takes_what_reads_its_model_along(folder: Path) -> None:
    edited = read_recording(folder).fail("unique_orders_id")

    assert edited.nodes["test.shop.unique_orders_id.1a2b"] == "fail"
    assert edited.nodes["model.shop.totals"] == "skipped"
    assert edited.nodes["model.shop.orders"] == "success"


def test_a_test_that_warns_takes_nothing_along(folder: Path) -> None:
    edited = read_recording(folder).warn("unique_orders_id")

    assert edited.nodes == {**RECORDED, "test.shop.unique_orders_id.1a2b": "warn"}
    (row,) = [
        each for each in edited.commands[0].artifact("run_results.json")["results"] if "test" in each["unique_id"]
    ]
    assert (row["message"], row["failures"]) == ("Got 1 result, configured to warn if != 0", 1)


def test_a_node_is_skipped_with_what_lies_behind_it(folder: Path) -> None:
    edited = read_recording(folder).skip("orders")

    assert [name for name, status in edited.nodes.items() if status == "skipped"] == [
        "model.shop.orders",
        "test.shop.unique_orders_id.1a2b",
        "model.shop.totals",
        "model.shop.below",
    ]


def test_edits_follow_each_other(folder: Path) -> None:
    edited = read_recording(folder).end("broken", "success").end("below", "success").end("totals", "partial success")

    assert edited.nodes == {
        **RECORDED,
        "model.shop.broken": "success",
        "model.shop.below": "success",
        "model.shop.totals": "partial success",
    }


@pytest.mark.parametrize(
    ("node", "status", "words"),
    [
        pytest.param(
            "ordres", "error", "no recorded command ran such a node. Those that ran: seed.shop.piers, ", id="node"
        ),
        pytest.param("orders", "pass", "a model does not end so", id="status-of-a-test"),
    ],
)
def test_what_cannot_be_is_refused(node: str, status: str, words: str, folder: Path) -> None:
    with pytest.raises(ToolkitMisuse, match=words):
        read_recording(folder).end(node, status)


def test_an_edited_recording_is_replayed_with_log_results_and_exit_code(
    cosmos_replay: MakeReplay, folder: Path, tmp_path: Path
) -> None:
    recording = read_recording(folder).end("broken", "success").end("below", "success")
    replay = cosmos_replay(recording)

    assert run(replay.dbt, tmp_path) == (0, "Done. PASS=6 WARN=0 ERROR=0 SKIP=0 NO-OP=0 TOTAL=6")

    replay.fail("orders", "relation is gone")
    assert run(replay.dbt, tmp_path) == (1, "Done. PASS=3 WARN=0 ERROR=1 SKIP=2 NO-OP=0 TOTAL=6")

    replay.recording = recording
    replay.warn("unique_orders_id")
    assert run(replay.dbt, tmp_path) == (0, "Done. PASS=5 WARN=1 ERROR=0 SKIP=0 NO-OP=0 TOTAL=6")

    replay.skip("totals")
    assert run(replay.dbt, tmp_path) == (0, "Done. PASS=4 WARN=1 ERROR=0 SKIP=1 NO-OP=0 TOTAL=6")


def run(dbt: Path, folder: Path) -> tuple[int, str]:
    (folder / "dbt_project.yml").write_text("name: shop\n", encoding="utf-8")
    done = subprocess.run([dbt, "build"], cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)
    return done.returncode, done.stdout.splitlines()[-1].partition("  ")[2]


def test_a_status_that_is_changed_by_hand_changes_log_and_exit_code(
    cosmos_replay: MakeReplay, folder: Path, tmp_path: Path
) -> None:
    file = folder / "001-build" / "artifacts" / "run_results.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"status": "error"', '"status": "success"', 1), encoding="utf-8")

    assert run(cosmos_replay(folder).dbt, tmp_path) == (0, "Done. PASS=5 WARN=0 ERROR=0 SKIP=1 NO-OP=0 TOTAL=6")


def test_lines_and_an_exit_code_that_are_changed_by_hand_are_repeated(
    cosmos_replay: MakeReplay, folder: Path, tmp_path: Path
) -> None:
    (folder / "001-build" / "stdout.txt").write_text("one\ntwo\nthree\nfour\nfive\n", encoding="utf-8")
    index = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    index["commands"][0]["exit_code"] = 5
    (folder / "recording.json").write_text(json.dumps(index), encoding="utf-8")
    dbt = cosmos_replay(folder).dbt

    done = subprocess.run([dbt, "build"], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False)

    assert (done.returncode, done.stdout) == (5, "one\ntwo\nthree\nfour\nfive\n")


def test_a_recording_is_saved_and_read_again(folder: Path, tmp_path: Path) -> None:
    edited = read_recording(folder).fail("orders")

    saved = edited.save(tmp_path / "edited")
    edited.save(tmp_path / "edited")  # in place of the one that is there

    assert read_recording(saved).files == edited.files


def test_a_folder_of_something_else_is_not_written_into(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear", encoding="utf-8")

    with pytest.raises(ToolkitMisuse, match="the folder holds no recording"):
        read_recording(folder).save(tmp_path / "other")


@pytest.mark.parametrize("name", ["../precious", "{tmp_path}/precious", ".", "..", "", "a/b", 4])
def test_an_index_that_names_another_place_is_refused_and_nothing_is_removed(
    name: object, folder: Path, tmp_path: Path
) -> None:
    other = write_recording(tmp_path / "other")
    (tmp_path / "precious").mkdir()
    index = json.loads((other / "recording.json").read_text(encoding="utf-8"))
    # No place outside of this test's folder: where the check is broken, what is named is removed.
    index["commands"][0]["folder"] = name.format(tmp_path=tmp_path) if isinstance(name, str) else name
    (other / "recording.json").write_text(json.dumps(index), encoding="utf-8")
    recording = read_recording(folder)

    with pytest.raises(ToolkitMisuse, match="name one folder beside it, such as 001-build"):
        recording.save(other)

    assert (tmp_path / "precious").is_dir()
    assert (other / "001-build" / "stdout.txt").is_file()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("recording.json", "[]", "give an object with format", id="list"),
        pytest.param("recording.json", '{"format": 2}', "has format 2; this toolkit reads 1", id="format"),
        pytest.param("recording.json", '{"format": 1, "commands": [{}]}', "has no 'folder'", id="entry"),
        pytest.param("001-build/events.jsonl", "{}\n{", "events.jsonl, line 2 is no JSON", id="events"),
    ],
)
def test_files_that_cannot_be_read_are_named(name: str, text: str, words: str, folder: Path) -> None:
    (folder / name).write_text(text, encoding="utf-8")

    with pytest.raises(ToolkitMisuse, match=words):
        read_recording(folder)
