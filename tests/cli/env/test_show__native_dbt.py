"""The output of ``env warm``, ``list``, ``show`` and ``verify`` on an environment whose dbt is a native program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel

PROGRAM = '#!/bin/sh\ntest "$1" = --version && echo "harbor-dbt 3.0"\n'


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The words of ``env warm`` that build an environment of a private build of dbt 2."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {"harbor_dbt-3.0.data/scripts/dbt": PROGRAM}
    write_wheel(Wheel(name="harbor-dbt", version="3.0", files=files), wheels)
    options = [f"--pip-option={option}" for option in ("--no-index", "--find-links", str(wheels))]
    return ["env", "warm", "--requirement", "harbor-dbt", *options, "--dir", str(tmp_path / "kept")]


def test_engine_and_version_are_told_by_each_command(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    (build,) = (tmp_path / "kept" / "envs-v2").glob("*/pyvenv.cfg")
    capfd.readouterr()

    said = {}
    for command in (["list"], ["show", build.parent.name], ["verify"], ["verify", "--json"]):
        assert main(["env", command[0], str(tmp_path / "kept"), *command[1:]]) == 0
        said[" ".join(command[:2])] = capfd.readouterr().out

    listed, shown, verified, data = said.values()
    assert "harbor-dbt 3.0 (native)" in listed
    assert "engine: native\n" in shown
    assert "version: harbor-dbt 3.0\n" in shown
    assert "dbt can be run: version harbor-dbt 3.0" in verified
    assert json.loads(data)["builds"][0]["provides"] == {"engine": "native", "version": "harbor-dbt 3.0"}


def test_a_missing_driver_is_told_with_the_way_out_whether_the_environment_is_new_or_was_ready(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    driver = tmp_path / "libduckdb.so"
    driver.write_bytes(b"driver")

    for _ in ("new", "ready"):
        assert main(words) == 0
        said = " ".join(capfd.readouterr().err.split())
        assert "dbt 2 has no database driver in this environment" in said
        assert "adbc_drivers=[PATH OR DISTRIBUTION] of the operator, or [cosmos_venv] virtualenv_adbc_drivers" in said
        assert "--adbc-driver beside --requirement" in said
    assert main([*words, "--json"]) == 0
    (without,) = json.loads(capfd.readouterr().out)["environments"]
    assert main([*words, "--adbc-driver", str(driver), "--json"]) == 0
    (with_driver,) = json.loads(capfd.readouterr().out)["environments"]

    assert without["warning"].startswith("dbt 2 has no database driver")
    assert with_driver["warning"] is None
