"""The page of all implementations is what the kept reports say, of the two newest versions of the specification."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conformance.command import main
from conformance.reporting.kept_reports import implementations_page, versions
from tools.judge import KEPT, PAGES

PAGE = PAGES / "implementations.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == implementations_page(KEPT, PAGES), (
        f"write it anew: cosmos-conformance implementations conformance/reports {PAGE}"
    )


def test_its_links_lead_somewhere() -> None:
    links = [part.partition(")")[0] for part in PAGE.read_text(encoding="utf-8").split("](")[1:]]

    assert [link for link in links if not (PAGES / link.partition("#")[0]).exists()] == []


def test_it_has_the_two_newest_versions_with_a_line_for_each_implementation(tmp_path: Path) -> None:
    original = versions(KEPT)[-1] / "cosmos-venv"
    for version in ("1.9", "1.10", "1.8"):
        shutil.copytree(original, tmp_path / version / "ferry")

    assert main(["implementations", str(tmp_path), str(tmp_path / "made" / "page.md")]) == 0

    text = (tmp_path / "made" / "page.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Specification 1.10",
        "## Specification 1.9",
    ]
    assert text.count("| [ferry](../1.10/ferry/README.md) | 0.1.0 | BEYOND | 80 of 80, 1 n/a |") == 1


def test_a_folder_without_a_report_is_named_and_the_page_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("barge", "ferry"):
        shutil.copytree(versions(KEPT)[-1] / "cosmos-venv", tmp_path / "1.1" / name)
    missing = tmp_path / "1.1" / "barge" / "report.json"
    missing.unlink()
    written = tmp_path / "page.md"
    written.write_text("as it was", encoding="utf-8")

    assert main(["implementations", str(tmp_path), str(written)]) == 2

    assert f"{missing} cannot be read: No such file or directory." in capsys.readouterr().err
    assert written.read_text(encoding="utf-8") == "as it was"
