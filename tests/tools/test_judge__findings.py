"""The page findings.md says what the newest kept reports say: their numbers, and what failed in each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.reporting.comparison import Tally, rows, tallies
from conformance.reporting.kept_reports import REPORT, SERVERS_REPORT, kept_folders, versions
from conformance.reporting.report import read_report
from tools.judge import KEPT, PAGES

NEWEST = versions(KEPT)[0]
TEXT = (PAGES / "findings.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part.partition("\n")[2] for part in TEXT.split("\n## ")}
OF_1_15 = ("MUST", "Environments", "Locks and kills", "Seeds, loading, errors, secrets", "A dbt that is a program")
"""Sections with what astronomer-cosmos 1.15 fails in the ordinary run."""
WATCHER = "ExecutionMode.WATCHER"


def failed(name: str, file: str = REPORT, *, version: Path = NEWEST) -> set[str]:
    report = read_report(version / name / file)
    return {each["id"] for each in report["requirements"] if each["verdict"] == "failed"}


def table_rows(section: str) -> list[list[str]]:
    """The cells of each row of a section's tables, without their heads."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in ("requirement", "implementation")]


def ids_in(cell: str) -> list[str]:
    """The ids of a cell such as ``LOCK-007, 016; ENV-001``."""
    found, area = [], ""
    for word in re.findall(r"\b([A-Z]+-\d{3}|\d{3})\b", cell):
        area = word.rpartition("-")[0] or area
        found.append(f"{area}-{word[-3:]}")
    return found


def told(section: str) -> list[str]:
    return [unique for row in table_rows(section) for unique in ids_in(row[0])]


def in_words(report: Mapping[str, Any], *, by_level: bool = False) -> list[str]:
    """The numbers of a report as the page has them, level by level or as one."""
    counts = tallies(rows([report]), 1, by=lambda row: row.counted_as if by_level else "all")
    return [_numbers(tally) for (tally,) in counts.values()]


def _numbers(tally: Tally) -> str:
    absent = tally.counts.get("not applicable", 0)
    return f"{tally.kept} of {tally.counted}{f', {absent} not applicable' if absent else ''}"


def linked(cell: str) -> Path:
    return (PAGES / cell.partition("](")[2].rstrip(")")).resolve()


def test_the_numbers_of_each_implementation_are_those_of_its_newest_report() -> None:
    found = table_rows("# What the suite finds")

    assert {linked(link).parent for *_, link in found} == {*kept_folders(NEWEST)}
    for name, *numbers, link in found:
        report = read_report(linked(link))
        assert name.endswith(f" {report['implementation']['version']}")
        assert numbers == in_words(report, by_level=True), name


def test_the_numbers_of_runs_with_servers_are_those_of_the_newest_reports() -> None:
    found = [row for row in table_rows(WATCHER) if row[-1].startswith("[report]")]

    assert {linked(link) for *_, link in found} == {*NEWEST.glob(f"*/{SERVERS_REPORT}")}
    for name, numbers, seconds, link in found:
        report = read_report(linked(link))
        assert name.endswith(f" {report['implementation']['version']}")
        assert ([numbers], seconds) == (in_words(report), f"{report['closing']['seconds']:.0f}"), name


def test_all_that_astronomer_cosmos_1_15_fails_is_told_and_nothing_else() -> None:
    assert sorted(each for section in OF_1_15 for each in told(section)) == sorted(failed("astronomer-cosmos-1.15"))


def test_what_1_14_fails_beside_that_is_told_and_nothing_else() -> None:
    newer, older = failed("astronomer-cosmos-1.15"), failed("astronomer-cosmos-1.14")

    assert sorted(told("astronomer-cosmos 1.14.2")) == sorted(older - newer)
    assert newer <= older


def test_what_airflows_own_operator_fails_is_told_and_nothing_else() -> None:
    assert sorted(told("dbt in Airflow without Cosmos")) == sorted(failed("plain-airflow"))


def test_what_each_release_fails_with_servers_is_told_and_nothing_else() -> None:
    found = [(row[1], ids_in(row[0])) for row in table_rows(WATCHER) if not row[-1].startswith("[report]")]
    of_1_15, of_1_14 = (
        [each for release, ids in found for each in ids if release in ("both", version)]
        for version in ("1.15.1", "1.14.2")
    )

    assert sorted(of_1_15) == sorted(failed("astronomer-cosmos-1.15", SERVERS_REPORT))
    assert sorted(of_1_14) == sorted(failed("astronomer-cosmos-1.14", SERVERS_REPORT))


def test_this_projects_implementation_fails_nothing() -> None:
    assert failed("cosmos-venv") | failed("cosmos-venv", SERVERS_REPORT) == set()


def test_what_a_version_of_the_specification_has_changed_is_told_for_each_report() -> None:
    found = table_rows("From 1.0 to 1.1")
    oldest = versions(KEPT)[-1]

    told_of = set()
    for name, gone, come, _ in found:
        folder = name.removesuffix(", with servers")
        file = SERVERS_REPORT if name.endswith("servers") else REPORT
        before, now = (failed(folder, file, version=version) for version in (oldest, NEWEST))
        assert (sorted(ids_in(gone)), sorted(ids_in(come))) == (sorted(before - now), sorted(now - before)), name
        told_of.add((folder, file))
    files = [(folder.name, file.name) for folder in kept_folders(NEWEST) for file in folder.glob("report*.json")]
    assert {name for name, file in files if (name, file) not in told_of} == {"cosmos-venv"}
