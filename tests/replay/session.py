"""The pytest session that records: one test for each scenario, which writes its record into a folder.

``python -m tests.replay`` starts it, with what it needs to know in environment variables.
"""

from __future__ import annotations

import fnmatch
import json
import os
import tempfile
from pathlib import Path

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosProject
from tests.replay.dags import SCENARIOS
from tests.replay.layout import CHECKOUT, NAMES, RECORDS, SHARED
from tests.replay.recorder import Bench

MOST_SERVERS = 8


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of all scenarios: a warm dbt serves commands with one such folder."""
    return tmp_path_factory.mktemp("t")


@pytest.mark.parametrize("name", fnmatch.filter(SCENARIOS, os.environ[NAMES]))
def test_record(
    name: str,
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    cosmos_airflow: CosmosAirflow,
    cosmos_project: CosmosProject,
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    bench = Bench(
        folder=tmp_path,
        temporary=temporary,
        projects=cosmos_project,
        airflow=cosmos_airflow,
        patch=monkeypatch,
        fixture=request.getfixturevalue,
        checkout=Path(os.environ[CHECKOUT]),
        shared=Path(os.environ[SHARED]),
    )
    bench.set(cache_dir=tmp_path / "cache", virtualenv_warm_dbt="off", virtualenv_warm_dbt_max=MOST_SERVERS)

    before = processor_seconds()

    SCENARIOS[name](bench)

    Path(os.environ[SHARED], f"{name}.seconds").write_text(f"{processor_seconds() - before:.2f}")
    text = json.dumps(bench.record(), indent=1, sort_keys=True, ensure_ascii=False)
    Path(os.environ[RECORDS], f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
