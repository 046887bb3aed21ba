"""The page of all implementations whose reports are kept: the level that each reaches, and its numbers.

It shows the two newest versions of the specification, so that a reader can compare an implementation with its last
state.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .comparison import Report, Tally, profiles_not_judged
from .kept_reports import README, REPORT, SERVERS_REPORT, kept_folders, versions
from .report import reached_level, read_report
from .verdicts import Verdict

_SHOWN_VERSIONS = 2
_HEAD = """# Implementations, and what they meet

`cosmos-conformance implementations` generates this page from the [kept reports]({kept}).
[How to hand in a report](../../how-to/conformance.md#hand-in-a-report) says how to add another implementation.

An implementation has reached a level if it meets each applicable requirement of it, and of the levels to its left.
In "8 of 9", 9 requirements were judged, or are declared to differ on purpose, and 8 of these are met.
A requirement that needs a capability which the implementation lacks is *n/a*. "With servers" is the [run with
servers](../../how-to/conformance.md#the-run-with-servers).
"""


def implementations_page(kept: Path, beside: Path) -> str:
    """The page as Markdown.

    :param kept: the folder of all kept reports, each of which is valid.
    :param beside: the folder in which the page is to lie: links lead from there.
    :raises ValueError: a report cannot be read, or a folder holds none.
    """
    tables = [_table(version, beside) for version in versions(kept)[:_SHOWN_VERSIONS]]
    return "\n".join([_HEAD.format(kept=_link(kept, beside)), *tables])


def _table(version: Path, beside: Path) -> str:
    found = {folder: read_report(folder / REPORT) for folder in kept_folders(version)}
    groups = list(dict.fromkeys(name for report in found.values() for name in report["closing"]["counts"]))
    head = ["implementation", "version", "level", *groups, "with servers", "Airflow", "Python", "installer", "judged"]
    lines = [f"## Specification {version.name}", "", _row(head), _row(["---"] * len(head))]
    for folder, report in found.items():
        counts = report["closing"]["counts"]
        servers = folder / SERVERS_REPORT
        environment = report["environment"]
        lines.append(
            _row(
                [
                    f"[{folder.name}]({_link(folder / README, beside)})",
                    report["implementation"]["version"],
                    _level_in_words(report),
                    *(_in_words(counts.get(group, {})) for group in groups),
                    _in_words(_whole(read_report(servers))) if servers.exists() else "-",
                    environment["airflow"],
                    environment["python"],
                    environment["installer"],
                    report["started"][:10],
                ]
            )
        )
    return "\n".join(lines) + "\n"


def _level_in_words(report: Report) -> str:
    level, others = reached_level(report), profiles_not_judged(report)
    without = f", without {', '.join(others)}" if others else ""
    return f"{level.value if level else 'not reached'}{without}"


def _whole(report: Report) -> Mapping[str, int]:
    return sum(map(Counter, report["closing"]["counts"].values()), Counter())


def _in_words(counts: Mapping[str, int]) -> str:
    tally = Tally(counts=counts)
    if tally.applies_to_nothing:
        return "-"
    not_applicable = counts.get(Verdict.NOT_APPLICABLE.value, 0)
    return f"{tally.kept} of {tally.counted}{f', {not_applicable} n/a' if not_applicable else ''}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _link(target: Path, beside: Path) -> str:
    return Path(os.path.relpath(target, beside)).as_posix()
