"""The output of ``env warm``, ``list``, ``show`` and ``verify`` on an environment whose dbt is a native program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_venv.cli import main
from pytest_cosmos_venv import Wheel, write_wheel

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
    (build,) = (tmp_path / "kept" / "envs-v1" / "builds").glob("*/pyvenv.cfg")
    capfd.readouterr()

    said = {}
    for command in (["list"], ["show", build.parent.name], ["verify"], ["verify", "--json"]):
        assert main(["env", command[0], str(tmp_path / "kept"), *command[1:]]) == 0
        said[" ".join(command[:2])] = capfd.readouterr().out

    listed, shown, verified, data = said.values()
    assert "harbor-dbt 3.0 (native)" in listed
    assert "  dbt         harbor-dbt 3.0 (native)" in shown
    assert "  engine      native harbor-dbt 3.0" in shown
    assert "dbt can be run: native harbor-dbt 3.0" in verified
    assert json.loads(data)["builds"][0]["provides"] == {"engine": "native", "version": "harbor-dbt 3.0"}


def test_a_missing_driver_is_told_whether_the_environment_is_new_or_was_ready(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in ("new", "ready"):
        assert main(words) == 0
        assert "dbt 2 has no database driver in this environment" in capfd.readouterr().err
    assert main([*words, "--json"]) == 0

    (built,) = json.loads(capfd.readouterr().out)["environments"]
    assert built["warning"].startswith("dbt 2 has no database driver")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(["--adbc-driver", "libduckdb.so"], "--adbc-driver has no effect on a DAG file", id="driver"),
        pytest.param(
            ["--python", "python3", "--pip-option=--pre", "--system-site-packages"],
            "--pip-option, --python, --system-site-packages have no effect on a DAG file",
            id="others",
        ),
    ],
)
def test_what_a_dag_file_says_itself_is_refused_beside_it(
    options: list[str], told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dag_file = tmp_path / "dag.py"
    dag_file.write_text("raise RuntimeError('it was imported')\n")

    assert main(["env", "warm", str(dag_file), *options]) != 0

    said = capfd.readouterr().err
    assert told in said
    assert "it was imported" not in said


def test_a_missing_driver_is_told_with_what_counts_for_a_dag_file_too(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0

    said = " ".join(capfd.readouterr().err.split())
    assert "adbc_drivers=[PATH OR DISTRIBUTION] of the operator, or [cosmos_venv] virtualenv_adbc_drivers" in said
    assert "--adbc-driver beside --requirement" in said


def test_with_a_driver_nothing_is_told(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    driver = tmp_path / "libduckdb.so"
    driver.write_bytes(b"driver")

    assert main([*words, "--adbc-driver", str(driver), "--json"]) == 0

    said = capfd.readouterr()
    assert json.loads(said.out)["environments"][0]["warning"] is None
    assert "database driver" not in said.err


def test_doctor_takes_a_script_for_native_where_the_record_says_so(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "require")
    assert main(words) == 0
    capfd.readouterr()

    code = main(["doctor", "--dir", str(tmp_path / "kept"), "--only", "hosts", "--only", "sockets", "--json"])

    found = json.loads(capfd.readouterr().out)["findings"]
    assert [each["text"].partition(",")[0] for each in found if each["check"] == "hosts"] == ["To run on duckdb"]
    assert [each for each in found if each["check"] == "sockets" and "no Python program" in each["text"]] == []
    assert code == 0, found
