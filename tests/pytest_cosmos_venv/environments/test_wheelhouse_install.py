"""Does the wheelhouse give a true environment with a dbt that behaves and remembers?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from pytest_cosmos_venv import RECORD_VARIABLE, Wheelhouse, build_wheelhouse, read_dbt_calls


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An environment that was installed from a wheelhouse."""

    folder: Path

    def run(
        self, command: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, its output joined."""
        return subprocess.run(
            [str(self.folder / "bin" / command), *arguments],
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    wheelhouse = build_wheelhouse(folder / "wheels", dbt_versions=["1.9.3", "1.10.0"])
    return install(wheelhouse, folder / "environment", "dbt-core==1.9.3", "dbt-duckdb", "dbt-postgres")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("models/staging/orders.sql", "models/customers.sql", "seeds/countries.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dbt_project.yml").write_text("name: 'shop'\n", encoding="utf-8")
    return tmp_path


def test_the_wanted_version_and_every_adapter_are_installed(installed: Installed) -> None:
    answer = installed.run("dbt", "--version")

    assert answer.returncode == 0
    assert "installed: 1.9.3" in answer.stdout
    assert [line for line in answer.stdout.splitlines() if "duckdb" in line or "postgres" in line] == [
        "  - duckdb: 1.10.0",
        "  - postgres: 1.10.0",
    ]


def test_entry_point_and_adapters_import_by_dbts_own_names(installed: Installed) -> None:
    names = "dbt.version, dbt.cli.main, dbt.adapters.duckdb, dbt.adapters.postgres"

    assert installed.run("python", "-c", f"import {names}; print(dbt.version.__version__)").stdout == "1.9.3\n"


def test_pip_installs_from_it_too(cosmos_wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "environment")], check=True)
    environment = Installed(folder=tmp_path / "environment")

    command = ["-m", "pip", "install", *cosmos_wheelhouse.pip_install_options, "dbt-duckdb"]
    answer = environment.run("python", *command, env=cosmos_wheelhouse.environment)

    assert "Successfully installed dbt-core-1.10.0 dbt-duckdb-1.10.0" in answer.stdout


def test_uv_seeds_an_environment_from_it_without_an_index(cosmos_wheelhouse: Wheelhouse, tmp_path: Path) -> None:
    variables = {**os.environ, **cosmos_wheelhouse.environment, "UV_CACHE_DIR": str(tmp_path / "cache")}
    command = [find_uv_bin(), "venv", "--seed", "--python", sys.executable, str(tmp_path / "environment")]

    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "environment" / "bin" / "pip").exists()


def test_every_call_is_on_record(installed: Installed, project: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    variables = {RECORD_VARIABLE: str(record), "DBT_TOKEN": "abc", "SECRET": "never"}
    before = time.time()

    installed.run("dbt", "run", "--project-dir", str(project), "--vars", "a: ü\n", env=variables)
    installed.run("dbt", "fly", env=variables)

    run, fly = read_dbt_calls(record)
    assert run.arguments == ("run", "--project-dir", str(project), "--vars", "a: ü\n")
    assert run.prefix == installed.folder
    assert run.dbt_version == "1.9.3"
    assert run.env["DBT_TOKEN"] == "abc"
    assert "SECRET" not in run.env
    assert run.cwd == Path.cwd()
    assert run.ended_at is not None
    assert before <= run.started_at <= run.ended_at <= fly.started_at
    assert (run.exit_code, fly.exit_code) == (0, 2)


def test_without_the_variable_nothing_is_written(installed: Installed, project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != RECORD_VARIABLE}
    before = sorted(project.rglob("*"))

    subprocess.run([str(installed.folder / "bin" / "dbt"), "deps"], cwd=project, env=environment, check=True)

    assert sorted(project.rglob("*")) == before


def test_a_killed_call_stays_on_record_without_an_end(tmp_path: Path) -> None:
    start = {"event": "start", "at": 1.0, "argv": ["dbt", "run"], "cwd": "/", "pid": 7, "prefix": "/e", "env": {}}
    (tmp_path / "1-7.jsonl").write_text(json.dumps({**start, "dbt_version": "1.10.0"}) + "\n", encoding="utf-8")
    (tmp_path / "2-8.jsonl").touch()  # made, and its first line not yet written

    (call,) = read_dbt_calls(tmp_path)

    assert call.pid == 7
    assert call.ended_at is None
    assert call.exit_code is None


def test_run_says_what_dbt_says_and_leaves_run_results(installed: Installed, project: Path) -> None:
    answer = installed.run("dbt", "run", "--project-dir", str(project), "--select", "fqn:shop.staging.orders")

    results = json.loads((project / "target" / "run_results.json").read_text(encoding="utf-8"))
    assert answer.returncode == 0
    assert "Running with dbt=1.9.3" in answer.stdout
    assert answer.stdout.splitlines()[-1].endswith("Done. PASS=1 WARN=0 ERROR=0 SKIP=0 TOTAL=1")
    assert [result["unique_id"] for result in results["results"]] == ["model.shop.orders"]
    assert results["metadata"]["dbt_version"] == "1.9.3"


def test_ls_lists_the_files_of_the_project_as_nodes(installed: Installed, project: Path) -> None:
    answer = installed.run("dbt", "ls", "--project-dir", str(project), "--output", "json")

    nodes = {node["unique_id"]: node["original_file_path"] for node in map(json.loads, answer.stdout.splitlines())}
    assert nodes == {
        "model.shop.customers": "models/customers.sql",
        "model.shop.orders": "models/staging/orders.sql",
        "seed.shop.countries": "seeds/countries.csv",
    }


def test_a_directory_without_a_project_is_refused(installed: Installed, tmp_path: Path) -> None:
    answer = installed.run("dbt", "run", "--project-dir", str(tmp_path))

    assert answer.returncode == 2
    assert "no dbt_project.yml" in answer.stdout


def install(wheelhouse: Wheelhouse, folder: Path, *requirements: str) -> Installed:
    uv = [find_uv_bin(), "--quiet"]
    python = str(folder / "bin" / "python")
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder)], check=True)
    command = [*uv, "pip", "install", "--no-cache", "--python", python, *wheelhouse.pip_install_options]
    subprocess.run([*command, *requirements], env={**os.environ, **wheelhouse.environment}, check=True)
    return Installed(folder=folder)
