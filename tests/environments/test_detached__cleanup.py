"""Files of detached builders are kept while somebody may read them, and never taken from a builder at work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cosmos_venv.environments.layout import builder_of
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.detached_process import DetachedWork
from tests.kit import MakeReady, MakeSpec, StartPython

DIGEST = "a" * 64
WEEKS = 15 * 86_400


@pytest.fixture
def left(tmp_path: Path) -> DetachedWork:
    """All that builders of one environment can leave, weeks old."""
    files = builder_of(EnvironmentStore(tmp_path), DIGEST)
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


def test_what_one_has_left_this_week_stays(
    tmp_path: Path, left: DetachedWork, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    os.utime(left.failure)
    before = names_in(left)

    make_ready(tmp_path, make_spec())

    assert names_in(left) == before


def test_that_of_a_builder_at_work_stays_however_old(
    tmp_path: Path, left: DetachedWork, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    before = names_in(left)

    with left.claim() as claim:
        assert claim is not None
        make_ready(tmp_path, make_spec())

    assert names_in(left) == before


CLAIM = """
import sys
from pathlib import Path
from cosmos_venv.processes.detached_process import DetachedWork
from cosmos_venv.environments.layout import builder_of
from cosmos_venv.environments.store import EnvironmentStore

stopped = []
def stop_before_locking(event, _arguments):
    if event == "fcntl.flock" and not stopped:
        stopped.append(event)
        print("ABOUT TO LOCK", flush=True)
        sys.stdin.readline()

files = builder_of(EnvironmentStore(Path(sys.argv[1])), sys.argv[2])
sys.addaudithook(stop_before_locking)
with files.claim() as claim:
    print("CLAIMED" if claim is not None else "at work", flush=True)
    sys.stdin.readline()
"""


def test_a_claim_that_was_swept_away_before_it_was_locked_is_taken_anew(
    tmp_path: Path, left: DetachedWork, make_spec: MakeSpec, make_ready: MakeReady, start_python: StartPython
) -> None:
    claiming = start_python(CLAIM, tmp_path, DIGEST)
    assert claiming.stdout is not None
    assert claiming.stdin is not None
    assert claiming.stdout.readline() == "ABOUT TO LOCK\n"

    make_ready(tmp_path, make_spec())
    claiming.stdin.write("go on\n")
    claiming.stdin.flush()

    assert claiming.stdout.readline() == "CLAIMED\n"
    with left.claim() as claim:
        assert claim is None
