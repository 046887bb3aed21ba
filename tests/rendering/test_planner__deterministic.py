"""Airflow sees the same DAG from every process that parses the file; else it makes a version of it each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rendering.recorded_project import RECORDED, copy_of_project

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_processes_with_other_hash_seeds_and_caches_serialise_the_same_bytes(
    python: Path, project: Path, tmp_path: Path
) -> None:
    seeds = ("0", "1", "4711")

    said = [serialised(python, project, seed, home=tmp_path / seed) for seed in seeds]

    assert len(said[0]) > 20_000
    assert said == [said[0]] * len(seeds)


@pytest.mark.long
def test_two_versions_of_a_bundle_differ_in_the_path_of_the_project_alone(tmp_path: Path) -> None:
    folders = [copy_of_project(tmp_path / version / RECORDED.name) for version in ("v1", "v2")]

    first, second = (serialised(Path(sys.executable), folder, "0", home=tmp_path / "home") for folder in folders)

    assert json.loads(first) == json.loads(second)
    assert str(folders[0]) not in first


def serialised(python: Path, project: Path, seed: str, *, home: Path) -> str:
    """The DAG that one process makes of the project, as text."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": "/dags",
        "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(home / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": seed,
    }
    done = subprocess.run(
        [str(python), "-m", "tests.rendering.serialised_project", str(project)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
