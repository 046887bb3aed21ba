"""The error of a failed dbt."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.results import (
    Artifacts,
    failure_text,
    may_lack_files,
    stamps_of,
)


def write_results(target: Path, *results: dict[str, Any]) -> None:
    (target / "run_results.json").write_text(json.dumps({"metadata": {}, "results": results}))


def fail(target: Path, *unique_ids: str, message: str = "no column x") -> None:
    """Results of a run in which these nodes failed."""
    write_results(target, *({"unique_id": each, "status": "error", "message": message} for each in unique_ids))


def compile_to(target: Path, *paths: str) -> None:
    for path in paths:
        (target / "compiled" / path).parent.mkdir(parents=True, exist_ok=True)
        (target / "compiled" / path).write_text("select 1")


def test_failed_nodes_head_the_text_and_dbts_last_lines_follow(tmp_path: Path) -> None:
    write_results(
        tmp_path,
        {"unique_id": "model.p.good", "status": "success", "message": "OK", "timing": []},
        {"unique_id": "model.p.bad", "status": "error", "message": "Binder Error: no column x"},
        {"unique_id": "test.p.unique", "status": "fail", "message": "Got 2 results", "failures": 2},
    )

    text = failure_text(Artifacts(target=tmp_path), lines=["\x1b[31mDone.\x1b[0m PASS=1 ERROR=2", ""])

    assert text.splitlines() == [
        "model.p.bad: error: Binder Error: no column x",
        "test.p.unique: fail: Got 2 results",
        "dbt's last lines:",
        "Done. PASS=1 ERROR=2",
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_the_last_line_names_the_adapter_that_is_missing(tmp_path: Path, as_json: bool) -> None:
    said = [
        "Error importing adapter: No module named 'dbt.adapters.sqlserver'",
        'Encountered an error:\nRuntime Error\n  Credentials in profile "harbor", target "dev" invalid: Runtime Error',
        "    Could not find adapter type sqlserver!",
    ]

    lines = in_json(*said) if as_json else "\n".join(said).splitlines()
    text = failure_text(Artifacts(target=tmp_path), lines=lines)

    assert text.splitlines()[-1] == (
        "This dbt has no adapter for the type 'sqlserver' of the profile: add dbt-sqlserver to py_requirements, or, "
        "where dbt is not installed by them, install it beside this dbt."
    )


def test_a_broken_results_file_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "run_results.json").write_text('{"results": [{"uni')

    assert failure_text(Artifacts(target=tmp_path), lines=["Compilation Error"]).splitlines()[-1] == "Compilation Error"


def test_the_compiled_path_is_told_where_dbt_does_not_tell_it(tmp_path: Path) -> None:
    compile_to(tmp_path, "p/models/bad.sql")
    fail(tmp_path, "model.p.bad", message="Binder Error in bad.sql")

    assert Artifacts(target=tmp_path).failures() == [
        f"model.p.bad: error: Binder Error in bad.sql\n  compiled code at {tmp_path.name}/compiled/p/models/bad.sql"
    ]


def test_where_dbt_ended_before_its_results_the_errors_of_its_log_head_the_text(tmp_path: Path) -> None:
    events = [
        {"info": {"level": "debug", "msg": "no error"}},
        {"info": {"level": "error", "msg": "\x1b[31mCompilation Error\x1b[0m in model bad\n  unknown macro"}},
        {"info": {"level": "error", "msg": "\x1b[31mCompilation Error\x1b[0m in model bad\n  unknown macro"}},
        {"info": {"level": "error", "name": "MainStackTrace", "msg": "Traceback (most recent call last)"}},
        {"data": "error"},
    ]
    log = tmp_path / "dbt.log"
    earlier = '{"info": {"level": "error", "msg": "of an earlier run"}}\n'
    log.write_text(earlier + "\n".join(['not json, an "error" all the same', *map(json.dumps, events)]))

    text = failure_text(
        Artifacts(target=tmp_path, log_file=log, log_begins_at=len(earlier)), lines=["Encountered an error"]
    )

    assert text.splitlines() == [
        "Compilation Error in model bad",
        "  unknown macro",
        "dbt's last lines:",
        "Encountered an error",
    ]


def test_the_reason_of_a_failed_macro_stands_in_the_log(tmp_path: Path) -> None:
    write_results(tmp_path, {"unique_id": "macro.p.grant", "status": "error", "message": None, "failures": 1})
    log = tmp_path / "dbt.log"
    log.write_text(json.dumps({"info": {"level": "error", "msg": "Encountered an error while running operation: x"}}))

    text = failure_text(Artifacts(target=tmp_path, log_file=log), lines=[])

    assert text.splitlines()[0] == "Encountered an error while running operation: x"


def test_what_the_reasons_have_said_dbts_last_lines_do_not_say_again(tmp_path: Path) -> None:
    compile_to(tmp_path, "p/models/bad.sql")
    fail(tmp_path, "model.p.bad", message="Runtime Error in model bad (models/bad.sql)\n  Binder Error: no column x")
    lines = [
        "12:00:00  1 of 1 ERROR creating bad",
        "12:00:01  ",
        "",
        "12:00:01    Runtime Error in model bad (models/bad.sql)",
        "  Binder Error: no column x",
        f"12:00:01    compiled code at {tmp_path}/compiled/p/models/bad.sql",
        "12:00:01  Done. ERROR=1",
    ]

    text = failure_text(Artifacts(target=tmp_path), lines=lines)

    assert text.splitlines() == [
        "model.p.bad: error: Runtime Error in model bad (models/bad.sql)",
        "  Binder Error: no column x",
        f"  compiled code at {tmp_path.name}/compiled/p/models/bad.sql",
        "dbt's last lines:",
        "12:00:00  1 of 1 ERROR creating bad",
        "12:00:01  Done. ERROR=1",
    ]


def test_colours_of_a_terminal_are_in_no_error(tmp_path: Path) -> None:
    """dbt colours what differs in a unit test, in its artifact too."""
    message = "\x1b[32mactual\x1b[0m differs from \x1b[31mexpected\x1b[0m:\n\n\x1b[0;1m@@\x1b[0m,n\r\n+++,1"
    write_results(tmp_path, {"unique_id": "unit_test.p.m.one", "status": "fail", "message": message})

    text = failure_text(Artifacts(target=tmp_path), lines=["\x1b[31mDone.\x1b[0m"])

    assert text == ("unit_test.p.m.one: fail: actual differs from expected:\n\n@@,n\n+++,1\ndbt's last lines:\nDone.")


def batch_event(name: str, day: str, thread: str = "Thread-1", **data: Any) -> str:
    node = {"unique_id": "model.p.pings"}
    told = {"node_info": node, "description": f"batch {day} of main.pings", **data}
    return json.dumps({"info": {"name": name, "thread": thread, "msg": "m", "level": "error"}, "data": told})


def microbatch(target: Path, *, failed: list[str], successful: int, status: str, message: str) -> None:
    batches = {"failed": [[day, day] for day in failed], "successful": [["a", "b"]] * successful}
    write_results(
        target, {"unique_id": "model.p.pings", "status": status, "message": message, "batch_results": batches}
    )


def test_of_a_microbatch_model_the_failed_batches_are_named_with_what_the_database_said(tmp_path: Path) -> None:
    """dbt's message is PARTIAL SUCCESS, or ERROR, alone; batches that run at once differ by their thread."""
    days = ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"]
    microbatch(tmp_path, failed=days, successful=2, status="partial success", message="PARTIAL SUCCESS (2/6)")
    compile_to(tmp_path, "p/models/pings/pings_2026-01-02.sql")
    log = tmp_path / "dbt.log"
    events = [
        batch_event(
            "GenericExceptionOnRun", "2026-01-02", exc="Exception on worker thread. no \x1b[31mcolumn\x1b[0m x"
        ),
        batch_event("CatchableExceptionOnRun", "2026-01-03", thread="Thread-2", exc="Compilation Error\n  bad day"),
        batch_event("LogBatchResult", "2026-01-03", thread="Thread-2", status="error"),
        batch_event("LogBatchResult", "2026-01-02", status="error"),
        batch_event("LogBatchResult", "2026-01-01", status="OK"),
        batch_event("CatchableExceptionOnRun", "2026-01-04", exc="Compilation Error\n  bad day"),
        batch_event("LogBatchResult", "2026-01-04", status="error"),
        batch_event("LogBatchResult", "2026-01-05", status="skipped"),
    ]
    log.write_text("\n".join(events))

    (text,) = Artifacts(target=tmp_path, log_file=log).failures()

    assert text.splitlines() == [
        "model.p.pings: partial success: 4 of 6 batches failed",
        "  batch 2026-01-03: Compilation Error",
        "    bad day",
        "  batch 2026-01-02: no column x",
        f"    compiled code at {tmp_path.name}/compiled/p/models/pings/pings_2026-01-02.sql",
        "  batch 2026-01-04: Compilation Error",
        "    bad day",
        "  batch 2026-01-05: not run",
    ]


def test_what_lay_there_before_is_not_of_this_run(tmp_path: Path) -> None:
    fail(tmp_path, "model.p.bad", message="of yesterday")
    compile_to(tmp_path, "p/models/bad.sql")

    artifacts = Artifacts(target=tmp_path, before=stamps_of(tmp_path))

    assert artifacts.failures() == []
    assert artifacts.compiled_sql() == ""
    assert artifacts.text("run_results.json") is None
    assert artifacts.warnings() == []


def test_an_artifact_on_a_file_server_whose_clock_is_late_is_of_this_run(tmp_path: Path) -> None:
    fail(tmp_path, "model.p.bad", message="of yesterday")
    before = stamps_of(tmp_path)

    fail(tmp_path, "model.p.bad", message="of now")
    os.utime(tmp_path / "run_results.json", (1_000_000, 1_000_000))

    assert Artifacts(target=tmp_path, before=before).failures() == ["model.p.bad: error: of now"]


def test_warnings_are_those_of_the_results_by_the_names_of_the_log(tmp_path: Path) -> None:
    write_results(
        tmp_path,
        {"unique_id": "test.p.unique_id.1a2b", "status": "warn", "message": "Got 3 results"},
        {"unique_id": "test.p.not_null_id.3c4d", "status": "pass", "message": None},
    )

    assert Artifacts(target=tmp_path).warnings() == [("unique_id", "Got 3 results")]


def test_a_stale_source_is_named_with_its_age_and_its_limit(tmp_path: Path) -> None:
    results = [
        {
            "unique_id": "source.p.raw.orders",
            "status": "warn",
            "max_loaded_at": "2026-01-01T00:00:00Z",
            "criteria": {"warn_after": {"count": 12, "period": "hour"}, "error_after": {}},
        },
        {"unique_id": "source.p.raw.piers", "status": "pass"},
        {"unique_id": "source.p.raw.gone", "error": "no such table"},
    ]
    (tmp_path / "sources.json").write_text(json.dumps({"results": results}))

    assert Artifacts(target=tmp_path).warnings() == [
        ("raw.orders", "max_loaded_at 2026-01-01T00:00:00Z, warn_after 12 hour")
    ]


def test_without_artifacts_no_warning_is_known(tmp_path: Path) -> None:
    assert Artifacts(target=tmp_path).warnings() == []


def test_sql_is_shown_with_its_path(tmp_path: Path) -> None:
    for name, text in {"compiled/p/b.sql": "select 2\n", "run/p/a.sql": "create\n", "other/c.sql": "no"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert Artifacts(target=tmp_path).compiled_sql() == "-- compiled/p/b.sql\nselect 2\n\n-- run/p/a.sql\ncreate"


def test_of_the_sql_of_a_whole_project_as_much_is_read_as_is_shown(tmp_path: Path) -> None:
    compile_to(tmp_path, *(f"p/models/m{number:04}.sql" for number in range(5_000)))

    shown = Artifacts(target=tmp_path).compiled_sql()

    assert len(shown) < 70_000
    assert shown.startswith("-- compiled/p/models/m0000.sql\nselect 1\n\n-- compiled/p/models/m0001.sql\n")
    assert shown.splitlines()[-1] == f"-- and {5_000 - shown.count('select 1')} more files"


def test_freshness_is_shown_indented_and_a_half_file_as_it_is(tmp_path: Path) -> None:
    artifacts = Artifacts(target=tmp_path)
    assert artifacts.freshness() == ""

    (tmp_path / "sources.json").write_text('{"results": []}')
    assert artifacts.freshness() == '{\n    "results": []\n}'

    (tmp_path / "sources.json").write_text('{"resu')
    assert artifacts.freshness() == '{"resu'


def in_json(*messages: str) -> list[str]:
    """The messages as dbt writes them with DBT_LOG_FORMAT=json."""
    return [json.dumps({"data": {}, "info": {"level": "info", "msg": message}}) for message in messages]


def test_output_in_json_says_what_output_in_text_says(tmp_path: Path) -> None:
    said = ["", "Warning in test unique_id (models/schema.yml)", "\x1b[31mGot 3 results\x1b[0m", "Done. WARN=1"]

    assert failure_text(Artifacts(target=tmp_path), lines=in_json(*said)).splitlines() == [
        "dbt's last lines:",
        "Warning in test unique_id (models/schema.yml)",
        "Got 3 results",
        "Done. WARN=1",
    ]


@pytest.mark.parametrize(
    ("unique_id", "file"),
    [
        ("model.p.piers", "p/models/piers.sql"),
        ("model.p.piers.v2", "p/models/piers_v2.sql"),
        ("model.p.piers.v3", "p/models/piers.v3.sql"),
        ("model.p.cranes.v1", "p/models/cranes.sql"),
        ("model.other.piers", "other/models/piers.sql"),
        ("test.p.unique_piers_id.1a2b", "p/models/schema.yml/unique_piers_id.sql"),
    ],
)
def test_the_compiled_file_is_that_of_the_nodes_package_and_version(tmp_path: Path, unique_id: str, file: str) -> None:
    fail(tmp_path, unique_id)
    compile_to(
        tmp_path,
        "a/models/piers.sql",
        "other/models/piers.sql",
        "p/models/piers.sql",
        "p/models/piers_v2.sql",
        "p/models/piers.v3.sql",
        "p/models/cranes.sql",
        "p/models/schema.yml/unique_piers_id.sql",
    )

    (failure,) = Artifacts(target=tmp_path).failures()

    assert failure.endswith(f"compiled/{file}")


AT_IMPORT = """Traceback (most recent call last):
  File "/envs/bin/dbt", line 4, in <module>
    from dbt.cli.main import cli
  File "/envs/lib/python3.11/site-packages/dbt/cli/__init__.py", line 1, in <module>
    from .main import cli as dbt_cli  # noqa
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ModuleNotFoundError: No module named 'agate.table'"""
IN_THE_RUN = """Traceback (most recent call last):
  File "/envs/bin/dbt", line 10, in <module>
    sys.exit(cli())
             ^^^^^
ModuleNotFoundError: No module named 'dbt.task.run'"""
BEGUN = ("MainReportVersion", "MainReportArgs", "AdapterRegistered", "ArtifactWritten")


@pytest.mark.parametrize(
    ("exit_code", "said", "events", "files", "is_suspect"),
    [
        pytest.param(1, AT_IMPORT, (), (), True, id="an import of the script fails"),
        pytest.param(2, IN_THE_RUN, BEGUN, (), True, id="a later import fails, nothing was connected"),
        pytest.param(2, IN_THE_RUN, (*BEGUN, "NewConnection"), (), True, id="it was connected"),
        pytest.param(2, IN_THE_RUN, (), ("manifest.json",), True, id="no log, and an artifact"),
        pytest.param(2, "Compilation Error", BEGUN, (), True, id="an error of the project"),
        pytest.param(1, "1 of 1 ERROR", (*BEGUN, "SQLQuery"), ("run_results.json",), False, id="a node"),
        pytest.param(-7, "", (), (), True, id="a signal, such as that of a file that is too short"),
        pytest.param(-9, "", (), (), False, id="killed, as where memory is short"),
        pytest.param(-15, "", (), (), True, id="ended, as with its pod"),
        pytest.param(2, "ImportError: no pandas", BEGUN, (), True, id="an ImportError of the project"),
        pytest.param(0, "", (), (), True, id="nothing at all"),
        pytest.param(0, "Done.", (), (), False, id="success"),
    ],
)
def test_which_failures_may_be_those_of_lost_files(
    tmp_path: Path,
    exit_code: int,
    said: str,
    events: tuple[str, ...],
    files: tuple[str, ...],
    is_suspect: bool,
) -> None:
    log = tmp_path / "dbt.log"
    log.write_text("".join(json.dumps({"data": {}, "info": {"name": name}}) + "\n" for name in events))
    for name in files:
        (tmp_path / name).write_text("{}")
    artifacts, lines = Artifacts(target=tmp_path, log_file=log), said.splitlines()

    assert may_lack_files(exit_code, artifacts, lines=lines) is is_suspect


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(["1 of 1 ERROR STALE freshness of raw.ships"], False, id="of-this-run"),
        pytest.param(["2 of 2 ERROR freshness of raw.crews"], True, id="broken"),
        pytest.param([], True, id="quiet"),
    ],
)
def test_a_source_that_another_run_could_not_look_at_is_not_broken_in_this_one(
    tmp_path: Path, lines: list[str], *, expected: bool
) -> None:
    """Several tasks may write one log file (DBT_LOG_PATH)."""
    log = tmp_path / "dbt.log"
    log.write_text("1 of 1 ERROR freshness of raw.ports\n")

    assert Artifacts(target=tmp_path, log_file=log).has_broken_sources(lines) is expected
