"""The inventory tells what stands in a store as it is, whoever asks, and writes nothing for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.inventory import StoredBuild, read_inventory, select
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.processes.lease import Lease, lease_path
from tests.environments.elsewhere import needs_root
from tests.kit import MakeReady, MakeSpec, SetAge, StartPython

MEBIBYTE = 1 << 20


def inventory(directory: Path) -> list[StoredBuild]:
    return read_inventory(EnvironmentStore(directory))


def test_a_ready_build_is_told_with_its_record(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> None:
    environment = make_ready(tmp_path, make_spec("hello==1.0"))

    (stored,) = inventory(tmp_path)

    assert (stored.path, stored.digest, stored.generation) == (environment.path, environment.digest, 1)
    assert (stored.state, stored.is_in_use, stored.record_fault) == ("ready", False, "")
    assert stored.record is not None
    assert stored.record.spec.requirements == ("hello==1.0",)
    assert stored.record.pins == {"hello": "1.0"}
    assert stored.record.built_by.uid == os.getuid()


def test_a_build_in_use_is_told_so_and_again_when_it_is_not(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    make_ready(tmp_path, make_spec())
    environment = EnvironmentStore(tmp_path).find(make_spec())
    assert environment is not None

    with closing(environment):
        while_used = inventory(tmp_path)
    afterwards = inventory(tmp_path)

    assert [each.is_in_use for each in [*while_used, *afterwards]] == [True, False]


def test_looking_is_no_use(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, set_age: SetAge) -> None:
    from cosmos_venv.environments.maintenance.inventory import verify

    lease = lease_path(make_ready(tmp_path, make_spec()).path)
    set_age(lease, 1000)
    before = lease.stat().st_mtime

    assert verify(inventory(tmp_path)[0]).faults == []
    assert lease.stat().st_mtime == before


def test_what_killed_processes_left_is_told_apart(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> None:
    ready = make_ready(tmp_path, make_spec()).path
    old, building, unfinished = (ready.with_name(f"{digest * 64}-1") for digest in "abc")
    for build in (old, building, unfinished):
        build.mkdir()
    newer = old.with_name(f"{'a' * 64}-2")
    newer.mkdir()
    (ready.parents[1] / ("a" * 64)).symlink_to(f"builds/{newer.name}")
    ready.with_name(f"{'d' * 64}-1.rubbish").mkdir()
    (ready.parents[1] / ("f" * 64)).symlink_to(f"builds/{'f' * 64}-1")
    lease = Lease.shared(building)
    assert lease is not None

    with closing(lease):
        states = {(each.name[0], each.generation): each.state for each in inventory(tmp_path) if each.path != ready}

    assert states == {
        ("a", 1): "old",
        ("a", 2): "ready",
        ("b", 1): "building",
        ("c", 1): "leftover",
        ("d", 1): "leftover",
        ("f", 1): "leftover",
    }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(None, "there is no record", id="missing"),
        pytest.param('{"digest": "', "the record is damaged", id="cut-off"),
        pytest.param('{"digest": 1}', "the record is damaged (Expected `str`, got `int`", id="of-another-shape"),
    ],
)
def test_a_damaged_record_is_told_and_hides_no_build(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, content: str | None, fault: str
) -> None:
    record = make_ready(tmp_path, make_spec()).record_file
    record.unlink() if content is None else record.write_text(content)

    (stored,) = inventory(tmp_path)

    assert stored.state == "ready"
    assert stored.record is None
    assert fault in stored.record_fault


def test_what_a_link_leads_to_takes_no_room(tmp_path: Path) -> None:
    builds = tmp_path / "envs-v1" / "builds"
    build = builds / f"{'a' * 64}-1"
    (build / "lib").mkdir(parents=True)
    (builds.parent / ("a" * 64)).symlink_to(f"builds/{build.name}")
    (build / "lib" / "dbt.py").write_bytes(os.urandom(MEBIBYTE))
    (build / "lib64").symlink_to(build / "lib")

    (stored,) = inventory(tmp_path)

    assert MEBIBYTE <= stored.bytes_on_disk < 1.5 * MEBIBYTE


def test_a_digest_is_known_by_its_first_characters(tmp_path: Path) -> None:
    for name in (f"{'ab' * 32}-1", f"{'ab' * 32}-2", f"{'ac' * 32}-1"):
        (tmp_path / "envs-v1" / "builds" / name).mkdir(parents=True)
    builds = inventory(tmp_path)

    assert [each.generation for each in select(builds, "ab")] == [1, 2]
    assert [each.generation for each in select(builds, f"{'ab' * 32}-2")] == [2]
    with pytest.raises(CosmosValueError, match=r"DIGEST 'a' fits abababababab, acacacacacac: give more characters"):
        select(builds, "a")
    for text in ("b", "", "ab-3"):
        with pytest.raises(CosmosValueError, match=f"DIGEST '{text}' fits no environment"):
            select(builds, text)


LOOK = """
import json, os, sys
from pathlib import Path
from cosmos_venv.environments import environment
from cosmos_venv.environments.maintenance.inventory import read_inventory
from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.layout import PruneLimits
from cosmos_venv.environments.maintenance.inventory import verify
from cosmos_venv.processes.cancellation import Cancellation
store = EnvironmentStore(Path(sys.argv[1]))
for each in read_inventory(store):
    verify(each)  # imports what the other user cannot read
os.setuid(int(sys.argv[2]))
looked = [[each.state, each.is_in_use, verify(each).faults] for each in read_inventory(store)]
limits = PruneLimits(max_count=1, min_age=0)
pruned = prune(store, limits, now=4e9, max_tries=0, cancellation=Cancellation(), report=print)
print(json.dumps([looked, [each.obstacle for each in pruned]]))
"""


@needs_root
def test_another_user_may_look_and_is_told_what_he_may_not_remove(
    everybodys_folder: Path, make_spec: MakeSpec, make_ready: MakeReady, start_python: StartPython
) -> None:
    # The interpreter of the tests may lie where another user cannot look.
    for version in ("1.0", "2.0"):
        build = make_ready(everybodys_folder / "store", make_spec(f"hello=={version}")).path
        (build / "bin").chmod(0o755)
        for link in (build / "bin").glob("python*"):
            link.unlink()
            link.symlink_to("/bin/sh")

    looked, obstacles = json.loads(start_python(LOOK, everybodys_folder / "store", 65534).communicate()[0])

    assert [each[:2] for each in looked] == [["ready", None]] * 2
    assert all(re.match("its interpreter, .*sh, does not answer: ", each[2][0]) for each in looked)
    assert len(obstacles) == 2
    assert "user id 65534 may not write to" in obstacles[0]


def test_a_store_on_a_read_only_mount_can_be_looked_at(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    for version in ("1.0", "2.0"):
        make_ready(tmp_path / "store", make_spec(f"hello=={version}"))
    mounted = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
    if subprocess.run(["unshare", "-m", "sh", "-c", mounted, "sh", tmp_path], check=False).returncode:
        pytest.skip("this user may not mount")

    look = ["unshare", "-m", "sh", "-c", f'{mounted} && exec "$2" -c "$3" "$4" 0']
    done = subprocess.run(
        [*look, "sh", tmp_path, sys.executable, LOOK, tmp_path / "store"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )

    looked, obstacles = json.loads(done.stdout)
    assert looked == [["ready", False, []]] * 2
    assert [obstacle.partition(", or ")[2] for obstacle in obstacles] == ["it is mounted read-only"] * 2
