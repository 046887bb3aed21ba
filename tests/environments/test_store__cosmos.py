"""Tasks of astronomer-cosmos and of ours share a ``virtualenv_dir``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.workers import COSMOS
from tests.environments.shared_directory import share
from tests.packaging.distributions import require


@pytest.mark.long
@pytest.mark.parametrize("at_once", [False, True], ids=["in-turns", "at-once"])
def test_tasks_of_both_succeed_and_no_published_file_changes(at_once: bool, tmp_path: Path) -> None:
    require(COSMOS, reason="astronomer-cosmos in an environment of its own")

    tally = share(tmp_path, "uv", 2, at_once=at_once)

    assert (tally.tasks, tally.faults, tally.theirs) == (4, [], [])
