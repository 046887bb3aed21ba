"""The servers of an Airflow 3 on loopback, as processes of a test: API server, scheduler, triggerer; and their API.

The caller names Airflow's home and database in the environment variables of each process.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

_HOST = "127.0.0.1"
_LONGEST_END = 20.0
_LONGEST_ANSWER = 180.0
"""Seconds. On SQLite each statement of a request may wait for another writer, in the conformance suite for 60 s."""
_TRIES = 5
_PAUSE = 0.25


def free_port() -> int:
    """Return a loopback port on which no process listens at this moment.

    The port lies below the kernel's ephemeral range, so no outgoing connection takes it before the server listens.
    """
    while True:
        port = random.randrange(16_384, 32_768)  # noqa: S311 - no secret
        with socket.socket() as listener, suppress(OSError):
            listener.bind((_HOST, port))
            return port


def accepts(port: int) -> bool:
    """Whether a process listens on a loopback port.

    :param port: the number of the port.
    """
    with socket.socket() as client:
        return client.connect_ex((_HOST, port)) == 0


def server_variables(port: int, *, executor: str, parallelism: int = 2) -> dict[str, str]:
    """Return the environment variables that all servers of one Airflow have in common.

    :param port: the port of the API server.
    :param executor: the name of the executor, such as ``LocalExecutor``.
    :param parallelism: how many tasks run at the same time.
    """
    return {
        "AIRFLOW__CORE__EXECUTOR": executor,
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{_HOST}:{port}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__HOST": _HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        # Airflow 2 would read the DAG files again and again.
        "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",
        # The scheduler of Airflow 2 then drops DAGs that were not parsed for ten minutes: two stack tests failed.
        "AIRFLOW__SCHEDULER__DAG_STALE_NOT_SEEN_DURATION": "86400",
    }


@contextmanager
def running_server(
    command: Sequence[str | Path], *, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of Airflow's processes until the block ends.

    :param command: its command line.
    :param environment: its environment variables.
    :param log: the file to which its output is added.
    """
    with log.open("a") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_LONGEST_END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(_LONGEST_END)


@contextmanager
def terminating_scheduler(process: subprocess.Popen[bytes], *, grace: float = _LONGEST_END) -> Iterator[None]:
    """End a scheduler and its tasks at the end of the block; each task has a session of its own.

    :param process: the process of the scheduler.
    :param grace: seconds that the tasks get to end by themselves after the scheduler got SIGTERM.
    """
    try:
        yield
    finally:
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        _, left = psutil.wait_procs(below, grace)
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, _LONGEST_END)


def call_api(
    port: int, method: str, path: str, body: Mapping[str, Any] | None = None, *, is_repeatable: bool = False
) -> Any:
    """Ask the API of Airflow 3, as its UI does, and return the answer.

    Every client must be an administrator: set ``AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS``.

    :param port: the port of the API server.
    :param method: the method of HTTP.
    :param path: the path below ``/api/v2/``.
    :param body: the body of the request; None: it has none.
    :param is_repeatable: whether the request is sent up to five times while Airflow answers 500. On a busy machine with
        SQLite, clearing a task got a 500 once in hundreds of runs.
    :raises urllib.error.HTTPError: Airflow refuses, or has an error.
    """
    for _ in range(_TRIES - 1 if is_repeatable else 0):
        try:
            return _answer(port, method, path, body)
        except HTTPError as error:
            if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            time.sleep(_PAUSE)
    return _answer(port, method, path, body)


def _answer(port: int, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
    server = f"http://{_HOST}:{port}"
    with urlopen(f"{server}/auth/token", timeout=_LONGEST_ANSWER) as answer:  # noqa: S310 - ours
        token = json.load(answer)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{server}/api/v2/{path}", data, headers, method=method)  # noqa: S310 - likewise
    with urlopen(request, timeout=_LONGEST_ANSWER) as answer:  # noqa: S310 - likewise
        return json.loads(answer.read() or b"null")
