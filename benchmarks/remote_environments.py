"""Benchmark of environments that are fetched, beside building them and bare unpacking. Prints and stores a table.

    .venv/bin/python -m benchmarks.remote_environments [--rounds 7]

The store is moto's S3 server on loopback, reached by Airflow's own provider. What is compared is measured in turns.
Processor time counts too: of the process that does the work and of those that it starts, not of the server.
"""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import ROOT, Bench, Row, cpu_seconds, in_turns, main, ratio, uv_commands, wall_seconds

REQUIREMENTS = ("dbt-core==1.11.16", "dbt-duckdb==1.11.1")
WHEELS = ROOT / ".cache" / "wheelhouse"
PROVIDERS = ROOT / ".cache" / "envs" / "providers" / "bin" / "python"
LOOPBACK = "127.0.0.1"
BUCKET = "environments"
REMOTE_BOUNDS = {"warm": 0.35, "empty": 0.15, "bare": 1.2}

# A process that has imported everything. It reads orders, one a line, and answers each with its wall and CPU seconds.
WORKER = f"""
import json, os, subprocess, sys, time
from pathlib import Path
import boto3
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.remote_store import RemoteStore
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.remote.object_store import RemoteFolder

endpoint, *words = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1",
    aws_access_key_id="bench", aws_secret_access_key="bench")
spec = EnvironmentSpec(requirements={REQUIREMENTS!r}, pip_install_options=tuple(words),
    interpreter=Interpreter.of(), check="import dbt.cli.main")
remote = RemoteStore(folder=RemoteFolder(url="s3://{BUCKET}/v1", key=lambda: b"k" * 32), seconds=60)

def use(folder, lines):
    request = BuildRequest(store=EnvironmentStore(folder / "envs"), spec=spec, preference="uv", max_tries=5)
    with open_environment(
        request, cancellation=Cancellation(), report=lines.append, remote=lambda: remote
    ) as environment:
        return environment

def push(folder):
    lines = []
    use(folder, lines)
    assert any(line.startswith("Put ") for line in lines), lines

def fetch(folder):
    lines = []
    use(folder, lines)
    assert any(line.startswith("Fetched ") for line in lines), lines

def bare(folder):
    (archive,) = (each["Key"] for each in client.list_objects_v2(Bucket="{BUCKET}")["Contents"]
        if each["Key"].startswith("v1/") and each["Key"].endswith(".zst"))
    folder.mkdir()
    client.download_file("{BUCKET}", archive, str(folder / "archive"))
    (folder / "environment").mkdir()
    subprocess.run(["tar", "--zstd", "-xf", folder / "archive", "-C", folder / "environment"], check=True)

def processors():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system

client.create_bucket(Bucket="{BUCKET}", CreateBucketConfiguration={{"LocationConstraint": "eu-central-1"}})
print("ready", flush=True)
for line in sys.stdin:
    what, folder = json.loads(line)
    began, before = time.perf_counter(), processors()
    globals()[what](Path(folder))
    print(json.dumps([time.perf_counter() - began, processors() - before]), flush=True)
"""


@dataclass(frozen=True)
class Taken:
    """What one piece of work has taken.

    :param seconds: from its begin to its end.
    :param processors: seconds of all processors.
    """

    seconds: float
    processors: float


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The address of a store, in a process of its own."""
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    log = (folder / "server.log").open("w")
    command = [str(PROVIDERS), "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((LOOPBACK, port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no server: {(folder / 'server.log').read_text()}") from None
                time.sleep(0.05)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.kill()
        process.wait()
        log.close()


@contextmanager
def index_server(folder: Path) -> Iterator[str]:
    """The address of an index with the wheels of this project, as the simple repository API has it."""
    for wheel in WHEELS.glob("*.whl"):
        name = re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
        project = folder / "simple" / name
        project.mkdir(parents=True, exist_ok=True)
        (project / wheel.name).symlink_to(wheel)
    for project in (folder / "simple").iterdir():
        links = "".join(f'<a href="{wheel.name}">{wheel.name}</a>\n' for wheel in sorted(project.iterdir()))
        (project / "index.html").write_text(f"<!DOCTYPE html>\n{links}", encoding="utf-8")

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}/simple"
        server.shutdown()
        thread.join()


def connection_to(endpoint: str) -> str:
    """The value of the variable of Airflow's connection to a store."""
    extra = {"endpoint_url": endpoint, "region_name": "eu-central-1"}
    return json.dumps({"conn_type": "aws", "login": "bench", "password": "bench", "extra": extra})


@contextmanager
def worker(folder: Path, endpoint: str, options: Sequence[str]) -> Iterator[Callable[[str, Path], Taken]]:
    """Start a worker process. Yields a function of a piece of work and a folder, which returns what it has taken."""
    variables = {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_AWS_DEFAULT": connection_to(endpoint),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{PROVIDERS.parent}{os.pathsep}{os.environ['PATH']}",
    }
    process = subprocess.Popen(
        [str(PROVIDERS), "-c", WORKER, endpoint, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**_environ(folder), **variables},
        cwd=folder,
    )
    assert process.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
    assert process.stdout is not None  # noqa: S101

    def answer() -> str:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:  # Airflow writes to it too
            if line.startswith(("ready", "[")) and "info" not in line:
                return line
        raise RuntimeError("the worker has died")

    def do(what: str, where: Path) -> Taken:
        assert process.stdin is not None  # noqa: S101
        print(json.dumps([what, str(where)]), file=process.stdin, flush=True)
        return Taken(*json.loads(answer()))

    try:
        answer()
        yield do
    finally:
        process.communicate()


def _environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHONDONT"))}
    return {**kept, "UV_CACHE_DIR": str(folder / "uv-cache"), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}


def build_bare(where: Path, options: Sequence[str], environ: Mapping[str, str]) -> Taken:
    """``uv venv``, ``uv pip install --compile-bytecode`` and one import of dbt."""
    commands = uv_commands(where, "--compile-bytecode", *options, *REQUIREMENTS)
    wall: list[float] = []

    def build() -> None:
        for command in [*commands, [str(where / "bin" / "python"), "-c", "import dbt.cli.main"]]:
            subprocess.run(command, env=environ, check=True)

    processors = cpu_seconds(lambda: wall.append(wall_seconds(build)))
    return Taken(wall[0], processors)


def measure(bench: Bench) -> dict[str, list[Taken]]:
    """Measure everything in turns. Nothing is deleted meanwhile: ext4 passes over inodes that were freed less than a
    minute ago, which takes time.
    """
    folder, places = bench.folder, count()
    (folder / "index").mkdir()
    with s3_server(folder) as endpoint, index_server(folder / "index") as index:
        local = ["--no-index", "--find-links", str(WHEELS)]
        with worker(folder, endpoint, local) as do:
            machine = folder / "machine"  # an environment is fetched to the path where it was built
            do("push", machine)
            machine.rename(folder / "builder")

            def fetch() -> Taken:
                taken = do("fetch", machine)
                machine.rename(folder / f"fetched-{next(places)}")
                return taken

            def build_empty() -> Taken:
                place = folder / f"empty-{next(places)}"
                environ = {**_environ(folder), "UV_CACHE_DIR": str(place / "uv-cache")}
                return build_bare(place / "environment", ["--index-url", index], environ)

            ways = {
                "warm": lambda: build_bare(folder / f"warm-{next(places)}", local, _environ(folder)),
                "bare": lambda: do("bare", folder / f"bare-{next(places)}"),
                "fetch": fetch,
                "empty": build_empty,
            }
            return in_turns(ways, bench.rounds)


FLOORS = {
    "warm": "fetch and publish, of building from a warm cache of wheels",
    "empty": "the same, of building with an empty cache, the index on this machine",
    "bare": "the same, of bare download and tar --zstd -xf",
}


def rows(bench: Bench) -> list[Row]:
    """The lines of the table: wall time, then processor time."""
    taken, found = measure(bench), []
    for floor, what in FLOORS.items():
        for name, field in (("wall", "seconds"), ("processor", "processors")):
            ours, theirs = ([getattr(each, field) for each in taken[way]] for way in ("fetch", floor))
            figures = f"{median(ours):.2f} s, of {median(theirs):.2f} s ({min(ours):.2f}, of {min(theirs):.2f} at best)"
            found.append(Row(f"{what}: {name} time", figures, ratio(ours, theirs), REMOTE_BOUNDS[floor]))
    return found


if __name__ == "__main__":
    how = (
        f"{' and '.join(REQUIREMENTS)}: 180 MB, 6,500 files, packed 50 MB. Medians of {{rounds}} rounds; each ratio is "
        "that of one round. Fetching ends when the disk has everything, which nothing that it is compared with waits "
        "for."
    )
    title = "What fetching an environment costs"
    sys.exit(main("remote-environments", title, {"fetch": rows}, rounds=7, how=how, description=__doc__))
