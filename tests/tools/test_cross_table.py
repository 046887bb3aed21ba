"""The cross table of the faults is kept while it is made, and a second start goes on there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.mutants.mutant import MUTANTS
from tools import cross_table

FIRST, SECOND = list(MUTANTS)[:2]


def row(name: str, *, verdict: str = "caught", beside: Sequence[str] = ()) -> dict[str, object]:
    kills = MUTANTS[name].kills
    return {"name": name, "kills": kills, "story": "a | b", "verdict": verdict, "failed": [kills, *beside]}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cross_table, "KEPT", tmp_path / "mutants.json")
    monkeypatch.setattr(cross_table, "PAGE", tmp_path / "mutants.md")
    return tmp_path / "mutants.json"


def judged(monkeypatch: pytest.MonkeyPatch, **verdicts: str) -> list[str]:
    asked: list[str] = []

    def judge(names: Sequence[str]) -> cross_table.Known:
        asked.extend(names)
        return {name: {**row(name, verdict=verdicts.get(name, "caught")), "date": "2026-01-02"} for name in names}

    monkeypatch.setattr(cross_table, "judge", judge)
    return asked


def test_who_is_known_is_not_judged_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = judged(monkeypatch)
    cross_table.main(["--most", "1"])

    assert cross_table.main([]) == 0

    assert sorted(asked) == sorted(cross_table.ORDINARY)
    assert sorted(json.loads(kept.read_text())) == sorted(cross_table.ORDINARY)
    assert {MUTANTS[name].kills.partition("-")[0] for name in {*MUTANTS}.difference(asked)} == {"WATCH"}


def test_all_are_judged_again_when_that_is_asked(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = judged(monkeypatch)
    cross_table.main(["--most", "1"])

    cross_table.main(["--again", "--most", "1"])

    assert asked == [FIRST, FIRST]


def test_a_fault_that_is_no_more_leaves_the_table(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch)
    kept.write_text(json.dumps({"Gone": {**row(FIRST), "name": "Gone", "date": "2026-01-01"}}))

    cross_table.main(["--most", "1"])

    assert list(json.loads(kept.read_text())) == [FIRST]


def test_a_fault_that_another_requirement_must_catch_by_now_is_judged_again(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = judged(monkeypatch)
    old = {**row(FIRST), "kills": "ZZZ-001"}
    known = {name: {**each, "date": "2026-01-01"} for name, each in ((FIRST, old), (SECOND, row(SECOND)))}
    kept.write_text(json.dumps(known))

    cross_table.main(["--most", "1"])

    assert asked == [FIRST]


def test_the_page_alone_is_written_anew_and_names_who_is_not_in_it(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = judged(monkeypatch)
    kept.write_text(json.dumps({FIRST: {**row(FIRST), "date": "2026-01-01"}}))

    assert cross_table.main(["--most", "0"]) == 0

    page = kept.with_suffix(".md").read_text().replace("\n", " ")
    assert asked == []
    assert f" 1 of {len(cross_table.ORDINARY)} faults" in page
    assert f"The other {len(cross_table.ORDINARY) - 1} were judged by the requirements of their own area alone" in page
    assert f"not in the table: {SECOND}, " in page


@pytest.mark.usefixtures("kept")
def test_one_that_was_missed_makes_the_run_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, **{FIRST: "NOT CAUGHT"})

    assert cross_table.main(["--most", "2"]) == 1


def test_the_page_tells_what_fails_beside() -> None:
    missed = row(SECOND, verdict="NOT CAUGHT")
    known = {
        FIRST: {**row(FIRST, beside=["ZZZ-001"]), "date": "2026-01-01"},
        SECOND: {**missed, "date": "2026-01-02", "failed": []},
    }

    page = cross_table.page(known)

    assert f"| {FIRST} | a \\| b | {MUTANTS[FIRST].kills} | ZZZ-001 |" in page
    assert f"**NOT CAUGHT** ({MUTANTS[SECOND].kills})" in page
    assert "2 of" in page
    assert "2026-01-01 to 2026-01-02; 1 were not" in page
