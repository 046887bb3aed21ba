"""The bootstrap makes what the pins say, once, and says what went wrong when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bootstrap

needs_wheelhouse = pytest.mark.skipif(
    not (bootstrap.WHEELHOUSE / f".wheelhouse-{bootstrap.TAG}.stamp").is_file(),
    reason="`make test` fills .cache/wheelhouse, from which this test installs without network",
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, str(bootstrap.WHEELHOUSE))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    file = tmp_path / "pins.txt"
    file.write_text("iniconfig\n", encoding="utf-8")
    return file


@pytest.fixture
def environment(tmp_path: Path, pins: Path) -> bootstrap.Environment:
    return bootstrap.Environment(path=str(tmp_path / "venv"), pins=(str(pins.with_suffix("")),))


def installed(environment: bootstrap.Environment, module: str) -> bool:
    return (
        subprocess.run([environment.python, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0
    )


@needs_wheelhouse
@pytest.mark.usefixtures("offline")
def test_an_environment_is_made_once_and_again_when_its_pins_change(
    environment: bootstrap.Environment, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.make(environment)
    bootstrap.make(environment)
    untouched = capsys.readouterr().out
    pins.write_text("iniconfig\nmdurl\n", encoding="utf-8")
    bootstrap.make(environment)

    assert untouched.count("installing") == 1
    assert untouched.rstrip().endswith("up to date")
    assert installed(environment, "mdurl")


@pytest.mark.long
@needs_wheelhouse
@pytest.mark.usefixtures("offline")
def test_pip_makes_the_same_environment_where_uv_is_missing(
    environment: bootstrap.Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bootstrap, "TOOLS", bootstrap.Environment(path=str(tmp_path / "without-uv"), pins=()))

    bootstrap.make(environment)

    assert "not with uv, now with pip" in capsys.readouterr().out
    assert installed(environment, "iniconfig")


@pytest.mark.parametrize("kept", [{"below": (3, 0)}, {"since": (4, 0)}], ids=str)
def test_an_environment_for_which_there_is_no_release_is_skipped_with_the_reason(
    kept: dict[str, tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = bootstrap.Environment(path=str(tmp_path / "venv"), pins=("airflow2",), **kept)  # type: ignore[arg-type]

    bootstrap.make(elsewhere)

    assert f"skipped: airflow2 has no release for Python {bootstrap.TAG}" in capsys.readouterr().out
    assert not elsewhere.folder.exists()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that packs one file, and writes down what it was asked for."""
    log, packed = tmp_path / "npm.log", tmp_path / "package" / "dist" / "sail.js"
    packed.parent.mkdir(parents=True)
    packed.write_text("sail()")
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$5" >> {log}\ntar -czf "$4/sail-1.tgz" -C {tmp_path} package\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return log


def test_the_scripts_of_the_site_are_fetched_once_and_again_when_another_version_is_wanted(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bootstrap.Environment(path=str(tmp_path / "docs"), pins=())
    monkeypatch.setattr(bootstrap, "DOCS", made)
    monkeypatch.setattr(bootstrap, "make", lambda _: None)

    for package in ("sail@1", "sail@1", "sail@2"):
        monkeypatch.setattr(bootstrap, "SCRIPTS", {package: "dist/sail.js"})
        bootstrap.make_docs()

    assert npm.read_text().split() == ["sail@1", "sail@2"]
    assert (tmp_path / "docs" / "share" / "scripts" / "sail.js").read_text() == "sail()"


@needs_wheelhouse
@pytest.mark.usefixtures("offline")
def test_an_environment_can_hold_its_pins_and_nothing_that_they_ask_for(pins: Path, tmp_path: Path) -> None:
    pins.write_text("jinja2\n", encoding="utf-8")
    bare = bootstrap.Environment(path=str(tmp_path / "venv"), pins=(str(pins.with_suffix("")),), as_pinned=True)

    bootstrap.make(bare)

    assert list(bare.folder.glob("lib/*/site-packages/jinja2"))
    assert not installed(bare, "markupsafe")


@needs_wheelhouse
@pytest.mark.usefixtures("offline")
def test_a_wheel_that_another_step_has_written_by_half_is_replaced_by_the_whole_one(
    pins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = bootstrap.WHEELHOUSE.glob("iniconfig-*.whl")
    monkeypatch.setattr(bootstrap, "WHEELHOUSE", tmp_path / "wheelhouse")
    half = tmp_path / "wheelhouse" / whole.name
    half.parent.mkdir()
    half.write_bytes(whole.read_bytes()[:100])

    bootstrap.fill_wheelhouse(str(pins.with_suffix("")))

    assert half.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in half.parent.iterdir()) == [f".pins-{bootstrap.TAG}.stamp", whole.name]


def test_a_failing_installer_is_shown_by_its_command_and_its_last_lines() -> None:
    script = "print('a while ago'); print('x\\n' * 30); print('no such wheel'); raise SystemExit(3)"

    with pytest.raises(bootstrap.BootstrapError, match=r"ended with 3:[\s\S]*no such wheel") as failure:
        bootstrap.run("venv", [sys.executable, "-c", script])

    assert "\na while ago" not in str(failure.value)


def test_a_missing_installer_is_named() -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"no-such-installer: .*No such file"):
        bootstrap.run("venv", ["/no-such-installer"])


def test_what_leads_an_installer_to_another_place_does_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_CERT", "/etc/ssl/company.pem")

    environment = bootstrap.installer_environment()

    assert not {"PIP_TARGET", "PYTHONPATH"} & environment.keys()
    assert environment["PIP_CERT"] == "/etc/ssl/company.pem"
