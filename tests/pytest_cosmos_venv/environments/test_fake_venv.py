"""The fake environment is a virtual environment to everything that looks at it, and is made at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pytest_cosmos_venv import FakeVenv

pytest_plugins = ["pytester"]

LOOK = """
import importlib.metadata as m, json, sys, dbt.adapters.duckdb
print(json.dumps([sys.prefix, sys.base_prefix, sorted((d.name, d.version) for d in m.distributions()), dbt.__file__]))
"""


def test_it_is_an_environment_of_its_own(cosmos_fake_venv: FakeVenv) -> None:
    done = subprocess.run([cosmos_fake_venv.python, "-c", LOOK], env={}, capture_output=True, text=True, check=True)

    prefix, base_prefix, distributions, file = json.loads(done.stdout)
    assert prefix == str(cosmos_fake_venv.path)
    assert base_prefix == sys.base_prefix
    assert distributions == [["dbt-core", "1.10.0"], ["dbt-duckdb", "1.10.0"], ["dbt-postgres", "1.10.0"]]
    assert Path(file).is_relative_to(cosmos_fake_venv.path)


def test_dbt_runs_as_a_module_and_from_a_long_path_with_spaces(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    other = cosmos_fake_venv(path=tmp_path / f"with spaces {'x' * 120}" / "venv")

    for command in ([other.dbt], [other.python, "-m", "dbt.cli.main"]):
        done = subprocess.run([*command, "--version"], env={}, capture_output=True, text=True, check=True)
        assert "installed: 1.10.0" in done.stdout
    assert [call.command for call in other.calls] == ["--version", "--version"]


def test_dbt_2_is_a_program_without_a_package_and_without_adapters(cosmos_fake_venv: FakeVenv, tmp_path: Path) -> None:
    venv = cosmos_fake_venv(dbt_version="2.0.0a4", path=tmp_path / f"with spaces {'x' * 120}" / "venv")
    link = tmp_path / "dbt"
    link.symlink_to(venv.dbt)

    done = [
        subprocess.run([dbt, "--version"], env={}, capture_output=True, text=True, check=False)
        for dbt in (venv.dbt, link)
    ]
    code = "import importlib.metadata as m; print([d.name for d in m.distributions()]); import dbt"
    python = subprocess.run([venv.python, "-c", code], env={}, capture_output=True, text=True, check=False)

    assert [each.stdout for each in done] == ["dbt-core 2.0.0-alpha.4\n"] * 2
    assert python.stdout == "['dbt-core']\n"
    assert "No module named 'dbt'" in python.stderr
    assert b"python" not in venv.dbt.read_bytes().splitlines()[0]
    assert [(call.command, call.dbt_version, call.prefix) for call in venv.calls] == [
        ("--version", "2.0.0a4", venv.path)
    ] * 2
