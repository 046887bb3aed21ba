"""Environments travel by S3, through Airflow's own provider.

Run by ``test_uploads.py`` in the environment that has it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import Environment
from cosmos_venv.remote.object_store import RemoteFolder
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.clouds import pretended
from tests.clouds.pretended import BUCKET, S3
from tests.clouds.relay import Relay, relay_to
from tests.environments.machines import KEY, Machine

SECRET = "s3cret-word"
LARGE = 3_000_000
NUMBERS = itertools.count()
URL = f"s3://{BUCKET}/environments"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with pretended.amazon() as made:
        yield made


@pytest.fixture
def cloud(server: S3) -> S3:
    """Empty."""
    server.clear()
    return server


@dataclass
class Way:
    """A way to the store: an Airflow connection of its own, because Airflow keeps what it has reached."""

    relay: Relay
    conn_id: str | None

    def machine(self, folder: Path, name: str) -> Machine:
        store = RemoteFolder(url=URL, conn_id=self.conn_id, key=lambda: KEY)
        return Machine(name=name, place=folder / "envs", remote=folder, folder=store)


def connection(cloud: S3, endpoint: str) -> str:
    return json.dumps({**cloud.connection, "extra": {**cloud.connection["extra"], "endpoint_url": endpoint}})


def relay_before(cloud: S3) -> AbstractContextManager[Relay]:
    endpoint = urlsplit(cloud.endpoint)
    assert endpoint.hostname is not None
    assert endpoint.port is not None
    return relay_to((endpoint.hostname, endpoint.port))


@pytest.fixture(scope="module")
def default_way(server: S3) -> Iterator[Way]:
    with relay_before(server) as relay, pytest.MonkeyPatch.context() as env:
        env.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection(server, relay.endpoint))
        yield Way(relay, None)


@pytest.fixture
def way(cloud: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    with relay_before(cloud) as relay:
        conn_id = f"store_{next(NUMBERS)}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection(cloud, relay.endpoint))
        yield Way(relay, conn_id)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of ``hello`` 1.0, which does not pack well."""
    folder = tmp_path_factory.mktemp("index")
    release(folder, "1.0")
    return folder


def release(index: Path, version: str) -> None:
    source = f"NOISE = {os.urandom(LARGE // 2).hex()!r}\n\ndef main():\n    print('hello', {version!r})\n"
    scripts = {"hello": "hello:main"}
    write_wheel(Wheel(name="hello", version=version, files={"hello.py": source}, console_scripts=scripts), index)


@pytest.fixture(scope="module")
def spec(index: Path) -> EnvironmentSpec:
    options = ("--no-index", "--find-links", str(index))
    return EnvironmentSpec(requirements=("hello",), pip_install_options=options, interpreter=Interpreter.of())


def said_by(environment: Environment) -> str:
    return subprocess.run([environment.script("hello")], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def filled(tmp_path: Path, way: Way, spec: EnvironmentSpec) -> Way:
    """The way to a store that has the environment."""
    builder = way.machine(tmp_path, "builder")
    builder.use(spec)
    assert "Put " in builder.log
    way.relay.requests.clear()
    return way


@pytest.mark.parametrize("is_default", [True, False], ids=["default-connection", "connection-by-name"])
def test_an_environment_is_built_once_and_fetched(
    tmp_path: Path, cloud: S3, default_way: Way, way: Way, spec: EnvironmentSpec, is_default: bool
) -> None:
    used, unused = (default_way, way) if is_default else (way, default_way)
    one, other = used.machine(tmp_path, "one"), used.machine(tmp_path, "other")
    before = len(unused.relay.requests)

    assert said_by(one.use(spec)) == "hello 1.0"
    assert said_by(other.use(spec)) == "hello 1.0"
    assert one.has_built
    assert "Put 3." in one.log
    assert other.has_fetched
    assert sorted(key.rpartition(".")[2] for key in cloud.objects) == ["json", "zst"]
    assert all(key.startswith("environments/cpython-") for key in cloud.objects)
    assert SECRET not in one.log + other.log
    assert not [key for key, stored in cloud.objects.items() if SECRET.encode() in stored.content]
    assert len(unused.relay.requests) == before


def test_few_requests_fetch_it_and_none_find_it_again(tmp_path: Path, filled: Way, spec: EnvironmentSpec) -> None:
    worker = filled.machine(tmp_path, "worker")
    worker.use(spec)
    fetching = list(filled.relay.requests)
    filled.relay.requests.clear()

    for _ in range(3):
        assert said_by(worker.use(spec)) == "hello 1.0"

    assert worker.has_fetched
    assert len(fetching) <= 6, fetching
    assert {request.split()[0] for request in fetching} <= {"GET", "HEAD"}
    assert filled.relay.requests == []


def test_a_store_that_refuses_connections_costs_a_line(tmp_path: Path, way: Way, spec: EnvironmentSpec) -> None:
    way.relay.close()
    worker = way.machine(tmp_path, "worker")
    worker.seconds = 4

    assert said_by(worker.use(spec)) == "hello 1.0"
    assert worker.has_built
    assert len([line for line in worker.lines if f"{URL} is not used: " in line]) == 1, worker.log
    # Amazon's library tries again, after pauses of random lengths.
    said = re.search(r"is not used: (there was no answer within [0-4] s|.*[Cc]onnect)", worker.log)
    assert said is not None, worker.log


@pytest.mark.parametrize("most", [pytest.param(0, id="never"), pytest.param(300_000, id="a-part-of-the-archive")])
def test_a_store_that_ceases_to_answer_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, filled: Way, spec: EnvironmentSpec, most: int
) -> None:
    filled.relay.most = most
    worker = filled.machine(tmp_path, "worker")
    worker.seconds = 2

    assert said_by(worker.use(spec)) == "hello 1.0"
    assert worker.has_built
    assert re.search(r"is not used: there was no answer within [0-2] s", worker.log), worker.log
    assert worker.builds == ["", ".json", ".lease"]
