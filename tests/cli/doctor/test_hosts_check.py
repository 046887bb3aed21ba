"""Tests of the hosts that ``doctor`` hears an environment ask beside its index."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.cli import main
from cosmos_venv.cli.doctor.check_result import CheckResult, Examined
from cosmos_venv.cli.doctor.hosts_check import _WITHOUT_REPORTS, hosts_are_known
from pytest_cosmos_venv import PackageIndex, Wheel, Wheelhouse, write_wheel
from tests.command_line import cosmos_venv
from tests.engines import DBT_2, Engine
from tests.http_server import served
from tests.whole.page_outputs import shown_by


@pytest.fixture
def index(cosmos_package_index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> PackageIndex:
    """An index over HTTP that every installer is told to ask."""
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.delenv("UV_OFFLINE", raising=False)
    for name, value in cosmos_package_index.environment.items():
        monkeypatch.setenv(name, value)
    return cosmos_package_index


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.long)])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_INSTALLER", request.param)
    return str(request.param)


@pytest.fixture
def code_host() -> Iterator[str]:
    """``host:port`` of a server that answers."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"program")

    with served(Answer) as port:
        yield f"localhost:{port}"


def of_requirements(
    *requirements: str, drivers: tuple[str, ...] = (), adapters: tuple[str, ...] = ("duckdb",)
) -> list[CheckResult]:
    return list(hosts_are_known(Examined(requirements=requirements, adbc_drivers=drivers, adapters=adapters)))


@pytest.mark.long
def test_an_environment_that_asks_its_index_alone_is_well(index: PackageIndex, installer: str) -> None:
    (found,) = of_requirements("dbt-core~=1.10.0", "dbt-duckdb")

    assert (found.check, found.outcome) == ("hosts", "ok"), found
    assert found.subject == "dbt-core~=1.10.0, dbt-duckdb"
    assert found.text.startswith("To build it, no host is asked, beside the index (127.0.0.1:"), found
    assert index.requests, f"{installer} has asked through the proxy"


@pytest.mark.long
def test_a_host_that_a_build_downloads_from_is_named(
    index: PackageIndex, installer: str, code_host: str, cosmos_wheelhouse: Wheelhouse
) -> None:
    cosmos_wheelhouse.add_sdist("dbt-harbor", downloads=f"http://{code_host}/program", requires=())

    (found,) = of_requirements("dbt-core~=1.10.0", "dbt-harbor")

    assert found.outcome == "ok", found
    assert f"To build it, {code_host} is asked, which answers, beside the index" in found.text


@pytest.mark.long
def test_one_that_does_not_answer_is_a_failure_with_a_way_out(
    index: PackageIndex, installer: str, cosmos_wheelhouse: Wheelhouse
) -> None:
    cosmos_wheelhouse.add_sdist("dbt-harbor", downloads="https://code.invalid/program", requires=())

    (found,) = of_requirements("dbt-core~=1.10.0", "dbt-harbor")

    assert found.outcome == "failed"
    assert "code.invalid:443 is asked, which does not answer" in found.text
    assert "It could not be built" in found.text
    assert "docs/how-to/environments/dbt-versions.md" in found.way_out


@pytest.mark.long
def test_the_page_shows_what_is_printed(
    index: PackageIndex, cosmos_wheelhouse: Wheelhouse, capfd: pytest.CaptureFixture[str]
) -> None:
    cosmos_wheelhouse.add_sdist("dbt-harbor", downloads="https://code.invalid/program", requires=())
    words = ["--only", "hosts", "--requirement", "dbt-core~=1.10.0", "--requirement", "dbt-harbor"]

    code = main(["doctor", *words])

    (line,) = shown_by("reference/cli.md", "doctor --only hosts")
    parts = line.replace("1.12", "1.10").replace("dbt-postgres", "dbt-harbor").split("…")
    parts = [re.escape(part.replace("code.example.com", "code.invalid")) for part in parts]
    assert code == 1
    assert re.match(".+".join(parts), capfd.readouterr().out)


@pytest.mark.long
def test_this_machines_own_proxy_is_asked_for_what_lies_beyond(
    index: PackageIndex, monkeypatch: pytest.MonkeyPatch, cosmos_wheelhouse: Wheelhouse, code_host: str
) -> None:
    cosmos_wheelhouse.add_sdist("dbt-harbor", downloads="https://code.invalid/program", requires=())
    # A server that knows no tunnels, in place of a proxy.
    monkeypatch.setenv("HTTPS_PROXY", f"http://{code_host}")

    (found,) = of_requirements("dbt-core~=1.10.0", "dbt-harbor")

    assert "code.invalid:443 is asked, which does not answer (Tunnel connection failed: 501" in found.text


@pytest.fixture
def dbt_2(monkeypatch: pytest.MonkeyPatch) -> Engine:
    DBT_2.require()
    monkeypatch.setenv("UV_FIND_LINKS", str(DBT_2.wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_INSTALLER", "uv")
    return DBT_2


@pytest.mark.long
def test_dbt_2_asks_a_host_for_those_drivers_alone_that_its_environment_has_not(dbt_2: Engine) -> None:
    drivers = tuple(str(driver) for driver in dbt_2.drivers)

    built, at_its_driver, without = of_requirements(
        *dbt_2.requirements, drivers=drivers, adapters=("duckdb", "snowflake")
    )

    assert (built.outcome, at_its_driver.outcome) == ("ok", "ok"), (built, at_its_driver)
    assert at_its_driver.text == "To run on duckdb, no host is asked."
    assert_asks_for_a_driver(without, "snowflake")


def assert_asks_for_a_driver(run: CheckResult, adapter: str) -> None:
    assert run.outcome in ("failed", "warning"), "a machine with internet has an answer"
    assert ":443 is asked" in run.text
    assert run.text.startswith(f"To run on {adapter}, ")
    assert "adbc_drivers" in run.way_out


NATIVE = f"""\
#!{sys.executable}
import os, sys, urllib.request
if sys.argv[1] == "--version":
    sys.exit(print("harbor-dbt 3.0"))
switches = [name for name in os.environ if name.startswith("DBT_") and name not in {tuple(_WITHOUT_REPORTS)!r}]
print("Debugging connection:", *switches)
for host in os.environ["HARBOR_ASKS"].split():
    try:
        urllib.request.urlopen("https://" + host)
    except OSError:
        pass
if said := os.environ["HARBOR_SAYS"]:
    print(said, file=sys.stderr)
    print("   0: <unknown>", file=sys.stderr)
    sys.exit(1)
"""


class OfNative(Protocol):
    """Let ``doctor`` look at a native dbt that asks hosts, and fails where it says something."""

    def __call__(self, *hosts: str, said: str = "", adapter: str = "duckdb") -> CheckResult: ...


@pytest.fixture(scope="module")
def native_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of that dbt."""
    folder = tmp_path_factory.mktemp("native")
    write_wheel(Wheel(name="harbor-dbt", version="3.0", files={"harbor_dbt-3.0.data/scripts/dbt": NATIVE}), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(folder))
        patch.setenv("UV_NO_INDEX", "1")
        # uv's cache may hold a wheel that another checkout wrote to the same path (once in CI). The first line of its
        # dbt names the Python of that checkout. https://github.com/astral-sh/uv/issues/3518
        patch.setenv("UV_CACHE_DIR", str(folder / "uv-cache"))
        patch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_INSTALLER", "uv")
        done = cosmos_venv("env", "warm", "--dir", folder / "environments", "--requirement", "harbor-dbt")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "environments"


@pytest.fixture
def of_native(native_directory: Path, monkeypatch: pytest.MonkeyPatch) -> OfNative:
    def of_native(*hosts: str, said: str = "", adapter: str = "duckdb") -> CheckResult:
        monkeypatch.setenv("HARBOR_ASKS", " ".join(hosts))
        monkeypatch.setenv("HARBOR_SAYS", said)
        (run,) = hosts_are_known(Examined(directories=(native_directory,), adapters=(adapter,)))
        return run

    return of_native


@pytest.mark.long
def test_a_dbt_that_fails_and_asks_nobody_is_told_in_its_words(
    of_native: OfNative, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DBT_LOAD_STANDARD_SNOWFLAKE_DRIVER", "DBT_TARGET"):
        monkeypatch.setenv(name, "1")

    found = of_native(said="[error] [InvalidConfig (dbt1005)]: no such key 'wharf'")
    silent = of_native(said=" ")

    assert found.outcome == "warning"
    assert found.text == (
        "To run on duckdb, nothing is known of hosts: dbt debug has failed and asked none. It said: no such key 'wharf'"
    )
    assert "env verify" in found.way_out
    assert silent.text.endswith("It said: Debugging connection: DBT_LOAD_STANDARD_SNOWFLAKE_DRIVER")


@pytest.mark.long
def test_a_driver_that_asks_its_database_is_no_download(of_native: OfNative) -> None:
    host = "a.snowflakecomputing.com"

    alone = of_native(host, said="[error] no such account", adapter="snowflake")
    after_a_download = of_native("drivers.invalid", host, said="[error] no such account", adapter="snowflake")

    assert (alone.outcome, alone.text) == ("ok", "To run on snowflake, no host is asked beside that of the database.")
    assert after_a_download.outcome == "failed"
    assert "drivers.invalid:443 is asked" in after_a_download.text
    assert host not in after_a_download.text


def test_kept_environments_are_asked_for_each_database_whatever_variables_the_worker_has(
    dbt_2: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--requirement", *dbt_2.requirements, "--adbc-driver", str(dbt_2.drivers[0])]
    assert main(["env", "warm", "--dir", str(tmp_path), *words]) == 0
    capfd.readouterr()
    for name, value in {"TARGET": "prod", "PROJECT_DIR": str(tmp_path), "PROFILE": "harbor"}.items():
        monkeypatch.setenv(f"DBT_{name}", value)

    code = main(
        ["doctor", "--dir", str(tmp_path), "--only", "hosts", "--adapter", "duckdb", "--adapter", "snowflake", "--json"]
    )

    found = json.loads(capfd.readouterr().out)["findings"]
    assert [each["text"].partition(",")[0] for each in found] == ["To run on duckdb", "To run on snowflake"]
    assert found[0]["outcome"] == "ok"
    assert ":443 is asked" in found[1]["text"]
    assert code == (1 if found[1]["outcome"] == "failed" else 0)
    assert not [path for path in tmp_path.iterdir() if "doctor" in path.name]


@pytest.mark.long
def test_a_password_in_a_requirement_is_not_shown(index: PackageIndex, capfd: pytest.CaptureFixture[str]) -> None:
    requirement = "dbt-core @ http://harbor:s3cr3t@index.invalid/dbt_core-1.10.0-py3-none-any.whl"

    assert main(["doctor", "--only", "hosts", "--requirement", requirement]) == 1

    said = "".join(capfd.readouterr())
    assert "http://****@index.invalid" in said
    assert "s3cr3t" not in said
