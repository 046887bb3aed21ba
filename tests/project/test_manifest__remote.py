"""A manifest behind a URL: copied where it has changed, and what happens where nobody answers."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.constants import LoadMode
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.graph import DbtGraph
from pytest_cosmos_venv import CosmosProject
from pytest_cosmos_venv.projects.http_manifest import HttpManifest

DATA = Path(__file__).parent.parent / "data" / "rendering-project"
MANIFEST = json.loads((DATA / "manifest.json").read_text())
PORTS = "seed.harbor_ops.raw_ports"
Serve = Callable[[Mapping[str, Any]], HttpManifest]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(cosmos_project: CosmosProject) -> HttpManifest:
    return cosmos_project.serve(MANIFEST)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that is said; also by our own logger when Airflow, imported meanwhile, sets up logging anew."""
    logger = logging.getLogger("cosmos_venv.project")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="urllib3"):
        yield caplog
    logger.removeHandler(caplog.handler)


def load(url: str, conn_id: str | None = None, **render: Any) -> DbtGraph:
    made = DbtGraph(
        project=ProjectConfig(DATA, manifest_path=url, manifest_conn_id=conn_id), render_config=RenderConfig(**render)
    )
    made.load()
    return made


def statuses(served: HttpManifest) -> list[int]:
    return [request.status for request in served.requests]


@pytest.mark.parametrize("method", [LoadMode.AUTOMATIC, LoadMode.DBT_MANIFEST])
def test_it_is_loaded_in_one_request(served: HttpManifest, method: LoadMode, log: pytest.LogCaptureFixture) -> None:
    made = load(served.url, load_method=method)

    assert len(made.nodes) == 32
    assert made.load_method is LoadMode.DBT_MANIFEST
    assert [(request.method, request.status) for request in served.requests] == [("GET", 200)]
    assert (f"ProjectConfig.manifest_path names {served.url}" in log.text) is (method is LoadMode.AUTOMATIC)


def test_one_that_is_unchanged_is_not_copied_again(served: HttpManifest) -> None:
    nodes = [load(served.url).nodes for _ in range(3)]

    assert nodes[0] == nodes[1] == nodes[2]
    assert statuses(served) == [200, 304, 304]


def test_one_that_has_changed_is_copied(served: HttpManifest) -> None:
    load(served.url)
    served.publish({**MANIFEST, "nodes": {PORTS: MANIFEST["nodes"][PORTS]}, "sources": {}, "exposures": {}})

    made = load(served.url)

    assert PORTS in made.nodes
    assert len(made.nodes) < 32
    assert statuses(served) == [200, 200]


def test_a_server_that_stumbles_is_asked_again_by_the_next_parse(served: HttpManifest) -> None:
    served.answer(503).answer(200)

    with pytest.raises(CosmosLoadDbtException, match="the server says 503"):
        load(served.url)

    assert len(load(served.url).nodes) == 32
    assert statuses(served) == [503, 200]


@pytest.mark.parametrize("answer", [{"status": 503}, {"truncated": True}])
def test_where_no_answer_comes_the_copy_is_taken_with_one_warning_of_its_age(
    served: HttpManifest, answer: dict[str, Any], cache: Path, log: pytest.LogCaptureFixture
) -> None:
    first = load(served.url)
    (kept,) = (cache / "manifests-v1").iterdir()
    os.utime(kept, (time.time() - 3 * 86_400,) * 2)
    served.publish({**MANIFEST, "nodes": {}})
    served.answer(**answer)

    for _ in range(2):  # reading the copy does not make it younger
        assert load(served.url).nodes == first.nodes

    warnings = {record.getMessage() for record in log.records if record.levelno >= logging.WARNING}
    assert len(warnings) == 1
    assert "Its copy of 3 days, 0:00:00 ago is taken." in warnings.pop()


def test_without_a_copy_nobody_answering_is_an_error(served: HttpManifest) -> None:
    url = served.url
    served.close()

    with pytest.raises(
        CosmosLoadDbtException, match=rf"manifest_path {url} cannot be read: .*Connection refused.*deploy"
    ):
        load(url)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_server_that_refuses_has_answered(served: HttpManifest, status: int) -> None:
    load(served.url)
    served.answer(200).answer(status)
    load(served.url)

    with pytest.raises(CosmosLoadDbtException, match=rf"cannot be read: the server says {status} \w+"):
        load(served.url)


def test_what_is_no_manifest_is_an_error_and_not_kept(served: HttpManifest, cache: Path) -> None:
    served.body = b"<html>Please sign in</html>"

    for _ in range(2):
        with pytest.raises(CosmosLoadDbtException, match=rf"{served.url} is not JSON"):
            load(served.url)

    assert statuses(served) == [200, 200]
    assert not (cache / "manifests-v1").exists()


def test_an_import_has_time_left_when_nobody_answers(
    served: HttpManifest, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """Airflow cuts an import by this very timer."""
    served.answer(200, after=120)
    monkeypatch.setattr(signal, "getitimer", lambda _: (4.0, 0.0))

    with pytest.raises(CosmosLoadDbtException, match=r"cannot be read: .*([Tt]imed out|no answer within 2 s)"):
        load(served.url)


SECRETS = ("w0rd", "s1gnature", "an4")


@pytest.mark.parametrize("is_gone", [True, False])
def test_credentials_of_a_url_are_shown_to_nobody(
    served: HttpManifest, is_gone: bool, log: pytest.LogCaptureFixture, cache: Path
) -> None:
    url = served.url.replace("http://", "http://an4:w0rd@") + "?sig=s1gnature"
    load(url)
    served.answer(503)
    if is_gone:
        served.close()

    load(url)
    for path in (cache / "manifests-v1").iterdir():
        path.unlink()
    with pytest.raises(CosmosLoadDbtException) as refusal:
        load(url)

    assert f"{served.url.replace('http://', 'http://****@')}?sig=****" in str(refusal.value)
    assert not [secret for secret in SECRETS if secret in f"{refusal.value}{log.text}"]


def test_user_and_password_go_to_the_server(served: HttpManifest, monkeypatch: pytest.MonkeyPatch) -> None:
    load(served.url.replace("http://", "http://an4:w0rd@"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_DOCS",
        json.dumps({"conn_type": "http", "login": "an4", "password": "w0rd", "extra": {"X-Team": "port"}}),
    )
    load(served.url, "docs")

    assert {request.headers["authorization"] for request in served.requests} == {"Basic YW40OncwcmQ="}
    assert served.requests[1].headers["x-team"] == "port"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket/manifest.json", r"s3://bucket/manifest.json cannot be read: .*amazon\[s3fs\]"),
        ("gs://bucket/manifest.json", "Install apache-airflow-providers-google"),
        ("abfs://box/manifest.json", "Install apache-airflow-providers-microsoft-azure"),
        ("nowhere://bucket/manifest.json", "Unsupported filesystem: 'nowhere'. Install the Airflow provider of that"),
        ("https://", "No host|Invalid URL"),
    ],
)
def test_what_nobody_here_can_read_says_what_to_install(url: str, words: str) -> None:
    with pytest.raises(CosmosLoadDbtException, match=words):
        load(url)


BOMB = gzip.compress(b" " * 100_000_000)


class _Answers(BaseHTTPRequestHandler):
    """Redirects to another name of this machine, or answers with what unpacks, or claims, to be too long."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        type(self).seen.append(dict(self.headers))
        path = self.path.partition("?")[0]
        if path == "/moved.json":
            self.send_response(302)
            port = self.headers["Host"].rpartition(":")[2]
            self.send_header("Location", f"http://localhost:{port}/manifest.json")
            self.end_headers()
            return
        body = BOMB if path == "/bomb.json" else json.dumps(MANIFEST).encode()
        self.send_response(200)
        if path == "/bomb.json":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", "5000000000" if path == "/declared.json" else str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    _Answers.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_headers_of_a_connection_stay_with_its_host(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"PRIVATE-TOKEN": "sekret", "verify": "/ca.pem", "timeout": "3"}
    connection = {"conn_type": "http", "login": "me", "password": "word", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GITLAB", json.dumps(connection))

    load(f"{server}/moved.json", "gitlab")

    first, second = _Answers.seen
    assert (first["PRIVATE-TOKEN"], "Authorization" in first, "verify" in first, "timeout" in first) == (
        "sekret",
        True,
        False,
        False,
    )
    assert "sekret" not in str(second)
    assert "Authorization" not in second


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("bomb.json?sig=s3cret", "it has too many bytes, more than [cosmos_venv] artifact_max_bytes = 1000000 ("),
        ("declared.json", "it has 5,000,000,000 bytes, more than [cosmos_venv] artifact_max_bytes = 1000000 ("),
    ],
)
def test_what_is_too_long_or_packed_in_another_way_is_refused_in_one_sentence(
    server: str, path: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__ARTIFACT_MAX_BYTES", "1000000")

    with pytest.raises(CosmosLoadDbtException) as refused:
        load(f"{server}/{path}")

    assert str(refused.value).startswith(f"ProjectConfig.manifest_path {server}/{path.partition('?')[0]}")
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)
