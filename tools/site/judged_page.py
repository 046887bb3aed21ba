"""What the conformance suite has found, as tables: from the reports that are kept, and from the seeded faults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "conformance" / "reports"
FAULTS = ROOT / "docs" / "reference" / "conformance" / "mutants.json"
_LEVELS = ("MUST", "SHOULD", "BEYOND")


def unmet_table(version: str, *implementations: str, reports: Path = REPORTS) -> str:
    """Return the table of the requirements that an implementation does not meet, by level.

    :param version: of the specification, such as ``1.1``.
    :param implementations: the folders of their reports.
    :param reports: the folder of all reports.
    :raises OSError: there is no such report.
    """
    unmet: dict[tuple[int, str], tuple[str, list[str]]] = {}
    for name in implementations:
        for row in _rows(reports / version / name):
            if row["verdict"] == "failed":
                key = (_LEVELS.index(row["level"]), row["id"])
                unmet.setdefault(key, (row["sentence"], []))[1].append(name)
    head = ["| level | requirement | what it requires | not met by |", "|---|---|---|---|"]
    lines = [
        f"| {_LEVELS[level]} | {id_} | {_cell(sentence)} | {', '.join(names)} |"
        for (level, id_), (sentence, names) in sorted(unmet.items())
    ]
    return "\n".join([*head, *lines, ""])


def faults_table(file: Path = FAULTS) -> str:
    """Return the table of the seeded faults: each fault, the requirement that has to catch it, and others that fail.

    :param file: what ``make mutants-full`` has written.
    :raises OSError: there is no such file.
    """
    faults: Sequence[dict[str, Any]] = list(json.loads(file.read_text(encoding="utf-8")).values())
    head = ["| fault | what it does | caught by | fails also |", "|---|---|---|---|"]
    return "\n".join([*head, *map(_line, sorted(faults, key=lambda row: (row["kills"], row["name"]))), ""])


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The verdicts of the ordinary run, and of the run with servers where there was one."""
    yield from json.loads((folder / "report.json").read_text(encoding="utf-8"))["requirements"]
    servers = folder / "report-servers.json"
    if servers.exists():
        yield from json.loads(servers.read_text(encoding="utf-8"))["requirements"]


def _line(row: dict[str, Any]) -> str:
    by = row["kills"] if row["verdict"] == "caught" else f"**{row['verdict']}** ({row['kills']})"
    beside = ", ".join(each for each in row["failed"] if each != row["kills"])
    return f"| {row['name']} | {_cell(row['story'])} | {by} | {beside} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
