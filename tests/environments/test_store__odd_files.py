"""Odd files in a store: a FIFO, a link or a directory where a file of ours is to be stops no task and no build."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cosmos_venv.environments.layout import (
    KERNEL_LOCK_FILENAME,
    LOCK_FILENAME,
    PruneLimits,
)
from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import lease_path
from tests.kit import MakeReady, MakeSpec
from tests.odd_files import plant

pytestmark = pytest.mark.timeout(120)
# Each kind: tests/files/test_durable_files.py.
EVERY_KIND = pytest.mark.parametrize("kind", ["fifo", "link-to-a-file"])


@EVERY_KIND
def test_a_task_uses_what_is_ready_and_a_builder_builds(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_ready(tmp_path, make_spec())
    odd = [lease_path(first.path), first.record_file, tmp_path / "bin" / "hello"]
    odd += [tmp_path / name for name in (LOCK_FILENAME, KERNEL_LOCK_FILENAME)]
    for path in odd:
        plant(path, kind)

    found = make_ready(tmp_path, make_spec())
    other = make_ready(tmp_path, make_spec("hello==1.0"))

    assert (found.path, found.was_built, other.was_built) == (first.path, False, True)
    assert found.age is None
    aside = {record.getMessage().partition(" was set aside")[0] for record in caplog.records}
    assert aside >= {str(path) for path in (odd[0], *odd[3:])}
    # The command is somebody's: it stays as it is.
    assert os.path.lexists(tmp_path / "bin" / "hello")
    assert not (tmp_path / "bin" / "hello").is_file() or (tmp_path / "bin" / "hello").read_text() == "theirs"


@EVERY_KIND
@pytest.mark.parametrize("ending", ["", ".json", ".lease"])
def test_what_is_left_is_removed_whatever_it_is(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, kind: str, ending: str
) -> None:
    builds = tmp_path / "envs-v1" / "builds"
    plant(builds / f"{'a' * 64}-7{ending}", kind)
    lines: list[str] = []

    environment = make_ready(tmp_path, make_spec(), lines=lines)

    ours = {environment.path, lease_path(environment.path), environment.record_file, builds / "theirs"}
    left = {path for path in builds.iterdir() if ".set-aside-" not in path.name} - ours
    assert (left, [line for line in lines if "left over" in line]) == (set(), [])


def test_what_was_used_in_a_future_that_no_clock_explains_goes_by_the_age_of_its_record(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    environment = make_ready(tmp_path, make_spec())
    ahead = time.time() + 10 * 365 * 86_400
    os.utime(lease_path(environment.path), (ahead, ahead))
    limits = PruneLimits(max_age=40, min_age=0)

    def pruned() -> list[str]:
        store, now = EnvironmentStore(tmp_path), time.time() + 60
        removals = prune(store, limits, now=now, max_tries=0, cancellation=Cancellation(), report=print)
        return [each.describe() for each in removals]

    assert ["was removed" in line for line in pruned()] == [True]
    assert pruned() == []
