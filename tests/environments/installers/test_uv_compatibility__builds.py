"""Real builds with ``auto``: what is installed, or why nothing is, is what pip would have said."""

from __future__ import annotations

import functools
import http.server
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.installers.choice import choose_installer
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Wheel, write_wheel
from tests.environments.elsewhere import within
from tests.http_server import QuietFiles, served
from tests.kit import StartPython


class _Offered(Wheel):
    @property
    def metadata(self) -> str:
        return super().metadata.replace("Requires-Dist: python", "Requires-Python: ")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """:param pins: what is installed; None where the build has failed.
    :param by: the tool that has installed in the end.
    :param said: every line, the choice's reason first and the error last.
    """

    pins: dict[str, str] | None
    by: str
    said: str


class Publish(Protocol):
    """Put a wheel into an index below ``tmp_path``, and return the address of that index.

    One of the requirements may be ``python<3.9``: that is its Requires-Python.
    """

    def __call__(self, index: str, name: str, version: str, *requires: str) -> str: ...


class Build(Protocol):
    """Build an environment with ``auto``, given these options."""

    def __call__(self, *requirements: str, given: tuple[str, ...] = ()) -> Outcome: ...


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool is told anything but by the test."""
    of_certificates = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy") or name in of_certificates:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    def publish(index: str, name: str, version: str, *requires: str) -> str:
        folder = tmp_path / index / name
        folder.mkdir(parents=True, exist_ok=True)
        files = {f"{name}.py": f"FROM = {index!r}\n"}
        path = write_wheel(_Offered(name=name, version=version, files=files, requires=requires), folder)
        with (folder / "index.html").open("a") as page:
            page.write(f'<a href="{path.name}">{path.name}</a>\n')
        return (tmp_path / index).as_uri()

    return publish


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(*requirements: str, given: tuple[str, ...] = ()) -> Outcome:
        spec = EnvironmentSpec(requirements=requirements, pip_install_options=given, interpreter=Interpreter.of())
        installer = choose_installer("auto", given, os.environ, requirements=requirements)
        lines = [installer.reason]
        try:
            built = build_environment(
                spec, tmp_path / "environment", installer, cancellation=Cancellation(), report=lines.append
            )
        except VirtualenvBuildError as error:
            return Outcome(pins=None, by=installer.name, said="\n".join([*lines, str(error)]))
        return Outcome(pins=dict(built.pins), by=built.installer.name, said="\n".join(lines))

    return build


def test_a_configuration_that_pip_refuses_fails_the_build_and_no_other_index_is_asked(
    tmp_path: Path, publish: Publish, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = publish("private", "anchor", "1.0")
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {private}\na stray line\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))

    outcome = build("anchor")

    assert outcome.pins is None
    assert "onfiguration file" in outcome.said.partition("cannot be read")[2]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with a certificate authority that nobody knows (``ca.pem``), and its certificate for localhost."""
    folder = tmp_path / "authority"
    folder.mkdir()
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    for words in (
        [*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Harbour", "-days", "2"],
        [*new, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=localhost"],
        "x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out host.pem -extfile names -days 2".split(),
    ):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def https_index(tmp_path: Path, authority: Path, publish: Publish) -> Iterator[str]:
    """The address of an index with that certificate, which offers ``anchor`` 1.0."""
    publish("private", "anchor", "1.0")
    handler = functools.partial(QuietFiles, directory=str(tmp_path / "private"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "host.pem", authority / "host.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture
def http_index(tmp_path: Path, publish: Publish) -> Iterator[str]:
    """The address of an index without a certificate, which offers ``anchor`` 1.0."""
    publish("private", "anchor", "1.0")
    with served(functools.partial(QuietFiles, directory=str(tmp_path / "private"))) as port:
        yield f"http://127.0.0.1:{port}/"


BUILD = """
import json, os, sys
from pathlib import Path
from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.installers.choice import choose_installer
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.processes.cancellation import Cancellation

given = ("--index-url", sys.argv[1])
spec = EnvironmentSpec(requirements=("anchor",), pip_install_options=given, interpreter=Interpreter.of())
installer = choose_installer("auto", given, os.environ)
built = build_environment(
    spec, Path(sys.argv[2]), installer, cancellation=Cancellation(), report=lambda line: print(line, flush=True)
)
print(json.dumps([built.installer.name, dict(built.pins)]))
"""


@pytest.mark.parametrize(
    ("variables", "by"),
    [
        pytest.param([], "uv", id="uv-is-told"),
        pytest.param(["UV_SYSTEM_CERTS=false", "UV_NATIVE_TLS=false"], "pip", id="uv-trusts-its-own-only"),
    ],
)
def test_a_certificate_that_only_the_system_knows_is_trusted_as_pip_trusts_it(
    tmp_path: Path, authority: Path, https_index: str, start_python: StartPython, variables: list[str], by: str
) -> None:
    stores = {ssl.get_default_verify_paths().openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"}
    (tmp_path / "store").write_text((authority / "ca.pem").read_text())
    mounts = [f"mount --bind {tmp_path}/store {os.path.realpath(store)}" for store in sorted(stores)]
    elsewhere = within(setup="\n".join(mounts), variables=variables)

    process = start_python(BUILD, https_index, tmp_path / "environment", within=elsewhere)
    output = process.communicate()[0]

    assert process.returncode == 0, output
    assert json.loads(output.splitlines()[-1]) == [by, {"anchor": "1.0"}], output


@pytest.mark.parametrize("is_told", [True, False], ids=["uv-alone-is-told", "nobody-is-told"])
def test_a_failure_names_the_index_and_what_uv_alone_was_configured_with(
    http_index: str, publish: Publish, build: Build, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_told:
        monkeypatch.setenv("UV_DEFAULT_INDEX", publish("other", "buoy", "1.0"))

    outcome = build("buoy", given=("--index-url", http_index))

    host = http_index.removeprefix("http://").rstrip("/")
    assert f"uv could not install buoy: no release of buoy was found at {host} (tried for " in outcome.said
    assert ("UV_DEFAULT_INDEX names places for uv alone" in outcome.said.splitlines()[-1]) is is_told


@pytest.mark.parametrize(
    ("offered", "pins", "by", "reason"),
    [
        pytest.param(
            ["a 1 b c<2", "b 1 c", "b 2 c>=2", "c 1", "c 2"],
            {"a": "1", "b": "1", "c": "1"},
            "pip",
            "uv has taken b 1, where 2 is to be had",
            id="one-or-the-other",
        ),
        pytest.param(["a 1 b<2", "b 1", "b 2"], {"a": "1", "b": "1"}, "uv", "", id="nothing-to-choose"),
        # An older uv goes back to the first release of a; pip takes the prerelease that the second asks for.
        pytest.param(
            ["a 1 b", "a 2 b>=2a1", "b 1", "b 2a1"], {"a": "2", "b": "2a1"}, "uv or pip", "", id="a-prerelease"
        ),
        pytest.param(
            ["a 1", "a 2 python<3.9"], {"a": "1"}, "pip", "uv has taken a 2, which is not for this", id="another-python"
        ),
    ],
)
def test_pip_decides_where_requirements_leave_a_choice(
    publish: Publish, build: Build, offered: list[str], pins: dict[str, str], by: str, reason: str
) -> None:
    index = ""
    for each in offered:
        name, version, *requires = each.split()
        index = publish("offered", name, version, *requires)

    outcome = build("a", given=("--index-url", index))

    assert outcome.pins == pins, outcome.said
    assert outcome.by in by.split(" or ")
    assert reason in outcome.said
