"""The report of a run: one JSON document, from which every other form is made; and its forms as Markdown and badge.

The badge says in a README what an implementation keeps: only a whole level, with the specification's version. The
Markdown is what a job of a CI shows: a table, and the failures.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest_cosmos_venv
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.suite import REPORT_FILES, RUN_FOLDER

from .. import SPECIFICATION_VERSION, SUITE_VERSION
from ..requirements import COMPATIBILITIES, PROFILES, Level
from .comparison import profiles_not_judged, version_in_words
from .terminal import again, remarks, table_rows
from .verdicts import Judgement, Verdict

if TYPE_CHECKING:
    from ..declaration import Declaration

_FINE = {Verdict.PASSED.value, Verdict.NOT_APPLICABLE.value, Verdict.UNEXPECTED_PASS.value}
_LETTER = 6.6
_ILL = (Verdict.FAILED.value, Verdict.HARNESS_ERROR.value)
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
FORMAT = 1
_LONGEST_EVIDENCE = 8000
_TOOLKIT = str(Path(pytest_cosmos_venv.__file__).parent)
_RUN = re.compile(rf"(?:/[\w.+@-]+)*/{RUN_FOLDER}\w+")
"""The folder of a run, in any text."""
_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s]*@")
_SECRETS = re.compile(
    r"(?i)(?P<name>(?<![\w-])[\w-]*(?:token|password|secret|api[_-]?key)[\w-]*['\"]?\s*[=:]\s*['\"]?)[^\s'\"]{4,}"
)


def badge(report: Mapping[str, Any]) -> str:
    """An SVG: the highest level whose requirements all hold, and the profiles and capabilities that were not judged.

    The badge of a run with servers says so, since that run judges other requirements.

    :param report: the content of a ``report.json``.
    """
    text, color = _claim(report)
    version = version_in_words(report["specification"], report["options"])
    label = f"conformance {version}{' with servers' if report['options'].get('servers') else ''}"
    left, right = (round(_LETTER * len(words)) + 12 for words in (label, text))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" \
aria-label="{escape(f"{label}: {text}")}">
<title>{escape(f"{label}: {text}")}</title>
<rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{color}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2}" y="14">{escape(label)}</text><text x="{left + right / 2}" y="14">{escape(text)}</text>
</g></svg>
"""


def _claim(report: Mapping[str, Any]) -> tuple[str, str]:
    if not report["closing"]["is_complete"]:
        return "incomplete", "#888"
    reached = reached_level(report)
    absent = [*profiles_not_judged(report), *_absent(report["requirements"])]
    without = f" (without {', '.join(absent)})" if absent else ""
    return (f"{reached.value}{without}", "#2a7d3c") if reached else ("not reached", "#b23b3b")


def reached_level(report: Mapping[str, Any]) -> Level | None:
    """The highest level that is reached: all requirements of it and of the levels above hold. None: not even MUST.

    :param report: the content of a ``report.json``.
    """
    found = counts(report["requirements"])
    reached = [*takewhile(lambda level: set(found[level.value]) <= _FINE, Level)]
    return reached[-1] if reached else None


def _absent(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Capabilities that are needed only by requirements that do not apply.

    Compatibilities that are not declared do not count.
    """
    needs: dict[bool, set[str]] = {True: set(), False: set()}
    for each in records:
        needs[each["verdict"] == Verdict.NOT_APPLICABLE.value].update(each["needs"])
    return sorted(needs[True] - needs[False] - {*COMPATIBILITIES})


def summary(report: Mapping[str, Any]) -> str:
    """The report in half a page of Markdown.

    :param report: the content of a ``report.json``.
    """
    one, where = report["implementation"], report["environment"]
    services = one.get("services")
    head, *body = table_rows(report)
    lines = [
        f"## Conformance of {one['name']} {one['version']}",
        "",
        f"Specification {version_in_words(report['specification'], report['options'])}, "
        f"Airflow {where['airflow']}, Python {where['python']}, "
        f"{where['installer']}, {report['closing']['seconds']:.0f} s"
        f"{'' if report['closing']['is_complete'] else ', **incomplete**'}",
        *([f"Partial, not judged: {', '.join(others)}"] if (others := profiles_not_judged(report)) else []),
        *([f"Declared to stay when tasks have ended: {', '.join(services)}"] if services else []),
        "",
        *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)),
        "",
        *(f"- {line}" if not line.startswith("  ") else f"  - {line.strip()}" for line in remarks(report)),
    ]
    failed = [each for each in report["requirements"] if each["verdict"] in _ILL]
    lines += [f"- **{each['id']}** {each['level']}, {each['verdict']}: {each['sentence']}" for each in failed]
    return "\n".join(lines) + "\n"


def report(
    judgements: Sequence[Judgement],
    *,
    implementation: Declaration,
    profiles: Sequence[str],
    installer: str,
    options: Mapping[str, object],
    started: datetime,
    is_complete: bool,
    exit_code: int,
) -> dict[str, Any]:
    """The report of a run, JSON-like; ``report.schema.json`` says what stands in it.

    :param judgements: the judgements of the run.
    :param implementation: the declaration of the implementation.
    :param profiles: those by which it was judged.
    :param installer: what environments were installed with, in words.
    :param options: the options that decide what was judged, and how hard.
    :param started: the time at which the run began.
    :param is_complete: whether nothing was left out or cut off, and the suite itself did not fail. Requirements that
        this machine cannot judge are not left out: they are *not run*, with a test and a reason.
    :param exit_code: the exit code of the run.
    """
    now = datetime.now(timezone.utc)
    records = [_record(each, implementation.named, options) for each in judgements]
    one = {"name": implementation.import_root, "version": implementation.version}
    return {
        "format": FORMAT,
        "specification": SPECIFICATION_VERSION,
        "suite": SUITE_VERSION,
        "implementation": {**one, "services": list(implementation.services)},
        "environment": {
            "airflow": installed_airflow() or "not installed",
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "installer": installer,
            "pytest": metadata.version("pytest"),
        },
        "options": {name: redacted(value) if isinstance(value, str) else value for name, value in options.items()},
        "profiles": {"judged": list(profiles), "not_judged": [name for name in PROFILES if name not in profiles]},
        "started": started.isoformat(timespec="seconds"),
        "requirements": records,
        # Last: a report without it was cut off.
        "closing": {
            "ended": now.isoformat(timespec="seconds"),
            "seconds": round((now - started).total_seconds(), 1),
            "is_complete": is_complete,
            "exit_code": exit_code,
            "counts": counts(records),
        },
    }


def counts(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Level -> verdict -> how many.

    :param records: the requirements of a report.
    """
    found = Counter((each["level"], each["verdict"]) for each in records)
    return {
        level.value: {each.value: found[level.value, each.value] for each in Verdict if found[level.value, each.value]}
        for level in Level
    }


def _record(judgement: Judgement, named: str, options: Mapping[str, object]) -> dict[str, Any]:
    one = judgement.requirement
    return {
        "id": one.id,
        "level": one.level.value,
        "since": one.since,
        "profile": one.profile,
        "sentence": one.sentence,
        "sources": list(one.sources),
        "verdict": judgement.verdict.value,
        # Cut to twice the length before redaction: a secret at the cut must not lose the name that it is known by.
        "evidence": [redacted(text[-2 * _LONGEST_EVIDENCE :])[-_LONGEST_EVIDENCE:] for text in judgement.evidence],
        "pictures": [redacted(picture) for each in judgement.seen for picture in each.pictures],
        "root": judgement.root,
        "depends_on": list(one.depends_on),
        "needs": list(one.needs),
        "tests": [
            {"name": each.test.rpartition("/")[2], "verdict": each.verdict.value, "seconds": round(each.seconds, 2)}
            for each in judgement.seen
        ],
        "again": again(one.id, named, options),
    }


def redacted(text: str) -> str:
    """The text without folders of this machine, and without credentials as far as they are recognised.

    :param text: evidence, a picture, or the value of an option.
    """
    text = _RUN.sub("RUN", text)
    for folder, word in _folders_of_this_machine():
        text = re.sub(rf"{re.escape(folder)}(?![\w-])", word, text)
    text = _CREDENTIALS.sub(r"\g<scheme>****@", text)
    return _SECRETS.sub(r"\g<name>****", text)


def _folders_of_this_machine() -> list[tuple[str, str]]:
    """Folders with the words that stand for them, inner folders before outer ones."""
    modules = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = [(str(Path.home()), "~"), *((each.rstrip("/"), "PYTHONPATH") for each in modules)]
    folders += [(sys.base_prefix, "PYTHON"), (sys.prefix, "ENVIRONMENT"), (_TOOLKIT, Path(_TOOLKIT).name)]
    words = dict(folders) | {os.path.realpath(folder): word for folder, word in folders if folder}
    # The home of some users of containers is /, and a system's Python lies in /usr: both say nothing.
    told = {folder: word for folder, word in words.items() if folder not in ("", "/", "/usr", "/usr/local")}
    return sorted(told.items(), key=lambda each: len(each[0]), reverse=True)


def read_report(file: Path) -> dict[str, Any]:
    """A report that was written, checked against the schema.

    :param file: ``report.json``, or the folder in which it lies.
    :raises ValueError: when the file is no report, or of an unknown format; the text names the file and the fault.
    """
    import jsonschema

    file = file / "report.json" if file.is_dir() else file
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        jsonschema.validate(found, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no JSON, or was cut off: {error}.") from None
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "the document"
        raise ValueError(f"{file} is no report of this suite: {where}: {error.message[:200]}.") from None
    return found


def remove_report(folder: Path) -> None:
    """Remove a report of an earlier run.

    :param folder: the folder in which it lies, if there is one.
    """
    for name in REPORT_FILES:
        (folder / name).unlink(missing_ok=True)


def write_report(folder: Path, found: Mapping[str, Any]) -> list[Path]:
    """Write the report in all its forms; returns the files, ``report.json`` first.

    :param folder: made where it is not there.
    :param found: the report.
    """
    from .html_page import page

    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    texts = (told, page([found]), summary(found), badge(found))
    for name, text in zip(REPORT_FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in REPORT_FILES]
