"""What does a run leave behind for others? One JSON document, from which every other form of the report is made."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest_cosmos_venv

from . import SPECIFICATION_VERSION, SUITE_VERSION
from .judging import Judgement, Verdict
from .requirements import Level
from .terminal import again

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
FORMAT = 1
_LONGEST_EVIDENCE = 8000
_TOOLKIT = str(Path(pytest_cosmos_venv.__file__).parent)
_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s]*@")
_SECRETS = re.compile(
    r"(?i)(?P<name>[\w-]*(?:token|password|secret|api[_-]?key)[\w-]*['\"]?\s*[=:]\s*['\"]?)[^\s'\"]{4,}"
)


def report(
    judgements: Sequence[Judgement],
    *,
    implementation: str,
    named: str,
    version: str,
    services: Sequence[str],
    airflow: str,
    installer: str,
    options: Mapping[str, object],
    started: datetime,
    is_complete: bool,
    exit_code: int,
) -> dict[str, Any]:
    """The report of a run, JSON-like; ``report.schema.json`` says what stands in it.

    :param implementation: its import root.
    :param named: the same or its adapter, as ``--cosmos-implementation`` takes it.
    :param services: processes that it declares to stay when its tasks have ended.
    :param options: those that decide what was judged, and how hard.
    :param is_complete: whether nothing was left out or cut off, and the suite itself did not fail. What this machine
        cannot judge leaves it so: it is *not run* with a test and a reason.
    """
    now = datetime.now(timezone.utc)
    return {
        "format": FORMAT,
        "specification": SPECIFICATION_VERSION,
        "suite": SUITE_VERSION,
        "implementation": {"name": implementation, "version": version, "services": list(services)},
        "environment": {
            "airflow": airflow,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "installer": installer,
            "pytest": metadata.version("pytest"),
        },
        "options": {name: redacted(value) if isinstance(value, str) else value for name, value in options.items()},
        "started": started.isoformat(timespec="seconds"),
        "requirements": [_record(each, named, options) for each in judgements],
        # Last: a report without it was cut off.
        "closing": {
            "ended": now.isoformat(timespec="seconds"),
            "seconds": round((now - started).total_seconds(), 1),
            "is_complete": is_complete,
            "exit_code": exit_code,
            "counts": counts(judgements),
        },
    }


def counts(judgements: Sequence[Judgement]) -> dict[str, dict[str, int]]:
    """Level -> verdict -> how many."""
    found = Counter((each.requirement.level, each.verdict) for each in judgements)
    return {
        level.value: {verdict.value: found[level, verdict] for verdict in Verdict if found[level, verdict]}
        for level in Level
    }


def _record(judgement: Judgement, named: str, options: Mapping[str, object]) -> dict[str, Any]:
    one = judgement.requirement
    return {
        "id": one.id,
        "level": one.level.value if one.level else None,
        "sentence": one.sentence,
        "sources": list(one.sources),
        "verdict": judgement.verdict.value,
        "evidence": [redacted(text)[-_LONGEST_EVIDENCE:] for text in judgement.evidence],
        "pictures": [picture for each in judgement.seen for picture in each.pictures],
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
    """The text without this user's home, and without credentials as far as they can be told."""
    home = str(Path.home())
    text = text.replace(home, "~") if len(home) > 1 else text
    text = text.replace(sys.prefix, "ENVIRONMENT").replace(_TOOLKIT, Path(_TOOLKIT).name)
    text = _CREDENTIALS.sub(r"\g<scheme>****@", text)
    return _SECRETS.sub(r"\g<name>****", text)


def read_report(file: Path) -> dict[str, Any]:
    """A report that was written, checked against the schema.

    :param file: ``report.json``, or the folder in which it lies.
    :raises ValueError: when it is none, or of a format that is not known; with the file and what is wrong.
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


def write_report(folder: Path, found: Mapping[str, Any]) -> list[Path]:
    """Write the report in all its forms; returns the files.

    :param folder: made where it is not there.
    """
    from .badge import badge
    from .html_page import page
    from .markdown import summary

    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "report.json": json.dumps(found, indent=1, ensure_ascii=False) + "\n",
        "report.html": page([found]),
        "summary.md": summary(found),
        "badge.svg": badge(found),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]
