"""Reports that are kept for others, in ``<specification version>/<implementation>/``, and the faults of such a folder.

A folder holds ``report.json``, the report of the run with servers if there is one, a README.md with the commands that
make both again, and the list of known failures if the run had one. A maintainer makes a report again by this README:
``faults`` names what would prevent that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.version import Version

from .. import SPECIFICATION_VERSION
from ..requirements import read_specification
from .comparison import Report
from .overview import a_few
from .report import read_report

REPORT, SERVERS_REPORT, README, KNOWN_FAILURES = "report.json", "report-servers.json", "README.md", "known-failures.txt"
_FILES = (REPORT, SERVERS_REPORT, README, KNOWN_FAILURES)
UNKNOWN = "unknown"


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
