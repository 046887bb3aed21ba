"""The fake of dbt 2 ends with the exit codes of the real one, and writes its JSON events.

Failures, listings and events of a whole build: ``recordings/test_recording__golden.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_cosmos_venv import FakeVenv
from tests.pytest_cosmos_venv.fake_dbt.real_and_fake import Answer, Dbt


@pytest.mark.parametrize(
    "words",
    [
        "run -s orders totals",
        "run -s nope",
        "--log-level warn run -s nope",
        "ls -s orders --output name --quiet",
        "parse",
        "docs generate",
        "run --project-dir nowhere",
        "fly",
    ],
)
def test_exit_code_and_events_are_those_of_the_real_one(words: str, real_native_dbt: Dbt, fake_native_dbt: Dbt) -> None:
    expected, answer = (dbt.run("--log-format", "json", *words.split()) for dbt in (real_native_dbt, fake_native_dbt))

    assert answer.exit_code == expected.exit_code
    assert list(events(answer)) == list(events(expected))


@pytest.mark.parametrize("command", ["run", "ls"])
def test_a_reference_to_a_missing_model_is_an_error_as_in_the_real_one(
    command: str, real_native_dbt: Dbt, fake_native_dbt: Dbt
) -> None:
    for dbt in (real_native_dbt, fake_native_dbt):
        (dbt.project / "models" / "lost.sql").write_text("select * from {{ ref('odrers') }}\n", encoding="utf-8")
    try:
        expected, answer = (
            dbt.run("--log-format", "json", command, "-s", "orders") for dbt in (real_native_dbt, fake_native_dbt)
        )
    finally:
        (real_native_dbt.project / "models" / "lost.sql").unlink()

    assert answer.exit_code == expected.exit_code == 1
    assert list(events(answer)) == list(events(expected))
    assert all("[error] [DependencyNotFound (dbt1048)]: " in each.stdout for each in (answer, expected))


def events(answer: Answer) -> Iterator[tuple[str, str, set[str], set[str]]]:
    """Name, level and keys of each event."""
    for line in answer.stdout.splitlines():
        event: dict[str, dict[str, Any]] = json.loads(line)
        yield event["info"]["name"], event["info"]["level"], set(event["info"]), set(event["data"])


@pytest.mark.parametrize(
    ("exit_code", "said"), [(1, "Summary: 2 total | 1 error | 1 skipped"), (2, "Finished 'run' with 1 error")]
)
def test_a_scripted_exit_code_fails_as_dbt_2_does(
    exit_code: int, said: str, fake_native_dbt: Dbt, fake_native_venv: FakeVenv
) -> None:
    fake_native_venv.script("run", exit_code=exit_code)

    answer = fake_native_dbt.run("run", "-s", "broken", "below")

    assert answer.exit_code == 1, "dbt 2 ends with 1, whatever has failed"
    assert said in answer.stdout
    assert (fake_native_dbt.target / "run_results.json").exists() is (exit_code == 1)
