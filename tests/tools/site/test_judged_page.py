"""The tables of what the conformance suite has found, from the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

from tools.site.judged_page import faults_table, unmet_table


def test_unmet_requirements_stand_by_level_with_all_that_do_not_meet_them(tmp_path: Path) -> None:
    def judged(id_: str, level: str, verdict: str) -> dict[str, str]:
        return {"id": id_, "level": level, "verdict": verdict, "sentence": f"{id_} | holds."}

    reports = {
        "one/report.json": [judged("LOCK-002", "SHOULD", "failed"), judged("ENV-003", "MUST", "passed")],
        "one/report-servers.json": [judged("WATCH-003", "MUST", "failed")],
        "two/report.json": [judged("LOCK-002", "SHOULD", "failed"), judged("ENV-003", "MUST", "not applicable")],
    }
    for name, rows in reports.items():
        file = tmp_path / "1.1" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"requirements": rows}))

    _, _, *rows_shown = unmet_table("1.1", "one", "two", reports=tmp_path).splitlines()

    assert rows_shown == [
        r"| MUST | WATCH-003 | WATCH-003 \| holds. | one |",
        r"| SHOULD | LOCK-002 | LOCK-002 \| holds. | one, two |",
    ]


def test_a_fault_stands_with_its_requirement_and_what_fails_beside(tmp_path: Path) -> None:
    caught = {
        "name": "A",
        "story": "Forgets.",
        "kills": "ENV-003",
        "verdict": "caught",
        "failed": ["ENV-003", "ENV-001"],
    }
    missed = {"name": "B", "story": "Waits.", "kills": "ENV-001", "verdict": "missed", "failed": []}
    (tmp_path / "faults.json").write_text(json.dumps({"A": caught, "B": missed}))

    _, _, *rows_shown = faults_table(tmp_path / "faults.json").splitlines()

    assert rows_shown == ["| B | Waits. | **missed** (ENV-001) |  |", "| A | Forgets. | ENV-003 | ENV-001 |"]
