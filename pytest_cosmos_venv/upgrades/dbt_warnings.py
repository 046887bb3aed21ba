"""dbt's own warnings, such as deprecations, read from dbt's log file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "DBT_LOG_FORMAT_FILE": "json",
        "DBT_LOG_LEVEL_FILE": "warn",
        # Most deprecations are found by parsing, and with partial parsing dbt 1 reports them only once for a file.
        "DBT_PARTIAL_PARSE": "false",
    }
)
"""The environment variables that make dbt write the log that this module reads."""
# These events repeat the status of a node or an earlier warning.
_OTHERWISE_TOLD = frozenset(
    {"DeprecationsSummary", "LogFreshnessResult", "LogTestResult", "RunResultWarning", "RunResultWarningMessage"}
)
_OF_THE_PROJECT = frozenset({"JinjaLogWarning", "JinjaWarn"})
"""The events of ``exceptions.warn`` in a macro or a model: all have the same name, and texts of the project."""
_BEGINNING = re.compile(r"^\d\d:\d\d:\d\d\.\d+ \[(\w+) *\]: ", re.MULTILINE)
"""The beginning of an event in a text log: dbt 2.0.0a4 accepts the setting for JSON and ignores it."""
_BEFORE = re.compile(r"\A\[WARNING\](\[\w+\])?: *")
_CODED = re.compile(r"\[(?P<name>\w+) \(dbt\d+\)\]: ")
_PLACE = re.compile(r"\s*-->.*", re.DOTALL)


def warnings_of(log: Path) -> dict[str, str]:
    """Return the distinct warnings of a log: key -> dbt's text.

    The key is the name of the warning, because releases word their warnings differently. For a warning of
    ``exceptions.warn``, the key is its text without the place.

    :param log: the file ``dbt.log``.
    """
    if not log.is_file():
        return {}
    text = log.read_text(encoding="utf-8", errors="replace")
    found: dict[str, str] = {}
    for name, told in _of_json(text) if text.startswith("{") else _of_text(text):
        if name not in _OTHERWISE_TOLD:
            key = " ".join(_PLACE.sub("", told).split()) if name in _OF_THE_PROJECT else name
            found.setdefault(key, told)
    return found


def _of_json(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and words of each warning of dbt 1."""
    for line in text.splitlines():
        try:
            info = json.loads(line)["info"]
        except ValueError:  # dbt was killed while it wrote
            continue
        if info["level"] == "warn":
            yield info["name"], _BEFORE.sub("", info["msg"]).strip()


def _of_text(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and words of each warning of dbt 2."""
    parts = _BEGINNING.split(text)
    for level, told in zip(parts[1::2], parts[2::2], strict=True):
        coded = _CODED.match(told)
        if level == "warn":
            yield (coded["name"], told[coded.end() :].strip()) if coded else (told.strip(), told.strip())
