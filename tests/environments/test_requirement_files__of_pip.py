"""pip's configuration is read as pip reads it: files, sections and variables in the same order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.environments.requirement_files import pip_configuration
from cosmos_venv.exceptions import CosmosValueError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables of a machine with three configuration files and some variables for pip."""
    files = {
        "xdg/pip/pip.conf": "[global]\nindex-url = https://a\ntimeout = 7\nno-index = off\npre = yes\n"
        "[install]\nextra-index-url =\n    https://b\n    https://c\n",
        "home/.pip/pip.conf": "[global]\nextra-index-url = https://lost\nretries = 0\nquiet =\n[list]\nformat = json\n",
        "home/.config/pip/pip.conf": "[global]\ntrusted_host = a b\n[install]\nno-deps = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "PIP_INDEX_URL": "https://d",
        "PIP_DEFAULT_TIMEOUT": "9",
        "PIP_FIND_LINKS": "/one /two",
        "PIP_PROXY": "",
    }


def test_later_files_sections_and_variables_win(environ: dict[str, str], tmp_path: Path) -> None:
    of_machine = {setting.origin for setting in pip_configuration({"HOME": "/nowhere", "XDG_CONFIG_DIRS": "/nowhere"})}
    found = [each for each in pip_configuration(environ) if each.origin not in of_machine]

    assert sorted((each.name, each.value) for each in found) == [
        ("--extra-index-url", "https://b"),
        ("--extra-index-url", "https://c"),
        ("--find-links", "/one"),
        ("--find-links", "/two"),
        ("--index-url", "https://d"),
        ("--no-deps", "1"),
        ("--pre", "yes"),
        ("--retries", "0"),
        ("--timeout", "9"),
        ("--trusted-host", "a"),
        ("--trusted-host", "b"),
    ]
    assert {str(each) for each in found if each.name in ("--no-deps", "--timeout")} == {
        f"--no-deps ({tmp_path}/home/.config/pip/pip.conf)",
        "--timeout (PIP_DEFAULT_TIMEOUT)",
    }


def test_they_are_the_files_that_pip_reads(environ: dict[str, str]) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "debug"],
        env={**environ, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        pytest.skip("this Python has no pip")

    read = {line.split(",")[0].strip() for line in asked.stdout.splitlines() if line.endswith("exists: True")}

    assert {each.origin for each in pip_configuration(environ) if "/" in each.origin} <= read


def test_a_file_that_is_named_stands_in_place_of_the_users_own(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\ncert = /ca.pem\n")

    found = {each.name for each in pip_configuration({**environ, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})}
    without = {each.name for each in pip_configuration({**environ, "PIP_CONFIG_FILE": os.devnull})}

    assert {"--cert", "--extra-index-url"} <= found
    assert "--no-deps" not in found
    assert without == {"--index-url", "--timeout", "--find-links"}


@pytest.mark.parametrize("content", [b"[global]\nindex-url = https://a\na stray line\n", b"\xff\xfe[global]"])
def test_a_file_that_pip_cannot_read_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    """It was taken for empty, and the public index was asked."""
    (tmp_path / "pip.conf").write_bytes(content)

    with pytest.raises(CosmosValueError, match=r"pip\.conf cannot be read as pip's configuration.*Correct it"):
        pip_configuration({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
