"""Lines of dbt's output: what they say in the text format, and of which node, in JSON and from dbtRunner."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.dbt.log_lines import NodeEvent, event_of_runner, logged_text, node_event

MODEL = "model.harbor.orders"


def line(name: str, status: str | None, *, level: str = "info", message: str = "1 of 2 OK", **data: Any) -> str:
    info = {"name": name, "level": level, "msg": message, "thread": "Thread-1", "ts": "2026-01-01T12:34:56.789Z"}
    node = {"unique_id": MODEL, "node_status": status}
    return json.dumps({"info": info, "data": {"node_info": node, **data}})


def event(name: str, status: str) -> NodeEvent:
    found = node_event(line(name, status))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "status", "is_end"),
    [
        pytest.param("LogStartLine", "started", False, id="start"),
        pytest.param("NodeCompiling", "compiling", False, id="compiling"),
        pytest.param("SQLQuery", "executing", False, id="query"),
        pytest.param("SQLQuery", "None", False, id="no-status"),
        pytest.param("LogModelResult", "success", True, id="result"),
        pytest.param("LogModelResult", "error", True, id="failed"),
        pytest.param("LogTestResult", "warn", True, id="warned"),
        pytest.param("SkippingDetails", "skipped", True, id="skipped"),
        # dbt 1.10 and 1.11 give these of each part of a microbatch model, under the id of the model.
        pytest.param("LogBatchResult", "success", False, id="part-of-a-microbatch"),
        pytest.param("NodeFinished", "success", False, id="runner-of-a-part"),
        pytest.param("NodeFinished", "error", True, id="runner-of-what-failed"),
    ],
)
def test_an_event_says_whether_its_node_has_ended(name: str, status: str, is_end: bool) -> None:
    assert event(name, status).is_end is is_end


def test_an_event_has_what_belongs_to_its_node() -> None:
    found = node_event(line("LogModelResult", "Success", message="\x1b[32mOK\x1b[0m", execution_time=1.5))

    assert found is not None
    assert (found.unique_id, found.status, found.text, found.seconds) == (MODEL, "success", "OK", 1.5)


@pytest.mark.parametrize(
    "text",
    [
        "12:34:56  Running with dbt=1.11.0",
        "{",
        '{"info": 1}',
        '{"info": {"name": "MainReportVersion", "msg": "m"}, "data": {}}',
        '{"info": {"name": "X", "msg": "m"}, "data": {"node_info": {"unique_id": ""}}}',
        '{"resource_type": "model", "unique_id": "model.harbor.info"}',
    ],
)
def test_any_other_line_is_no_event_of_a_node(text: str) -> None:
    assert node_event(text) is None


def test_the_log_shows_text() -> None:
    assert logged_text(line("LogModelResult", "success", message="1 of 2 OK \x1b[32mdone\x1b[0m")) == (
        "12:34:56  1 of 2 OK done"
    )
    assert logged_text("a line of a hook") == "a line of a hook"


def test_an_event_of_the_runner_is_the_same_one() -> None:
    node = SimpleNamespace(unique_id=MODEL, node_status="success")
    info = SimpleNamespace(name="NodeFinished", thread="Thread-1", msg="done")

    found = event_of_runner(SimpleNamespace(info=info, data=SimpleNamespace(node_info=node, execution_time=2.0)))

    assert found is not None
    assert (found.unique_id, found.status, found.seconds, found.is_end) == (MODEL, "success", 2.0, False)
    assert event_of_runner(SimpleNamespace(info=info, data=SimpleNamespace())) is None
