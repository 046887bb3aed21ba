"""The record tells which index an environment's packages came from, and no password of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments.installers import choice
from cosmos_venv.environments.installers.choice import Installer
from cosmos_venv.environments.installers.uv_compatibility import UvSettings
from tests.kit import MakeReady, MakeSpec

A, B = "https://user:s3cret@a.example:8443/simple?token=t0ken", "https://b.example/simple"

INSTALLERS = {
    "pip": Installer(name="pip", reason=""),
    "uv": Installer(name="uv", uv="uv", settings=UvSettings(), reason="it was asked for"),
    "uv as pip": Installer(name="uv", uv="uv", settings=UvSettings(config=""), reason=""),
    "airflow": Installer(name="airflow", command=("airflow",), reason=""),
}


def hosts(tool: str, *given: str, **variables: str) -> list[str]:
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", **variables}
    installer = INSTALLERS[tool]
    return list(choice.hosts(installer, given, [], environ))


@pytest.mark.parametrize(
    ("tool", "given", "variables", "expected"),
    [
        pytest.param("pip", [], {}, ["the default index"], id="nothing-said"),
        pytest.param("uv as pip", [], {"UV_INDEX_URL": B, "PIP_INDEX_URL": A}, ["a.example:8443"], id="uv-for-pip"),
        pytest.param("pip", ["-i", "https://u:s/cret@c.example/x"], {}, ["c.example"], id="unescaped"),
        pytest.param("uv", ["--default-index", B], {"UV_DEFAULT_INDEX": A}, ["b.example"], id="default-index-given"),
        pytest.param("pip", ["-i", B], {"PIP_EXTRA_INDEX_URL": A}, ["b.example", "a.example:8443"], id="extra"),
        pytest.param("pip", ["--no-index", "-f", "/wheels"], {"PIP_INDEX_URL": A}, ["/wheels"], id="no-index"),
        pytest.param(
            "uv", [], {"UV_FIND_LINKS": "file:///my%20wheels"}, ["the default index", "/my wheels"], id="find-links"
        ),
        pytest.param("airflow", [], {"PIP_INDEX_URL": A}, [], id="nobody-knows"),
    ],
)
def test_sources_are_hosts_and_folders(
    tool: str, given: list[str], variables: Mapping[str, str], expected: list[str]
) -> None:
    assert hosts(tool, *given, **variables) == expected


def test_an_index_in_a_requirements_file_counts(tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text(f"--index-url {A}\nhello\n")

    assert hosts("pip", "-r", str(tmp_path / "wanted.txt")) == ["a.example:8443"]


def test_they_are_recorded(
    tmp_path: Path,
    wheelhouse: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)

    assert make_ready(tmp_path, make_spec()).record["sources"] == [str(wheelhouse)]
