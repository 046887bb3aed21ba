"""Real builds with ``auto``: what is installed, or why nothing is, is what pip would have said."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.environments.builder import build_environment
from cosmos_venv.environments.installer import choose_installer
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.guarded import Cancellation
from pytest_cosmos_venv import Wheel, write_wheel

Publish = Callable[..., str]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """:param pins: what is installed; None where the build has failed.
    :param by: the tool that has installed in the end.
    :param said: every line, the choice's reason first and the error last.
    """

    pins: dict[str, str] | None
    by: str
    said: str


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
    """Put a wheel of a name and version into an index below ``tmp_path``; the address of that index."""

    def publish(index: str, name: str, version: str, *requires: str) -> str:
        folder = tmp_path / index / name
        folder.mkdir(parents=True, exist_ok=True)
        files = {f"{name}.py": f"FROM = {index!r}\n"}
        path = write_wheel(Wheel(name=name, version=version, files=files, requires=requires), folder)
        with (folder / "index.html").open("a") as page:
            page.write(f'<a href="{path.name}">{path.name}</a>\n')
        return (tmp_path / index).as_uri()

    return publish


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Outcome]:
    """Build with ``auto``."""

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


def test_an_isolated_pip_asks_the_index_that_was_given(publish: Publish, build: Callable[..., Outcome]) -> None:
    private = publish("private", "anchor", "1.0")

    outcome = build("anchor", given=("--isolated", "--index-url", private))

    assert (outcome.pins, outcome.by) == ({"anchor": "1.0"}, "pip"), outcome.said


def test_a_configuration_that_pip_refuses_fails_the_build_and_no_other_index_is_asked(
    tmp_path: Path, publish: Publish, build: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    private = publish("private", "anchor", "1.0")
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {private}\na stray line\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))

    outcome = build("anchor")

    assert outcome.pins is None
    assert "onfiguration file" in outcome.said.partition("cannot be read")[2]
