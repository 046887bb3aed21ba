"""Files of detached builders are kept while somebody may read them, and never taken from a builder at work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cosmos_venv.environments.store import DETACHED, EnvironmentStore
from cosmos_venv.processes.detached_process import DetachedWork
from tests.kit import MakeReady, MakeSpec

DIGEST = "a" * 64
WEEKS = 15 * 86_400


@pytest.fixture
def left(tmp_path: Path) -> DetachedWork:
    """All that builders of one environment can leave, weeks old."""
    store = EnvironmentStore(tmp_path)
    store.make(store.root / DETACHED)
    files = DetachedWork(folder=store.root / DETACHED, key=DIGEST)
    half = files.failure.with_name(f".{files.failure.name}.4711")
    for file in (files.claim_file, files.pid_file, files.failure, files.log, half):
        file.write_text("left")
        os.utime(file, (time.time() - WEEKS,) * 2)
    return files


def names_in(files: DetachedWork) -> list[str]:
    return sorted(path.name for path in files.log.parent.iterdir())


def test_what_builders_left_weeks_ago_goes_with_the_next_build(
    tmp_path: Path, left: DetachedWork, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    (left.log.parent / "theirs").touch()

    make_ready(tmp_path, make_spec())

    assert names_in(left) == ["theirs"]
