"""Benchmark of the page of dbt docs in Airflow's web server: its peak memory. Prints a table and stores it.

    .venv/bin/python -m benchmarks.docs_page [--megabytes 60 255] [--browsers 20] [--against FOLDER]

MB by which the peak of a web server's memory rises while all browsers ask at once and read slowly, in megabytes of the
manifest. Each server is a process of its own with Airflow's API server imported, and shows the docs of one checkout of
cosmos-venv: this one and, where ``--against`` names its folder, another one, in the same run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import Row, table
from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.throwaway import throwaway_folder

MEGABYTE = 1_000_000
MAKING_BOUND, SHOWING_BOUND, UNCHANGED_BOUND = 1.5, 0.5, 0.05
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
    """A web server with the docs of one checkout."""

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
def serving(checkout: Path, docs: Path, folder: Path) -> Iterator[Server]:
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
            "PYTHONPATH": str(checkout),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-c", SERVER, str(listening.fileno())]
        with subprocess.Popen(command, env=environment, pass_fds=[listening.fileno()], cwd=folder) as process:
            try:
                port = listening.getsockname()[1]
                first = http.client.HTTPConnection("127.0.0.1", port)
                first.request("GET", "/shop/")
                if (status := first.getresponse().status) != http.HTTPStatus.OK:
                    raise ConnectionError(f"the server of {checkout} answers {status}")
                first.close()
                yield Server(process.pid, port)
            finally:
                process.terminate()


def peaks(checkout: Path, docs: Path, folder: Path, browsers: int) -> dict[str, tuple[float, list[int]]]:
    """By what is done: MB, and the numbers of the answers."""
    with serving(checkout, docs, folder) as server:
        making, made, tag = server.peak_of(browsers)
        showing, shown, _ = server.peak_of(browsers)
        unchanged, said, _ = server.peak_of(browsers, tag)
    return {"a new version": (making, made), "the same": (showing, shown), "browsers have it": (unchanged, said)}


def rows(folder: Path, megabytes: int, browsers: int, against: Path | None) -> list[Row]:
    """The table of one size."""
    docs = folder / f"docs-{megabytes}"
    write_docs(docs, megabytes)
    size = (docs / "manifest.json").stat().st_size / MEGABYTE
    ours = peaks(Path(__file__).parent.parent, docs, folder / f"ours-{megabytes}", browsers)
    theirs = peaks(against, docs, folder / f"theirs-{megabytes}", browsers) if against else {}
    bounds = [MAKING_BOUND, SHOWING_BOUND, UNCHANGED_BOUND]
    found = []
    for what, (peak, said) in ours.items():
        figures = f"{peak:.0f} MB, answers {_counted(said)}"
        if what in theirs:
            figures += f"; the other checkout {theirs[what][0]:.0f} MB, answers {_counted(theirs[what][1])}"
        shown = f"manifest of {size:.0f} MB, {browsers} at once, {what}"
        found.append(Row(what=shown, figures=figures, judged=peak / size, bound=bounds.pop(0)))
    return found


def _counted(said: list[int]) -> str:
    return ", ".join(f"{said.count(status)} x {status}" for status in sorted({*said}))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, store; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[60, 255], help="of the manifest (60 255)")
    parser.add_argument("--browsers", type=int, default=20, help="that ask at once (20)")
    parser.add_argument(
        "--against", type=Path, help="folder of another checkout, measured in the same run; the table is stored then"
    )
    options = parser.parse_args(argv)
    found = []
    with throwaway_folder("cosmos-benchmark-") as folder:
        for megabytes in options.megabytes:
            found += rows(folder, megabytes, options.browsers, options.against)
    judged = f"Judged: MB of the peak over those of the manifest. {MACHINE}."
    text = f"# What the page of dbt docs costs a web server\n\n{judged}\n\n{table(found)}\n"
    print(text)
    if options.against:  # what is stored has both sides
        store("docs-page", text, {"machine": MACHINE, "rows": [row.as_dict() for row in found]})
    return 0 if all(row.is_kept for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
