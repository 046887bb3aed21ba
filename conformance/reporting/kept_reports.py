"""Reports that are kept for others, in ``<specification version>/<implementation>/``, and the faults of such a folder.

A folder holds ``report.json``, the report of the run with servers if there is one, a README.md with the commands that
make both again, and the list of known failures if the run had one. A maintainer makes a report again by this README:
``faults`` names what would prevent that.

``implementations_page`` is the page of all implementations with kept reports: the level that each reaches, and its
numbers. It shows the two newest versions of the specification, so that a reader can compare an implementation with its
last state.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.version import Version

from .. import SPECIFICATION_VERSION
from ..requirements import read_specification
from .comparison import Report, Tally, profiles_not_judged
from .report import reached_level, read_report
from .terminal import a_few
from .verdicts import Verdict

REPORT, SERVERS_REPORT, README, KNOWN_FAILURES = "report.json", "report-servers.json", "README.md", "known-failures.txt"
_FILES = (REPORT, SERVERS_REPORT, README, KNOWN_FAILURES)
UNKNOWN = "unknown"
_SHOWN_VERSIONS = 2
_HEAD = """# Implementations, and what they meet

`cosmos-conformance implementations` generates this page from the [kept reports]({kept}).
[How to hand in a report](../../how-to/conformance.md#hand-in-a-report) says how to add another implementation.

An implementation has reached a level if it meets each applicable requirement of it, and of the levels to its left.
In "8 of 9", 9 requirements were judged, or are declared to differ on purpose, and 8 of these are met.
A requirement that needs a capability which the implementation lacks is *n/a*. "With servers" is the [run with
servers](../../how-to/conformance.md#the-run-with-servers).
"""


def kept_folders(folder: Path) -> list[Path]:
    """The folders of implementations: the folders at or below a folder that hold no other folder.

    :param folder: an existing folder.
    """
    below = sorted(each for each in folder.iterdir() if each.is_dir())
    return [found for each in below for found in kept_folders(each)] if below else [folder]


def versions(kept: Path) -> list[Path]:
    """The folders of specification versions, the newest first.

    :param kept: the folder of all kept reports.
    """
    return sorted((each for each in kept.iterdir() if each.is_dir()), key=lambda each: Version(each.name), reverse=True)


def faults(folder: Path) -> list[str]:
    """The faults that keep a folder from being accepted, a sentence for each; empty: the folder is valid.

    :param folder: of one implementation, in the folder of a specification version.
    """
    present = {each.name for each in folder.iterdir()}
    found = [
        f"{folder / name} does not belong into the folder of an implementation: leave it out."
        for name in sorted(present.difference(_FILES))
    ]
    for name in sorted({REPORT} | (present & {SERVERS_REPORT})):
        try:
            report = read_report(folder / name)
        except ValueError as error:
            found.append(str(error))
        else:
            of_report = _of_report(report, folder, has_servers=name == SERVERS_REPORT)
            found += [f"{folder / name} {fault}" for fault in of_report]
            found += _of_readme(folder / README, report)
    return found


def _of_report(report: Report, folder: Path, *, has_servers: bool) -> Iterator[str]:
    version, closing = report["specification"], report["closing"]
    if folder.resolve().parent.name != version:
        yield f"is of specification {version}: put its folder into one that is named {version}."
    if report["implementation"]["version"] == UNKNOWN:
        yield "names no version: give the adapter the attribute version, or install the distribution."
    for option, what in (("profiles", "profiles into which the adapter opts"), ("spec", "requirements")):
        if report["options"].get(option):
            yield f"is of a run with --cosmos-{option}: judge all {what}."
    if not closing["is_complete"] or closing["exit_code"] not in (0, 1):
        yield f"is of a run without a verdict (exit code {closing['exit_code']}): judge all requirements, to the end."
    if report["options"].get("known_failures") and not (folder / KNOWN_FAILURES).exists():
        yield f"is of a run with a list of known failures: hand in the list too, as {KNOWN_FAILURES}."
    judged = {each["id"] for each in report["requirements"]}
    profiles = report.get("profiles", {}).get("judged", ())
    run = {
        name for name, one in read_specification().items() if one.has_servers is has_servers and one.profile in profiles
    }
    if version == SPECIFICATION_VERSION and judged != run:
        way = "with --cosmos-servers" if has_servers else "without --cosmos-servers"
        yield f"does not have the requirements of a run {way} ({a_few(sorted(judged ^ run))}): hand in a whole run."


def _of_readme(file: Path, report: Report) -> Iterator[str]:
    words = reproducing_words(report)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not any(set(words) <= set(line.strip("` ").split()) for line in lines):
        yield f"{file} lacks the command that makes the report again, a line with: {' '.join(words)}"


def reproducing_words(report: Report) -> Sequence[str]:
    """The words of the command that makes a report again, without those that choose a requirement.

    :param report: the content of a ``report.json``.
    """
    again = next((str(each["again"]) for each in report["requirements"]), "pytest --cosmos-conformance")
    return [word for word in again.split() if not word.startswith("--cosmos-requirement=")]


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
        of_servers = read_report(servers)["closing"]["counts"] if servers.exists() else {}
        environment = report["environment"]
        lines.append(
            _row(
                [
                    f"[{folder.name}]({_link(folder / README, beside)})",
                    report["implementation"]["version"],
                    _level_in_words(report),
                    *(_in_words(counts.get(group, {})) for group in groups),
                    _in_words(sum(map(Counter, of_servers.values()), Counter())),
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


def _in_words(counts: Mapping[str, int]) -> str:
    tally = Tally(counts=counts)
    if tally.applies_to_nothing:
        return "-"
    not_applicable = counts.get(Verdict.NOT_APPLICABLE.value, 0)
    return f"{tally}{f', {not_applicable} n/a' if not_applicable else ''}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _link(target: Path, beside: Path) -> str:
    return Path(os.path.relpath(target, beside)).as_posix()
