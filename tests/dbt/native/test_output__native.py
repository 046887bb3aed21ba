"""The output of dbt 2 is read as that of dbt 1. The texts are those of 2.0.0a4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.log_lines import logged_text
from cosmos_venv.dbt.native.output import undone, unhandled_command
from cosmos_venv.dbt.results import Artifacts, failure_text

CONSOLE = """\
  dbt-core 2.0.0-alpha.4
   Loading profiles.yml
 Succeeded [  0.03s] model main.other (view)
    Failed [  0.01s] test  accepted_values_other_id__7 (models/other.yml:6:13)
    Warned [  0.02s] test  unique_other_id (models/other.yml:7:13)
   Skipped [-------] model main.under (view)

==================== Execution Summary =====================
Finished 'build' with 1 warning and 1 error for target 'dev' [260ms]
Processed: 2 models | 2 tests | 1 unit test
Summary: 5 total | 2 success | 1 warn | 1 error | 1 skipped
""".splitlines()
LOG = """\
==================== 2026-11-23T06:37:48.492679Z | 01a20720-044a-7e30-a829-243669308172 ====================
06:37:48.492943 [info ]: dbt-core 2.0.0-alpha.4
06:37:48.635823 [error]: [InvalidConfig (dbt1005)]: Found duplicate resource definitions for model named 'a'
  --> models/staging/_staging.yml
   0: <unknown>
  14: start_thread
             at ./nptl/pthread_create.c:442:8

06:37:48.637994 [info ]:
==================== Execution Summary =====================
Finished 'run' with 1 error for target 'dev' [145ms]
"""
BINDER = """\
Database Error in model broken (target/run/harbor/models/broken.sql)
  Binder Error: Referenced column "nothing_of_that_name" not found in FROM clause!
  LINE 5:     select nothing_of_that_name from (select 1 as a)"""


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    log_file = tmp_path / "dbt.log"
    log_file.write_text(LOG)
    return Artifacts(target=tmp_path, log_file=log_file)


def write_results(artifacts: Artifacts, *results: dict[str, Any]) -> None:
    (artifacts.target / "run_results.json").write_text(json.dumps({"metadata": {}, "results": results}))


def test_a_failed_node_is_told_once_with_the_words_of_the_database(artifacts: Artifacts) -> None:
    write_results(artifacts, {"unique_id": "model.harbor.broken", "status": "error", "message": BINDER})
    lines = ["=== Errors and Warnings ===", f"[error] [DbDriverFailed (dbt1308)]: {BINDER}".split("\n")[0]]
    lines += [*BINDER.split("\n")[1:], "   8: start_thread", "             at ./nptl/pthread_create.c:442:8"]

    text = failure_text(artifacts, lines=lines)

    assert text.splitlines() == [
        *f"model.harbor.broken: error: {BINDER}".splitlines(),
        "dbt's last lines:",
        "=== Errors and Warnings ===",
    ]


def test_a_test_that_found_rows_says_how_many(artifacts: Artifacts) -> None:
    failed = {"unique_id": "test.harbor.accepted.a1", "status": "fail", "message": "Error", "failures": 1}
    warned = {"unique_id": "test.harbor.unique_other_id.72", "status": "warn", "message": "Warn", "failures": 2}
    write_results(artifacts, failed, warned)

    assert failure_text(artifacts, lines=CONSOLE).splitlines()[0] == "test.harbor.accepted.a1: fail: Got 1 result"
    assert artifacts.warnings() == [("unique_other_id", "Got 2 results")]


def test_where_nothing_could_be_compiled_the_log_says_why(artifacts: Artifacts) -> None:
    """Each node of the project is an error then."""
    nodes = ({"unique_id": f"model.p.{name}", "status": "error", "message": "Compilation Error"} for name in "abc")
    write_results(artifacts, *nodes)

    assert failure_text(artifacts, lines=[]).splitlines() == [
        "[InvalidConfig (dbt1005)]: Found duplicate resource definitions for model named 'a'",
        "  --> models/staging/_staging.yml",
    ]


def test_a_driver_that_cannot_be_had_is_told_with_the_next_step(artifacts: Artifacts) -> None:
    said = "Failed to load `duckdb` driver from name, then failed to load it from the CDN."
    assert artifacts.log_file is not None
    artifacts.log_file.write_text(f"06:37:48.635823 [error]: [DbDriverFailed (dbt1308)]: {said}\n")

    text = failure_text(artifacts, lines=[])

    assert text.splitlines()[0] == f"[DbDriverFailed (dbt1308)]: {said}"
    assert "dbt 2 needs a database driver for duckdb" in text
    assert "adbc_drivers=" in text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            ["[warning] [Unexpected (dbt9002)]: Unhandled command: Source"], "Unhandled command: Source", id="source"
        ),
        pytest.param(
            [
                "[warning] [DocsGenerateWarning (dbt1705)]: `dbt docs generate` is not supported. Use `dbt compile "
                "--write-catalog` to write catalog.json. To host docs locally, use the dbt Core index.html"
            ],
            "`dbt docs generate` is not supported. Use `dbt compile --write-catalog` to write catalog.json",
            id="docs-generate",
        ),
        pytest.param(
            ["[warning] [NoNodesSelected (dbt1601)]: `dbt docs generate` is not supported"], None, id="another-number"
        ),
        pytest.param(CONSOLE, None, id="a-command-that-ran"),
    ],
)
def test_a_command_that_dbt_does_not_have_is_noticed(lines: list[str], expected: str | None) -> None:
    assert unhandled_command(lines) == expected


def test_a_command_whose_file_is_missing_has_done_nothing() -> None:
    assert undone(("source", "freshness"), ["Succeeded"]) is None
    assert undone(("source", "freshness"), [], lacks="sources.json") == (
        "dbt command failed. This dbt does not have the command source freshness and has done nothing: it has left no "
        "sources.json. Run it with dbt 1."
    )


STACK = "   0: <unknown>\n  14: start_thread\n             at ./nptl/pthread_create.c:442:8"


def event(level: str, message: str, **info: object) -> str:
    given = {"name": "Generic", "level": level, "msg": message, "extra": {}, "thread": "tokio-rt-worker", **info}
    return json.dumps({"info": given, "data": {}})


def test_a_node_that_did_not_run_has_no_outcome(artifacts: Artifacts) -> None:
    """dbt 2 gives each node this message where the project cannot be compiled, also nodes that were not selected."""
    broken = {"unique_id": "model.harbor.far", "status": "error", "message": "Compilation Error"}
    write_results(artifacts, broken, {"unique_id": "model.harbor.near", "status": "error", "message": BINDER})

    assert [*artifacts.outcomes()] == ["model.harbor.near"]


def test_in_json_too_an_error_has_no_stack_and_nothing_that_nobody_asked_for(artifacts: Artifacts) -> None:
    lines = [event("error", f"Binder Error\n{STACK}"), event("debug", "running dbt-core with arguments {…}")]

    assert logged_text(lines[0]) == "  Binder Error"
    assert logged_text(event("error", "  14: start_thread")) == "  "
    assert logged_text(lines[1]) is None
    assert logged_text(lines[1], with_debug=True) == "  running dbt-core with arguments {…}"
    assert failure_text(artifacts, lines=lines).endswith("dbt's last lines:\nBinder Error")


def test_what_dbt_1_says_of_level_debug_was_asked_for() -> None:
    line = event("debug", "Acquiring new connection", thread="MainThread", ts="2026-01-01T12:34:56.789Z")

    assert logged_text(line) == "12:34:56  Acquiring new connection"
