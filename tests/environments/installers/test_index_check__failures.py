"""An index that cannot be used is told in the first line: which, why, for how long it was tried, and what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.index_check import index_failure
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import VirtualenvBuildError
from tests.kit import MakeReady

RETRY = "WARNING: Retrying (Retry(total={}, connect=None, redirect=None, status=None)) after connection broken by"
NONE = [
    "ERROR: Could not find a version that satisfies the requirement hello (from versions: none)",
    "ERROR: No matching distribution found for hello",
]
REACH = "See that this host reaches it"


def tried(*words: str) -> list[str]:
    return [f"{RETRY.format(left)} {word}" for left in (4, 3, 2) for word in words]


@pytest.mark.parametrize(
    ("lines", "begin", "way_out"),
    [
        pytest.param(
            [
                *tried("'NameResolutionError(\"HTTPSConnection(host='b.example', port=443): Failed to resolve\")'"),
                *NONE,
            ],
            "the package index b.example cannot be used: its name is unknown",
            REACH,
            id="pip-names-the-host",
        ),
        pytest.param(
            [*tried("'SSLError(SSLCertVerificationError(1, 'certificate verify failed'))': /simple/"), *NONE],
            "the package index a.example cannot be used: its certificate is not trusted",
            "Name its certificates (PIP_CERT or SSL_CERT_FILE)",
            id="certificate",
        ),
        pytest.param(
            [
                "  x No solution found when resolving dependencies:",
                "hint: An index URL (https://c.example/simple) could not be queried due to a lack of valid "
                "authentication credentials (401 Unauthorized).",
            ],
            "the package index c.example cannot be used: it wants a login, and got none that it knows (401)",
            "Give its login in the address of the index or in .netrc",
            id="uv-without-login",
        ),
        pytest.param(
            [
                "  x No solution found when resolving dependencies:",
                "  `-> Because a-package-with-a-long-name was not found in the package",
                "      registry and you require a-package-with-a-long-name, we can conclude",
            ],
            "no release of a-package-with-a-long-name was found at a.example",
            "Correct the name",
            id="uv-breaks-lines",
        ),
    ],
)
def test_what_an_installer_says_of_an_index_is_one_sentence(lines: list[str], begin: str, way_out: str) -> None:
    said = index_failure(lines, hosts=["a.example", "/wheels"], seconds=7.2)

    assert said.startswith(begin)
    assert way_out in said


@pytest.mark.parametrize(
    ("lines", "host"),
    [
        pytest.param(
            [*tried("'it was late'"), "error: subprocess-exited-with-error"], "a.example", id="tried-again-with-success"
        ),
        pytest.param(["  x No solution found when resolving dependencies:"], "a.example", id="uv"),
        pytest.param(NONE, "/wheels", id="missing-in-a-folder"),
    ],
)
def test_another_failure_is_no_failure_of_an_index(lines: list[str], host: str) -> None:
    assert index_failure(lines, hosts=[host], seconds=1) == ""


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_the_first_line_of_a_failed_build_says_so(
    tmp_path: Path,
    closed_port: int,
    preference: str,
    make_ready: MakeReady,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("UV_OFFLINE", "UV_FIND_LINKS", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_RETRIES", "1")
    spec = EnvironmentSpec(
        requirements=("hello",),
        pip_install_options=("--index-url", f"http://user:s3cret@127.0.0.1:{closed_port}/simple"),
        interpreter=Interpreter.of(),
    )

    with pytest.raises(VirtualenvBuildError) as raised:
        make_ready(tmp_path, spec, preference=preference)

    first, second, *_ = str(raised.value).splitlines()
    assert first.startswith(f"{preference} could not install hello: the package index 127.0.0.1")
    assert "cannot be used: it refuses the connection (tried for " in first
    assert second.startswith("Exit status ")
    assert str(raised.value).count("Retrying") <= 1
    assert "s3cret" not in str(raised.value)
