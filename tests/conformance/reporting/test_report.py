"""Tests of the report that a run leaves behind, in its forms, and of the comparison of several."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from conformance import SPECIFICATION_VERSION
from conformance.command import main
from conformance.declaration import Declaration
from conformance.reporting.html_page import page
from conformance.reporting.report import badge, read_report, redacted, report, summary, write_report
from conformance.reporting.verdicts import Judgement, Seen, Verdict
from conformance.requirements import PROFILES, Level, Requirement

OPTIONS: Mapping[str, object] = {"level": "must", "installer": "pip", "timeout": None}
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def judged(
    unique: str,
    level: Level,
    verdict: Verdict,
    *,
    evidence: str = "",
    needs: tuple[str, ...] = (),
    picture: str = "",
) -> Judgement:
    one = Requirement(
        id=unique,
        level=level,
        sentence=f"{unique} <holds> & how.",
        sources=("Operator page",),
        needs=needs,
    )
    seen = Seen(
        test=f"/somewhere/conformance/test_x.py::test_{unique}",
        requirement=unique,
        verdict=verdict,
        evidence=evidence,
        pictures=(picture,) if picture else (),
    )
    return Judgement(requirement=one, verdict=verdict, seen=(seen,))


def reported(
    *judgements: Judgement,
    name: str = "cosmos_venv",
    is_complete: bool = True,
    services: tuple[str, ...] = (),
    options: Mapping[str, object] = OPTIONS,
    profiles: Sequence[str] = tuple(PROFILES),
) -> dict[str, Any]:
    implementation = Declaration(
        named=name, kind="Mine", import_root=name, version="1.2", differs={}, services=services
    )
    return report(
        judgements,
        implementation=implementation,
        profiles=profiles,
        installer="uv",
        options=options,
        started=datetime.now(timezone.utc) - timedelta(seconds=90),
        is_complete=is_complete,
        exit_code=0,
    )


SOUND = (
    judged("LOCK-001", Level.MUST, Verdict.PASSED, picture=PICTURE),
    judged("LOCK-002", Level.SHOULD, Verdict.FAILED, evidence="It must wait; seen: <b>two</b> installers"),
    judged("SEED-001", Level.BEYOND, Verdict.NOT_APPLICABLE, needs=("watcher",)),
)


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = reported(*SOUND)

    files = write_report(tmp_path / "new" / "folder", written)

    assert sorted(file.name for file in files) == ["badge.svg", "report.html", "report.json", "summary.md"]
    assert read_report(tmp_path / "new" / "folder" / "report.json") == written
    assert written["closing"]["counts"]["MUST"] == {"passed": 1}
    assert written["requirements"][0]["tests"][0]["name"] == "test_x.py::test_LOCK-001"
    assert written["requirements"][1]["again"].endswith("--cosmos-requirement=LOCK-002 --cosmos-installer=pip")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda text: text[: len(text) // 2], "is no JSON, or was cut off", id="cut-off"),
        pytest.param(lambda text: text.replace('"closing"', '"end"'), "is no report of this suite", id="no-closing"),
        pytest.param(lambda text: text.replace('"passed",', '"fine",'), "requirements/0", id="unknown-verdict"),
    ],
)
def test_what_is_no_report_is_refused_with_the_place(tmp_path: Path, spoil: Any, message: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(spoil(json.dumps(reported(*SOUND))))

    with pytest.raises(ValueError, match=message):
        read_report(file)


def test_a_report_says_how_long_each_area_took_and_of_which_version_the_requirements_are() -> None:
    one, two = judged("LOCK-001", Level.MUST, Verdict.PASSED), judged("LOCK-002", Level.MUST, Verdict.PASSED)
    slow = replace(one, seen=(replace(one.seen[0], seconds=41.4),))
    short = replace(two, seen=(replace(two.seen[0], seconds=0.2),))
    found = reported(slow, short, judged("CMD-001", Level.MUST, Verdict.PASSED), options={**OPTIONS, "spec": "1.1"})

    assert "\n| LOCK | 2 of 2 | - | - | 42 s |\n" in summary(found)
    assert 'title="time of checks">42 s<' in page([found])
    assert "time of checks" not in page([found, found]), "beside another run it says nothing"
    for text in (summary(found), page([found]), badge(found)):
        assert f"{SPECIFICATION_VERSION}, requirements of 1.1" in text


def test_no_home_and_no_credential_stands_in_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    said = "in /home/me/dbt: https://user:p@ss@host/simple, DBT_PASSWORD=hunter22 and api_key: 'abcdef'"

    assert redacted(said) == "in ~/dbt: https://****@host/simple, DBT_PASSWORD=**** and api_key: '****'"


def test_no_folder_that_modules_are_imported_from_stands_in_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/pier/main", "/pier/main/adapters", ""]))

    said = 'File "/pier/main/adapters/tiny.py", in /pier/main/x and /pier/main2, /pier/main.'

    assert redacted(said) == 'File "PYTHONPATH/tiny.py", in PYTHONPATH/x and /pier/main2, PYTHONPATH.'


def test_the_folder_of_the_run_is_told_by_one_word() -> None:
    said = "dbt in /scratch/x-1/cosmos-conformance-m48smwu4/pytest/0a/venv, not /cosmos-conformance-m48smwu4/tmp"

    assert redacted(said) == "dbt in RUN/pytest/0a/venv, not RUN/tmp"


def test_the_page_shows_evidence_as_text_and_pictures_as_images_and_asks_nobody() -> None:
    text = page([reported(*SOUND)])

    assert "seen: &lt;b&gt;two&lt;/b&gt; installers" in text
    assert "alert(1)" not in text
    assert "data:image/svg+xml;base64," in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)


@pytest.mark.parametrize(
    ("judgements", "is_complete", "words"),
    [
        pytest.param(SOUND, True, "MUST (without watcher)", id="a-should-fails"),
        pytest.param(SOUND[:1], True, "BEYOND", id="all-passed"),
        pytest.param(
            [
                judged("A-001", Level.MUST, Verdict.PASSED, needs=("dags",)),
                judged("A-002", Level.MUST, Verdict.NOT_APPLICABLE, needs=("dags", "watcher")),
            ],
            True,
            "BEYOND (without watcher)",
            id="what-others-need-is-there",
        ),
        pytest.param(
            [
                judged("A-001", Level.MUST, Verdict.PASSED, needs=("dags",)),
                judged("A-002", Level.BEYOND, Verdict.NOT_APPLICABLE, needs=("dags", "renders_as_cosmos_1_15")),
            ],
            True,
            "BEYOND",
            id="a-compatibility-that-nobody-declared",
        ),
        pytest.param(SOUND, False, "incomplete", id="incomplete"),
        pytest.param([judged("A-001", Level.MUST, Verdict.KNOWN_FAILURE)], True, "not reached", id="a-known-failure"),
        pytest.param([judged("A-001", Level.MUST, Verdict.NOT_RUN)], True, "not reached", id="a-must-was-not-run"),
    ],
)
def test_the_badge_claims_a_level_of_which_all_holds(
    judgements: list[Judgement], is_complete: bool, words: str
) -> None:
    assert f"<title>conformance {SPECIFICATION_VERSION}: {words}</title>" in badge(
        reported(*judgements, is_complete=is_complete)
    )


def test_a_badge_a_summary_and_a_page_name_what_was_judged_and_what_stays_by_design() -> None:
    options = {**OPTIONS, "servers": True}
    found = reported(*SOUND[:1], profiles=["core", "dags", "locks"], services=("pier-server",), options=options)

    assert found["profiles"]["not_judged"] == ["seeds", "watcher", "async", "machines"]
    assert "BEYOND (without seeds, watcher, async, machines)</title>" in badge(found)
    assert "\nPartial, not judged: seeds, watcher, async, machines\n" in summary(found)
    assert "partial, not judged: seeds, watcher, async, machines" in page([found])
    assert f"<title>conformance {SPECIFICATION_VERSION} with servers: " in badge(found)
    assert "Profile core." in page([found])
    assert all("when tasks have ended: pier-server" in text for text in (summary(found), page([found])))


def test_the_command_writes_a_page_of_several_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cosmos_venv", "cosmos"):
        write_report(tmp_path / name, reported(*SOUND, name=name))
    reports = [str(tmp_path / name / "report.json") for name in ("cosmos_venv", "cosmos")]

    code = main(["compare", *reports, "--html", str(tmp_path / "both.html")])

    assert code == 0
    assert "cosmos_venv 1.2" in capsys.readouterr().out
    assert "<title>Conformance of cosmos_venv, cosmos</title>" in (tmp_path / "both.html").read_text()


def test_the_command_says_which_file_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "missing.json")]) == 2
    assert "missing.json cannot be read: No such file" in capsys.readouterr().err


def test_what_the_suite_failed_to_judge_and_what_is_otherwise_on_purpose_is_neither_kept_nor_not_kept() -> None:
    broken = judged("LOCK-001", Level.MUST, Verdict.HARNESS_ERROR)
    declared = judged("LOCK-002", Level.MUST, Verdict.DIFFERS)

    found = reported(broken, declared)

    shown = page([found])
    assert re.findall(r"<h2>(.+?) <", shown) == ["The suite itself failed", "Different on purpose"]
    assert "<b>0</b> of 1<" in shown
    assert "none applies" not in shown
    assert "- **LOCK-001** MUST, harness error: LOCK-001 <holds> & how." in summary(found)


def test_a_failure_of_the_run_with_servers_is_judged_again_in_it() -> None:
    one = judged("WATCH-001", Level.SHOULD, Verdict.FAILED)

    (record,) = reported(one, options={**OPTIONS, "servers": True})["requirements"]

    assert record["again"].startswith("pytest --cosmos-conformance --cosmos-servers --cosmos-implementation=")
