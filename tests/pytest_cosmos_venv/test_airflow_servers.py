"""Servers as processes of a test: they end with their block, and what a scheduler has started ends too."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError

import psutil
import pytest

from pytest_cosmos_venv.airflow_servers import (
    call_api,
    running_server,
    terminating_scheduler,
)
from pytest_cosmos_venv.real_time import wait_until
from tests.http_server import served

CLEAR = "dags/harbor/clearTaskInstances"
WAITS = "import signal; print('up', flush=True); signal.pause()"
STARTS_ANOTHER = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {WAITS!r}], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_a_server_runs_until_the_block_ends_with_the_environment_that_it_is_given(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    program = "import os, signal; print(os.environ['NAME'], flush=True); signal.pause()"

    with running_server([sys.executable, "-c", program], environment={**os.environ, "NAME": "it"}, log=log) as server:
        assert server.poll() is None

    assert server.poll() is not None
    assert log.read_text() in ("it\n", "")  # it may have been ended before its first line


def test_what_a_scheduler_has_started_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "scheduler.log"
    log.touch()

    with (
        running_server([sys.executable, "-c", STARTS_ANOTHER], environment=os.environ, log=log) as scheduler,
        terminating_scheduler(scheduler, grace=0.1),
    ):
        assert wait_until(lambda: log.read_text().endswith("\n"), timeout=60)
        child = psutil.Process(int(log.read_text()))
        assert child.is_running()

    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


class MakeApi(Protocol):
    """Start an API that answers its requests with these codes, in order, and return its port."""

    def __call__(self, *codes: int) -> int: ...


@pytest.fixture
def make_api() -> Iterator[MakeApi]:
    """Factory of APIs; the answer to a request is its number."""
    stack = ExitStack()

    def start(*codes: int) -> int:
        asked = count()

        class Api(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200, {"access_token": "it"})

            def do_POST(self) -> None:
                assert self.headers["Authorization"] == "Bearer it"
                self.rfile.read(int(self.headers["Content-Length"]))
                number = next(asked)
                self.answer(codes[number], {"number": number})

            def answer(self, code: int, said: object) -> None:
                text = json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                pass

        return stack.enter_context(served(Api))

    with stack:
        yield start


@pytest.mark.parametrize("errors", [0, 1, 4])
def test_an_api_that_has_an_error_of_its_own_is_asked_again(make_api: MakeApi, errors: int) -> None:
    port = make_api(*[500] * errors, 200)

    assert call_api(port, "POST", CLEAR, {}, is_repeatable=True) == {"number": errors}


@pytest.mark.parametrize(("code", "is_repeatable"), [(404, True), (409, True), (500, False)])
def test_an_api_that_refuses_is_asked_once(make_api: MakeApi, code: int, is_repeatable: bool) -> None:
    port = make_api(code, 200)

    with pytest.raises(HTTPError, match=str(code)):
        call_api(port, "POST", CLEAR, {}, is_repeatable=is_repeatable)

    assert call_api(port, "POST", CLEAR, {}) == {"number": 1}
