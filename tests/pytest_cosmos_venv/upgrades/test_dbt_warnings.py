"""What dbt 1.11, 1.12 and 2.0.0a4 have written of one project, and the warnings in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_cosmos_venv.upgrades.dbt_warnings import warnings_of

DEPRECATED = (
    "[WARNING][MissingArgumentsPropertyInGenericTestDeprecation]: Deprecated\nfunctionality\nFound top-level arguments "
    "to test `accepted_values` defined on 'a' in package\n'dep' (models/a.yml)."
)


def event(name: str, words: str, level: str = "warn") -> str:
    return json.dumps({"data": {}, "info": {"level": level, "msg": words, "name": name}})


def of_dbt_1(of_jinja: str) -> str:
    return "\n".join(
        [
            event("MissingArgumentsPropertyInGenericTestDeprecation", DEPRECATED),
            event("JinjaLogWarning", of_jinja),
            event("JinjaLogWarning", of_jinja),
            event("DeprecationsSummary", "[WARNING][DeprecationsSummary]: Deprecated functionality"),
            event("LogTestResult", "7 of 8 WARN 1 not_null_ships_id"),
            event("RunResultWarningMessage", "Got 1 result, configured to warn if != 0"),
            event("RunResultError", "a table is missing", level="error"),
            '{"data": {}, "info": {"lev',
        ]
    )


OF_DBT_2 = """\
23:54:28.135963 [warn ]: [JinjaWarn (dbt1071)]: take hours_apart
from 1.0 on
  --> models/tide_hours.sql:1:1
23:54:28.235963 [error]: [UnusedConfigKey (dbt1060)]: Ignored unexpected key `"my_key"`.
  --> models/b.sql:1:1
23:54:28.429465 [warn ]: [NoNodesSelected (dbt1601)]: Nothing to do.
23:54:28.529465 [warn ]: no code
"""
WORDS = "take hours_apart from 1.0 on"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            of_dbt_1("take hours_apart\nfrom 1.0 on"),
            {
                "MissingArgumentsPropertyInGenericTestDeprecation": DEPRECATED.partition(": ")[2],
                WORDS: "take hours_apart\nfrom 1.0 on",
            },
            id="1.11",
        ),
        pytest.param(
            of_dbt_1("[WARNING]: take hours_apart\nfrom 1.0 on"),
            {
                "MissingArgumentsPropertyInGenericTestDeprecation": DEPRECATED.partition(": ")[2],
                WORDS: "take hours_apart\nfrom 1.0 on",
            },
            id="1.12",
        ),
        pytest.param(
            OF_DBT_2,
            {
                WORDS: "take hours_apart\nfrom 1.0 on\n  --> models/tide_hours.sql:1:1",
                "NoNodesSelected": "Nothing to do.",
                "no code": "no code",
            },
            id="2.0",
        ),
        pytest.param("", {}, id="none"),
    ],
)
def test_warnings_of_all_releases_have_one_form(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "dbt.log"
    log.write_text(text, encoding="utf-8")

    assert warnings_of(log) == expected
