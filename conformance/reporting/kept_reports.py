"""Reports that are kept for others: ``<specification version>/<implementation>/``, and what is wrong with one.

A folder holds ``report.json``, that of the run with servers if there is one, a README.md with the way to make both
again, and the list of known failures if the run had one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from .. import SPECIFICATION_VERSION
from ..requirements import FIRST, Requirement, is_draft, read_specification
from .comparison import Report, rows
from .known_failures import listed_ids
from .report import read_report, without_credentials
from .terminal import a_few
from .verdicts import Verdict, worst

REPORT, SERVERS_REPORT, README, KNOWN_FAILURES = "report.json", "report-servers.json", "README.md", "known-failures.txt"
UNKNOWN = "unknown"
_NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_VERSION_IN_NAME = re.compile(r"-(\d+(?:\.\d+)*)$")
_HOME = re.compile(r"(?<![\w.~/-])(?:/(?:home|Users)/[^/\s]+|/root\b)|\b[A-Za-z]:\\+Users\\")
_FOLDER = re.compile(
    r"(?<![\w.~-])/(?:tmp|workspaces?|builds|__w|app|mnt|media|srv|data|scratch|private|Volumes|var/(?:tmp|folders|lib)"
    r"|opt/hostedtoolcache)/[^\s\"'<>()\[\]{},;]+"
)
"""A path below a folder that people and jobs of a CI work in."""
_FIXED = ("level", "since", "sentence", "sources", "needs", "depends_on")
"""What a report takes from the specification."""


def kept_folders(folder: Path) -> list[Path]:
    """The folders of implementations: the folder itself, or those below it that hold no other folder.

    :param folder: an existing folder.
    """
    below = sorted(each for each in folder.iterdir() if each.is_dir())
    return [found for each in below for found in kept_folders(each)] if below else [folder]


def versions(kept: Path) -> list[Path]:
    """The folders of specification versions, the newest first.

    :param kept: the folder of all kept reports.
    """
    found = [each for each in kept.iterdir() if each.is_dir() and _version(each.name) is not None]
    return sorted(found, key=lambda each: Version(each.name), reverse=True)


def faults(folder: Path) -> list[str]:
    """What keeps a folder from being accepted, a sentence for each fault; none: it is valid.

    :param folder: of one implementation, in one of a specification version.
    """
    present = {each.name for each in folder.iterdir()}
    found = [
        f"{folder} holds {name}, which does not belong there: leave it out."
        for name in sorted(present.difference((REPORT, SERVERS_REPORT, README, KNOWN_FAILURES)))
    ]
    reports: dict[str, Report] = {}
    for name in sorted({REPORT} | (present & {SERVERS_REPORT})):
        try:
            reports[name] = read_report(folder / name)
        except ValueError as error:
            found.append(str(error))
    for name, report in reports.items():
        found += [
            f"{folder / name} {fault}" for fault in _of_report(report, folder, has_servers=name == SERVERS_REPORT)
        ]
    found += _of_readme(folder / README, reports.values())
    found += _of_known_failures(folder, reports)
    for name in sorted(present & {REPORT, SERVERS_REPORT, README, KNOWN_FAILURES}):
        found += _of_secrets(folder / name)
    return found


def _of_report(report: Report, folder: Path, *, has_servers: bool) -> Iterable[str]:
    specification = read_specification()
    yield from _of_names(report, folder, specification)
    yield from _of_versions(report)
    yield from _of_requirements(report, specification, has_servers=has_servers)
    yield from _of_closing(report)
    yield from _of_verdicts(report)
    if report["specification"] == SPECIFICATION_VERSION:
        yield from _of_copies(report, specification)
    if report["specification"] != FIRST:  # whose suite wrote down where it ran
        yield from _of_folders(report)


def _of_names(report: Report, folder: Path, specification: Mapping[str, Requirement]) -> Iterable[str]:
    version, name = report["specification"], folder.resolve().name
    known = {SPECIFICATION_VERSION, FIRST, *(one.since for one in specification.values() if not one.is_draft)}
    if version not in known:
        yield f"is of specification {version}, which this suite does not know: it knows {', '.join(sorted(known))}."
    if folder.resolve().parent.name != version:
        yield f"is of specification {version}: put its folder into one that is named {version}."
    if not _NAME.fullmatch(name):
        yield f"lies in {name!r}: name the folder in small letters, digits, dots and hyphens."
    in_name, own = _VERSION_IN_NAME.search(name), f"{report['implementation']['version']}."
    if in_name and not own.startswith(f"{in_name[1]}."):
        yield f"is of version {own[:-1]}, and lies in {name}: name the folder after what was judged."


def _of_versions(report: Report) -> Iterable[str]:
    told = {f"environment/{name}": value for name, value in report["environment"].items()}
    told |= {"implementation/version": report["implementation"]["version"], "suite": report["suite"]}
    for name, value in told.items():
        if value.strip().lower() in ("", UNKNOWN):
            yield f"names no version in {name}: give the adapter the attribute version, or install the distribution."


def _of_requirements(report: Report, specification: Mapping[str, Requirement], *, has_servers: bool) -> Iterable[str]:
    judged = {each["id"] for each in report["requirements"]}
    if strange := sorted(judged.difference(specification)):
        yield f"judges {a_few(strange)}, which the specification does not have."
    run = {one.id for one in specification.values() if one.has_servers is has_servers}
    if others := sorted((judged & set(specification)) - run):
        names = (SERVERS_REPORT, "--cosmos-servers") if has_servers else (REPORT, "the ordinary run")
        yield f"judges {a_few(others)}: {names[0]} is the report of {names[1]} alone."
    asked = _version(report["specification"])
    if asked is None:
        return
    due = {
        one.id
        for one in specification.values()
        if one.id in run and one.level is not None and not one.is_draft and Version(one.since) <= asked
    }
    if missing := sorted(due - judged):
        yield f"lacks {a_few(missing)}: hand in a whole run."


def _of_closing(report: Report) -> Iterable[str]:
    closing = report["closing"]
    if not closing["is_complete"]:
        yield "is of a run that is not complete: judge all requirements, to the end."
    if closing["exit_code"] not in (0, 1):
        yield f"is of a run with the exit code {closing['exit_code']}, which has no verdict: 0 or 1 has one."
    counted = Counter((row.counted_as, str(row.record["verdict"])) for row in rows([report]))
    told = {(group, verdict): n for group, each in closing["counts"].items() for verdict, n in each.items() if n}
    if told != dict(counted):
        yield "counts other verdicts at its end than it lists: hand it in as the run has left it."
    counting = {Verdict.FAILED.value}
    if report["specification"] != FIRST and not report["options"].get("known_failures"):
        counting.add(Verdict.DIFFERS.value)
    broken = [
        each["id"]
        for each in report["requirements"]
        if each["level"] == "MUST" and each["verdict"] in counting and not is_draft(each.get("since", FIRST))
    ]
    if broken and closing["exit_code"] == 0:
        yield f"ends with 0 although {a_few(broken)} failed or differ: hand it in as the run has left it."
    if not _is_in_order(report["started"], closing["ended"]):
        yield f"began at {report['started']} and ended at {closing['ended']}: these are no two times in order."


def _of_verdicts(report: Report) -> Iterable[str]:
    for each in report["requirements"]:
        said, due = each["verdict"], worst({Verdict(test["verdict"]) for test in each["tests"]}).value
        if said != due:
            yield f"says of {each['id']} {said}, and its tests came to {due}: hand it in as the run has left it."


def _of_copies(report: Report, specification: Mapping[str, Requirement]) -> Iterable[str]:
    """Faults of what each report of one version has alike."""
    for each in report["requirements"]:
        one = specification.get(each["id"])
        due = {} if one is None else {name: json.loads(json.dumps(getattr(one, name))) for name in _FIXED}
        if changed := [name for name, value in due.items() if each.get(name) != value]:
            yield f"has another {' and another '.join(changed)} of {each['id']} than the specification."


def _of_folders(report: Report) -> Iterable[str]:
    texts = [str(value) for value in report["options"].values()]
    texts += [text for each in report["requirements"] for text in (*each["evidence"], *each["pictures"])]
    if folders := sorted({found[0] for text in texts for found in _FOLDER.finditer(text)}):
        yield (
            f"names folders of the machine that judged ({a_few(folders)}): judge again with the adapter installed or "
            "in a folder of PYTHONPATH, and with files named relative to the current directory."
        )


def _of_known_failures(folder: Path, reports: Mapping[str, Report]) -> Iterable[str]:
    taken = (Verdict.KNOWN_FAILURE.value, Verdict.UNEXPECTED_PASS.value)
    listed = listed_ids(folder / KNOWN_FAILURES)
    for name, report in reports.items():
        owned = {each["id"] for each in report["requirements"] if each["verdict"] in taken}
        lacking = sorted(owned - listed)
        if lacking:
            yield (
                f"{folder / name} takes {a_few(lacking)} from a list of known failures: hand in the list too, as "
                f"{KNOWN_FAILURES}."
            )


def _of_readme(file: Path, reports: Iterable[Report]) -> Iterable[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        yield f"{file} cannot be read ({type(error).__name__}): say there how to make the report again."
        return
    lines = text.replace("\\\n", " ").splitlines()
    for report in reports:
        words = reproducing_words(report)
        if not any(set(words) <= set(line.strip("` ").split()) for line in lines):
            yield f"{file} lacks the command that makes the report again, a line with: {' '.join(words)}"
        if report["options"].get("known_failures") and not re.search(r"--cosmos-known-failures=\S", text):
            yield (
                f"{file} lacks --cosmos-known-failures={KNOWN_FAILURES} in its command: the run had that list, and "
                "without it verdicts differ."
            )
        told = (report["implementation"]["version"], report["environment"]["airflow"], report["environment"]["python"])
        if absent := [each for each in told if each not in text]:
            yield f"{file} does not name the versions {a_few(absent)} of the report."
    if not re.search(r"(?mi)^## machine\n+[^#\s]", text):
        yield f"{file} has no section '## Machine' that says on what it was judged."


def reproducing_words(report: Report) -> Sequence[str]:
    """The words of the command that makes a report again, without those that choose a requirement.

    :param report: the content of a ``report.json``.
    """
    again = next((str(each["again"]) for each in report["requirements"]), "pytest --cosmos-conformance")
    return [word for word in again.split() if not word.startswith("--cosmos-requirement=")]


def _of_secrets(file: Path) -> Iterable[str]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if homes := sorted({found[0] for found in _HOME.finditer(text)}):
        yield f"{file} names a home directory ({a_few(homes)}): write ~ instead."
    if without_credentials(text) != text:
        words = zip(text.split(), without_credentials(text).split(), strict=False)
        place = next((hidden for shown, hidden in words if shown != hidden), "")
        yield f"{file} has what looks like a credential ({place}): take it out."


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _is_in_order(started: Any, ended: Any) -> bool:
    try:
        return datetime.fromisoformat(started) <= datetime.fromisoformat(ended)
    except (TypeError, ValueError):
        return False
