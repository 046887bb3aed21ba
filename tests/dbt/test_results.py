"""What a failed dbt says."""

from __future__ import annotations

import json
from pathlib import Path

from cosmos_venv.dbt.results import TAIL_LINES, failure_text


def test_failed_nodes_head_the_text_and_dbts_last_lines_follow(tmp_path: Path) -> None:
    results = [
        {"unique_id": "model.p.good", "status": "success", "message": "OK", "timing": []},
        {"unique_id": "model.p.bad", "status": "error", "message": "Binder Error: no column x"},
        {"unique_id": "test.p.unique", "status": "fail", "message": "Got 2 results", "failures": 2},
    ]
    (tmp_path / "run_results.json").write_text(json.dumps({"metadata": {}, "results": results}))

    text = failure_text(target=tmp_path, lines=["\x1b[31mDone.\x1b[0m PASS=1 ERROR=2", ""])

    assert text.splitlines() == [
        "model.p.bad: error: Binder Error: no column x",
        "test.p.unique: fail: Got 2 results",
        "dbt's last lines:",
        "Done. PASS=1 ERROR=2",
    ]


def test_without_results_the_last_lines_have_to_do(tmp_path: Path) -> None:
    text = failure_text(target=tmp_path, lines=[f"line {number}" for number in range(100)])

    assert text.splitlines() == ["dbt's last lines:", *(f"line {number}" for number in range(100 - TAIL_LINES, 100))]


def test_a_broken_results_file_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "run_results.json").write_text('{"results": [{"uni')

    assert failure_text(target=tmp_path, lines=["Compilation Error"]).splitlines()[-1] == "Compilation Error"


def test_a_silent_dbt_is_said_to_be_silent(tmp_path: Path) -> None:
    assert failure_text(target=tmp_path, lines=[]) == "dbt wrote nothing."
