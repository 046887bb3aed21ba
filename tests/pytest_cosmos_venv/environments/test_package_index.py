"""Tests of the requests of an installer to the index, and of faults, delays and logins."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.package_index import PackageIndex, serve_wheelhouse
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.errors import UnusedFaultWarning
from tests.pytest_cosmos_venv.environments.installing import UV, PlainInstall

pytest_plugins = ["pytester"]

CORE = "dbt_core-1.10.0-py3-none-any.whl"


@pytest.fixture(params=[pytest.param("pip", marks=pytest.mark.long), "uv"])  # pip takes ten times as long
def installer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def install(installer: str, tmp_path: Path) -> Iterator[PlainInstall]:
    """Installs from wherever it is told to, or finds by itself."""
    made = PlainInstall(installer=installer, target=tmp_path / "installed")
    yield made
    made.end()


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    """A small one for an index of the test's own."""
    return build_wheelhouse(tmp_path / "mine", adapters=["harbor"])


def asked(index: PackageIndex, *, project: str = "core") -> list[tuple[str, int]]:
    """Which of the project's page and files were asked for, and how that was answered."""
    return [(each.path, each.status) for each in index.requests if project in each.path and each.method == "GET"]


def test_it_serves_what_the_wheelhouse_holds_and_logs_what_was_asked(
    cosmos_dbt: CosmosDbt, install: PlainInstall
) -> None:
    cosmos_dbt.add_adapter("harbor", "2.0")
    cosmos_dbt.add_sdist("harbor-tools", "1.0")

    exit_code, output = install(*cosmos_dbt.index.pip_install_options, "dbt-harbor", "harbor-tools")

    assert exit_code == 0, output
    requests = cosmos_dbt.index.requests
    assert {("simple/dbt-core/", 200), (f"files/{CORE}", 200)} <= set(asked(cosmos_dbt.index))
    assert ("files/harbor_tools-1.0.tar.gz", 200) in asked(cosmos_dbt.index, project="tools")
    assert {each.authorised for each in requests} == {None}
    assert [each.at for each in requests] == sorted(each.at for each in requests)


def test_without_options_installers_ask_it_too_and_the_seeds_come_from_it(
    cosmos_dbt: CosmosDbt, install: PlainInstall, installer: str, tmp_path: Path
) -> None:
    index = cosmos_dbt.index

    exit_code, output = install("dbt-core")

    assert exit_code == 0, output
    assert (f"files/{CORE}", 200) in asked(index)
    if installer == "uv":
        subprocess.run([UV, "venv", "--seed", "--python", sys.executable, str(tmp_path / "environment")], check=True)
        assert ("simple/pip/", 200) in asked(index, project="/pip")


def test_a_login_is_wanted_and_the_options_carry_it(
    cosmos_dbt: CosmosDbt, install: PlainInstall, installer: str
) -> None:
    cosmos_dbt.index.require_login("harbor", "s3cret")

    refused = install("--index-url", cosmos_dbt.index.url, "dbt-core")
    let_in = install(*cosmos_dbt.index.pip_install_options, "dbt-core")

    assert refused[0] != 0
    assert {"pip": "No matching distribution found for dbt-core", "uv": "401"}[installer] in refused[1]
    assert let_in[0] == 0, let_in[1]
    assert {(each.status, each.authorised) for each in cosmos_dbt.index.requests} == {(401, False), (200, True)}


def test_a_file_that_is_unavailable_once_is_asked_for_again(cosmos_dbt: CosmosDbt, install: PlainInstall) -> None:
    cosmos_dbt.index.fault(503, "dbt-core", nth=1)

    exit_code, output = install(*cosmos_dbt.index.pip_install_options, "dbt-core")

    assert exit_code == 0, output
    assert asked(cosmos_dbt.index)[:2] == [("simple/dbt-core/", 503), ("simple/dbt-core/", 200)]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param(404, {"pip": "404", "uv": "404 Not Found"}, id="404"),
        pytest.param(
            "wrong-hash", {"pip": "DO NOT MATCH THE HASHES", "uv": "Hash mismatch for `dbt-core==1.10.0`"}, id="hash"
        ),
        pytest.param("truncated", {"pip": "incomplete-download", "uv": "Failed to read from zip file"}, id="truncated"),
    ],
)
def test_a_fault_of_a_file_fails_the_installation(
    kind: int | str,
    words: dict[str, str],
    cosmos_dbt: CosmosDbt,
    install: PlainInstall,
    installer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("UV_HTTP_RETRIES", "PIP_RESUME_RETRIES", "PIP_RETRIES"):
        monkeypatch.setenv(name, "0")
    cosmos_dbt.index.fault(kind, "dbt_core-*.whl")

    exit_code, output = install(*cosmos_dbt.index.pip_install_options, "dbt-duckdb")

    assert exit_code != 0
    assert words[installer] in output
    assert asked(cosmos_dbt.index, project="duckdb")[0] == ("simple/dbt-duckdb/", 200)


@pytest.mark.filterwarnings("ignore::pytest_cosmos_venv.errors.UnusedFaultWarning")
def test_an_answer_comes_as_late_as_it_was_told(cosmos_dbt: CosmosDbt) -> None:
    cosmos_dbt.index.delay(0.2, "dbt-core")
    # Which would not come before the test's deadline.
    cosmos_dbt.index.delay(600, "dbt-duckdb")

    begun = time.monotonic()
    fetch(f"{cosmos_dbt.index.url}dbt-core/")

    assert time.monotonic() - begun >= 0.2


def test_nth_counts_the_requests_that_fit(cosmos_dbt: CosmosDbt) -> None:
    cosmos_dbt.index.fault(503, "dbt-*", nth=(2, 3))

    statuses = [status(f"{cosmos_dbt.index.url}{name}/") for name in ("dbt-core", "pip", "dbt-spark", "dbt-core")]

    assert statuses == [200, 200, 503, 503]
    assert status(f"{cosmos_dbt.index.url}dbt-core/") == 200


def test_a_fault_that_no_request_has_met_is_told_at_the_end(wheelhouse: Wheelhouse) -> None:
    with warnings.catch_warnings(record=True) as warned, serve_wheelhouse(wheelhouse) as index:
        warnings.simplefilter("always", UnusedFaultWarning)
        index.fault(503, "dbt-harbour")
        index.fault(503, "dbt-harbor", nth=2)
        index.delay(0.1, "dbt-harbour")
        index.fault(404, "dbt-harbor", nth=1)
        assert status(f"{index.url}dbt-harbor/") == 404

    asked = "no request has met it. The index was asked for: simple/dbt-harbor/."
    assert [str(each.message) for each in warned] == [
        f"cosmos_dbt.index.fault(503, 'dbt-harbour'): {asked}",
        f"cosmos_dbt.index.fault(503, 'dbt-harbor', nth=2): {asked}",
        f"cosmos_dbt.index.delay(0.1, 'dbt-harbour'): {asked}",
    ]


def test_a_proxy_is_not_asked_and_what_it_is_not_for_stays(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "internal.example")
    index: PackageIndex = request.getfixturevalue("cosmos_dbt").index

    assert os.environ["no_proxy"] == "internal.example,127.0.0.1"
    assert status(f"{index.url}dbt-core/") == 200


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of our own
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        return error.code


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of our own
        text: bytes = answer.read()
        return text.decode()
