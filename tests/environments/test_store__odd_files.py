"""Odd files in a store: a FIFO, a link or a directory where a file of ours is to be stops no task and no build."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.layout import (
    KERNEL_LOCK_FILENAME,
    LOCK_FILENAME,
    NOTE_FILENAME,
    PruneLimits,
    builder_of,
    note_failed_upgrade,
)
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance.inventory import read_inventory
from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import Lease, lease_path
from tests.kit import MakeReady, MakeSpec
from tests.odd_files import KINDS, plant

pytestmark = pytest.mark.timeout(120)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@EVERY_KIND
def test_a_task_uses_what_is_ready_and_a_builder_builds(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_ready(tmp_path, make_spec())
    odd = [lease_path(first.path), first.record_file, tmp_path / "bin" / "hello"]
    odd += [tmp_path / name for name in (LOCK_FILENAME, NOTE_FILENAME, KERNEL_LOCK_FILENAME)]
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
def test_what_stands_in_place_of_the_link_is_set_aside_by_the_next_build(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    digest = make_ready(tmp_path, make_spec()).digest
    link = tmp_path / "envs-v1" / digest
    plant(link, kind)

    again = make_ready(tmp_path, make_spec())

    assert again.was_built
    assert link.readlink() == Path("builds", f"{digest}-2")
    assert [record.getMessage().partition(" as ")[0] for record in caplog.records] == [f"{link} was set aside"]
    assert not make_ready(tmp_path, make_spec()).was_built


@EVERY_KIND
@pytest.mark.parametrize("ending", ["", ".rubbish", ".json", ".lease", ".upgrade-failed"])
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


@EVERY_KIND
def test_who_asks_for_the_lock_is_not_bound_by_what_is_no_file(tmp_path: Path, kind: str) -> None:
    for name in (LOCK_FILENAME, NOTE_FILENAME, KERNEL_LOCK_FILENAME):
        plant(tmp_path / name, kind)

    assert VirtualenvLock(tmp_path).is_available(report=pytest.fail)
    with VirtualenvLock(tmp_path).acquire(max_tries=0, cancellation=Cancellation(), report=print):
        assert (tmp_path / LOCK_FILENAME).read_text() == str(os.getpid())


@EVERY_KIND
def test_a_detached_builder_begins_and_tells(tmp_path: Path, make_spec: MakeSpec, kind: str) -> None:
    spec = make_spec()
    files = builder_of(EnvironmentStore(tmp_path), spec.digest)
    for path in (files.claim_file, files.pid_file, files.failure, files.log):
        plant(path, kind)
    assert "by a process that has just started" in files.progress()

    build_detached(tmp_path, spec, max_tries=5, wait=None, report=print)

    assert read_inventory(EnvironmentStore(tmp_path))[0].state == "ready"
    assert files.log.is_file()
    assert not (tmp_path / "envs-v1" / "detached" / "theirs").exists() or kind == "link-to-a-file"


@EVERY_KIND
def test_a_failed_upgrade_is_noted(tmp_path: Path, kind: str) -> None:
    plant(tmp_path / "build.upgrade-failed", kind)

    note_failed_upgrade(tmp_path / "build", "hello is mute")

    assert (tmp_path / "build.upgrade-failed").read_text() == "hello is mute\n"


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


def test_a_use_takes_a_date_in_the_future_back(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> None:
    build = make_ready(tmp_path, make_spec()).path
    os.utime(lease_path(build), (time.time() + 10 * 86_400,) * 2)

    lease = Lease.shared(build)

    assert lease is not None
    with closing(lease):
        assert abs(lease.last_use - time.time()) < 60
