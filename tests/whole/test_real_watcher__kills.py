"""A producer of WATCHER that is killed at random moments: what the tasks that watch it become."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import psutil
import pytest

from cosmos_venv.operators.run.journal import folder_of
from cosmos_venv.operators.watch.feed import JournalFiles
from cosmos_venv.operators.watch.verdict import Action, Watch, verdict
from tests.engines import DBT_2
from tests.whole.test_real_batches import ONE_TRY, chain_project

PRODUCER = ONE_TRY.replace("operators.virtualenv", "operators.watcher").replace(
    "DbtBatchVirtualenvOperator", "DbtProducerWatcherVirtualenvOperator"
)


def built_in(database: Path, nodes: dict[str, str]) -> set[str]:
    """The nodes whose tables are there."""
    if not database.exists():
        return set()
    with duckdb.connect(str(database), read_only=True) as connection:
        there = {name for (name,) in connection.execute("select table_name from information_schema.tables").fetchall()}
    return {node for node, name in nodes.items() if name in there}


def states_told(cache: Path, nodes: dict[str, str], producer_state: str) -> dict[str, Action]:
    """What each node's task does next, by the journal that the producer has written."""
    (folder,) = [*(cache / "journals-v1").glob("*")] or [folder_of("none")]
    journal = JournalFiles(folder)
    journal.read()
    return {node: verdict(Watch(nodes=[node]), journal.tries, producer_state).action for node in nodes}


def wait_until_built(worker: subprocess.Popen[bytes], cache: Path, nodes: dict[str, str], count: int) -> None:
    """Wait until the producer has told of so many built nodes, or has ended."""
    deadline = time.monotonic() + 60
    while [*states_told(cache, nodes, "running").values()].count(Action.SUCCEED) < count and worker.poll() is None:
        assert time.monotonic() < deadline, f"{count} of {len(nodes)} nodes were not built in time"
        time.sleep(0.01)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [12, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_no_task_is_green_over_an_unbuilt_node_and_none_waits_for_ever(
    kept_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    DBT_2.require()
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    chance = random.Random(27)  # noqa: S311 - moments
    moments = []
    for kill in range(kills):
        project, cache = tmp_path / f"harbor-{kill}", tmp_path / f"cache-{kill}"
        nodes = chain_project(project)
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(cache))
        given = {"project": str(project), "directory": str(kept_directory), "number": 1, "nodes": nodes}
        words = [sys.executable, "-c", PRODUCER, json.dumps(given | {"arguments": DBT_2.arguments})]
        worker = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            count = 0 if kill == 0 else chance.randrange(len(nodes))
            wait_until_built(worker, cache, nodes, count)
            # The first one makes the environment; of the others some are killed before dbt has told of anything.
            worker.wait(timeout=60 if kill == 0 else chance.uniform(0.0, 0.2 if count else 2.0))
            state = "success" if worker.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            children = psutil.Process(worker.pid).children(recursive=True)
            worker.kill()
            worker.wait()
            assert psutil.wait_procs(children, timeout=60)[1] == [], "dbt goes on"
            state = "failed"

        found = states_told(cache, nodes, state)
        green = {node for node, action in found.items() if action is Action.SUCCEED}
        assert {*found.values()} <= {Action.SUCCEED, Action.FAIL}, (kill, found)
        assert green <= built_in(project / "harbor.duckdb", nodes), (kill, found)
        # A kill behind the last node leaves green tasks under a producer that has failed, by which the run fails.
        assert state == "failed" or green == nodes.keys(), (kill, found)
        moments.append(len(green))
    assert len({*moments}) > 3, f"the kills came at {moments}"
