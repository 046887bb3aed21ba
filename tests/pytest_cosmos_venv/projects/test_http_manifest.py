"""A manifest over HTTP behaves as scripted, for any client, and leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import pytest
import requests

from pytest_cosmos_venv.projects.http_manifest import HttpManifest, body_of
from tests.waiting import wait_until

MANIFEST = {"metadata": {"project_name": "harbor"}, "nodes": {f"model.harbor.m{i}": {} for i in range(200)}}
ELSEWHERE = "https://artifacts.example/manifest.json"


class Get(Protocol):
    """``requests.get`` of the manifest."""

    def __call__(self, **options: Any) -> requests.Response: ...


@pytest.fixture
def manifest() -> Iterator[HttpManifest]:
    served = HttpManifest(body=body_of(MANIFEST))
    yield served
    served.close()


@pytest.fixture(params=["server", "responses"])
def get(request: pytest.FixtureRequest, manifest: HttpManifest) -> Iterator[Get]:
    """``requests.get`` of the manifest, from the server or through ``responses``: both have to do the same."""
    if request.param == "server":
        yield partial(requests.get, manifest.url)
        return
    with manifest.responses(ELSEWHERE):
        yield partial(requests.get, ELSEWHERE)


def test_without_a_script_everybody_gets_the_manifest(manifest: HttpManifest, get: Get) -> None:
    first, second = get(timeout=5), get(timeout=5)

    assert first.json() == second.json() == MANIFEST
    assert first.headers["Content-Type"] == "application/json"
    assert [(request.method, request.path, request.status) for request in manifest.requests] == [
        ("GET", "/manifest.json", 200)
    ] * 2


def test_the_answers_come_in_their_order_and_the_last_one_stays(manifest: HttpManifest, get: Get) -> None:
    manifest.answer(500).answer(404).answer(200)

    assert [get(timeout=5).status_code for _ in range(4)] == [500, 404, 200, 200]
    assert [request.status for request in manifest.requests] == [500, 404, 200, 200]


def test_who_knows_the_manifest_gets_304_until_another_is_published(manifest: HttpManifest, get: Get) -> None:
    etag = get(timeout=5).headers["ETag"]

    known = get(headers={"If-None-Match": etag}, timeout=5)
    manifest.publish({"nodes": {}})
    changed = get(headers={"If-None-Match": etag}, timeout=5)

    assert (known.status_code, known.content) == (304, b"")
    assert (changed.status_code, changed.json()) == (200, {"nodes": {}})
    assert changed.headers["ETag"] != etag
    assert manifest.requests[1].headers["if-none-match"] == etag


def test_a_truncated_manifest_is_an_error_and_not_half_a_manifest(manifest: HttpManifest, get: Get) -> None:
    manifest.answer(200, truncated=True).answer(200)

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        get(timeout=5)
    assert get(timeout=5).json() == MANIFEST


def test_a_slow_answer_meets_the_clients_own_patience(manifest: HttpManifest, get: Get) -> None:
    manifest.answer(200, after=60).answer(200, after=0.05)

    with pytest.raises(requests.exceptions.ReadTimeout, match="Read timed out"):
        get(timeout=0.2)
    started = time.monotonic()
    assert get(timeout=(5, 5)).json() == MANIFEST
    assert time.monotonic() - started >= 0.05


def test_any_client_can_ask(manifest: HttpManifest) -> None:
    manifest.answer(200).answer(200, truncated=True).answer(503)

    with urllib.request.urlopen(manifest.url, timeout=5) as response:  # noqa: S310
        assert json.load(response) == MANIFEST
    with (
        urllib.request.urlopen(manifest.url, timeout=5) as response,  # noqa: S310
        pytest.raises(http.client.IncompleteRead),
    ):
        response.read()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(manifest.url, timeout=5)  # noqa: S310
    assert requests.head(manifest.url, timeout=5).content == b""
    assert requests.get(manifest.url.replace("manifest", "catalog"), timeout=5).status_code == 404
    assert len(manifest.requests) == 4


def test_closing_ends_slow_answers_and_silent_clients_at_once(manifest: HttpManifest) -> None:
    manifest.answer(200, after=600)
    host, _, port = manifest.url.removeprefix("http://").partition("/")[0].partition(":")
    silent = http.client.HTTPConnection(host, int(port), timeout=5)
    silent.connect()
    failures: list[Any] = []

    def ask() -> None:
        try:
            requests.get(manifest.url, timeout=30)
        except requests.RequestException as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: manifest.requests)
    # Without an end to what is under way it would wait for the client's deadline, whose error is another one.
    manifest.close()

    asking.join(60)
    assert isinstance(failures[0], requests.ConnectionError)
    assert silent.sock.recv(1) == b"", "the server has not closed the connection"
    silent.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(manifest.url, timeout=5)
