"""Benchmark of the page of dbt docs in Airflow's web server: its peak memory. Prints a table and stores it.

    .venv/bin/python -m benchmarks.docs_page

MB by which the peak of a web server's memory rises while all browsers ask at once and read slowly, in megabytes of the
manifest. Each server is a process of its own with Airflow's API server imported.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, Bench, Row, main

MEGABYTE = 1_000_000
SIZES, BROWSERS = (60, 255), 20
HAVE_IT = "browsers have it"
BOUNDS = {"a new version": 1.5, "the same": 0.5, HAVE_IT: 0.05}
PAGE = "/shop/page.html"
INDEX = '<html><script>n={manifest:"MANIFEST.JSON INLINE DATA",catalog:"CATALOG.JSON INLINE DATA"}</script></html>'
SERVER = """
import sys
import uvicorn
from airflow.api_fastapi.core_api.security import get_user
from cosmos_venv.plugin import fastapi_docs

class Everybody:
    def is_authorized_dag(self, **_):
        return True

fastapi_docs.get_auth_manager = Everybody
fastapi_docs.app.dependency_overrides[get_user] = lambda: None
uvicorn.run(fastapi_docs.app, fd=int(sys.argv[1]), log_level="error")
"""


@dataclass(frozen=True)
class Server:
    """A web server with docs."""

    pid: int
    port: int

    def peak_of(self, browsers: int, known: str = "") -> tuple[float, list[int], str]:
        """MB by which the peak rises while so many browsers ask at once, their answers' numbers, and the ETag."""
        before = self._memory("VmRSS")
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        said: list[tuple[int, str]] = []
        have_asked = threading.Barrier(browsers)

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.request("GET", PAGE, headers={"If-None-Match": known} if known else {})
            answer = connection.getresponse()
            have_asked.wait()  # none of them reads its page before all have an answer
            while answer.read(65_536):
                pass
            said.append((answer.status, answer.headers.get("ETag", "")))
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(browsers)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return self._memory("VmHWM") - before, sorted(status for status, _ in said), max(tag for _, tag in said)

    def _memory(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(encoding="ascii"))
        if found is None:
            raise LookupError(name)
        return int(found[1]) * 1024 / MEGABYTE


def write_docs(folder: Path, megabytes: int) -> None:
    """Write docs with a manifest of so many MB."""
    node = {"description": "the orders of a <b>shop</b>", "columns": {f"column_{number}": {} for number in range(40)}}
    text = json.dumps(node)
    count = megabytes * MEGABYTE // (len(text) + 40)
    folder.mkdir()
    (folder / "index.html").write_text(INDEX, encoding="utf-8")
    (folder / "catalog.json").write_text('{"nodes": {}, "sources": {}}', encoding="utf-8")
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        file.write('{"nodes": {')
        file.writelines(f'{"," if number else ""}"model.shop.model_{number:09}": {text}' for number in range(count))
        file.write("}}")


@contextmanager
def serving(docs: Path, folder: Path) -> Iterator[Server]:
    """A server that has just been started."""
    folder.mkdir()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(folder / "cache"),
            "AIRFLOW__COSMOS_VENV__DBT_DOCS_MAX_BYTES": str(512 * MEGABYTE),
            "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps({"shop": {"dir": str(docs)}}),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-c", SERVER, str(listening.fileno())]
        with subprocess.Popen(command, env=environment, pass_fds=[listening.fileno()], cwd=folder) as process:
            try:
                port = listening.getsockname()[1]
                first = http.client.HTTPConnection("127.0.0.1", port)
                first.request("GET", "/shop/")
                if (status := first.getresponse().status) != http.HTTPStatus.OK:
                    raise ConnectionError(f"the server answers {status}")
                first.close()
                yield Server(process.pid, port)
            finally:
                process.terminate()


def pages(bench: Bench) -> list[Row]:
    """The table of all sizes: a new version, the same one, and one that the browsers have."""
    found = []
    for megabytes in SIZES:
        docs, tag = bench.folder / f"docs-{megabytes}", ""
        write_docs(docs, megabytes)
        size = (docs / "manifest.json").stat().st_size / MEGABYTE
        with serving(docs, bench.folder / f"server-{megabytes}") as server:
            for what, bound in BOUNDS.items():
                peak, said, tag = server.peak_of(BROWSERS, tag if what == HAVE_IT else "")
                figures = f"{peak:.0f} MB, answers {_counted(said)}"
                found.append(Row(f"manifest of {size:.0f} MB, {BROWSERS} at once, {what}", figures, peak / size, bound))
    return found


def _counted(said: list[int]) -> str:
    return ", ".join(f"{said.count(status)} x {status}" for status in sorted({*said}))


if __name__ == "__main__":
    how, title = "Judged: MB of the peak over those of the manifest.", "What the page of dbt docs costs a web server"
    sys.exit(main("docs-page", title, {"pages": pages}, rounds=1, how=how, description=__doc__))
