"""A fresh worker makes the one task that it runs of a plan that another machine has kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from tests.rendering.one_task.test_partial import HEAD, WHOLE
from tests.worker_parse import made_of, parse, parse_in_worker

pytestmark = pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2's worker looks at the states of other tasks itself")


@pytest.fixture
def dag_file(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    key = tmp_path / "key"
    key.write_text("the key of all workers")
    key.chmod(0o600)
    for name, value in {
        "REMOTE_CACHE_DIR": f"file://{tmp_path}/remote",
        "REMOTE_KEY_FILE": str(key),
        "REMOTE_CACHE_PLANS": "true",
        "CACHE_DIR": str(tmp_path / "kept"),
    }.items():
        monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{name}", value)
    file = tmp_path / "harbor.py"
    file.write_text(HEAD.format(folder=str(project)) + WHOLE)
    return file


class Machine:
    """A machine with a cache folder of its own."""

    def __init__(self, folder: Path, dag_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.dag_file, self.monkeypatch = folder, dag_file, monkeypatch

    def parse(self) -> Any:
        with self.monkeypatch.context() as patch:
            patch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(self.folder))
            return parse(self.dag_file, "harbor")

    def run(self, task_id: str) -> Any:
        with self.monkeypatch.context() as patch:
            patch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(self.folder))
            return parse_in_worker(patch, self.dag_file, "harbor", task_id)


def test_a_fresh_worker_makes_its_task_alone(dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(tmp_path / "processor", dag_file, monkeypatch).parse()

    dag = Machine(tmp_path / "worker", dag_file, monkeypatch).run("stg_vessels_run")

    assert made_of(dag) == {"stg_vessels_run"}


@pytest.mark.parametrize("setting", ["REMOTE_CACHE_PLANS", "REMOTE_KEY_FILE"])
def test_a_worker_without_the_setting_or_with_another_key_makes_everything(
    dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    Machine(tmp_path / "processor", dag_file, monkeypatch).parse()
    other = tmp_path / "another key"
    other.write_text("the key of somebody else")
    other.chmod(0o600)
    monkeypatch.setenv(f"AIRFLOW__COSMOS_VENV__{setting}", str(other) if setting.endswith("FILE") else "false")

    dag = Machine(tmp_path / "worker", dag_file, monkeypatch).run("stg_vessels_run")

    assert len(made_of(dag)) > 15


def test_the_setting_alone_is_refused_with_what_it_needs(dag_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_CACHE_DIR", "")

    with pytest.raises(AssertionError, match="remote_cache_plans is on, and it needs remote_cache_dir, and a key"):
        parse(dag_file, "harbor")
