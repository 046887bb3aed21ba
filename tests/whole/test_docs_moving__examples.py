"""The DAG files of examples.md, which are written after the documentation of Cosmos, work with one word changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.installed import ENVIRONMENTS, is_missing
from tests.project.ls_place import Place
from tests.whole import examples

COSMOS = ENVIRONMENTS / "cosmos" / "bin" / "python"
IDS = [re.findall(r'"(\w+)", schedule|dag_id="(\w+)"|def (cleanup_dag)', each)[0] for each in examples.SOURCES]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of the files, and a dbt that lists its nodes."""
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE", "False")
    place = Place(tmp_path)
    said = place.dbt.read_text().rstrip()
    (tmp_path / "dbt").write_text(f"{said}\ncat '{tmp_path}/project/dbt_ls.jsonl'\n")
    (tmp_path / "dbt").chmod(0o755)
    return tmp_path


def test_there_are_twelve() -> None:
    assert len(examples.SOURCES) == 12


@pytest.mark.parametrize("source", examples.SOURCES, ids=["".join(each) for each in IDS])
def test_a_file_makes_a_dag(source: str, folder: Path) -> None:
    assert len(examples.tasks_of("cosmos_venv", source, folder)) > 1


@pytest.mark.long
def test_each_file_makes_the_tasks_that_it_makes_with_cosmos(folder: Path, tmp_path: Path) -> None:
    if is_missing(COSMOS):
        pytest.skip("no Cosmos at .cache/envs/cosmos: make test makes it")
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow"), "PYTHONPATH": ""}
    command = [str(COSMOS), str(Path(examples.__file__)), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    for source, theirs in zip(examples.SOURCES, json.loads(done.stdout), strict=True):
        ours = examples.tasks_of("cosmos_venv", source, folder)
        assert {*ours} - {"dbt_producer_watcher_done"} == {*theirs}
