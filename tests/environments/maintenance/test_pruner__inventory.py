"""The inventory tells what stands in a store as it is, whoever asks, and writes nothing for it."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from cosmos_venv.environments.maintenance.pruner import StoredBuild, read_inventory, select
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.kernel_lock import Lease, lease_path
from tests.environments.elsewhere import needs_root
from tests.kit import MakeReady, MakeSpec, SetAge, StartPython

MEBIBYTE = 1 << 20


def inventory(directory: Path) -> list[StoredBuild]:
    return read_inventory(EnvironmentStore(directory))


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
    from cosmos_venv.environments.maintenance.verification import verify

    lease = lease_path(make_ready(tmp_path, make_spec()).path)
    set_age(lease, 1000)
    before = lease.stat().st_mtime

    assert verify(inventory(tmp_path)[0]).faults == []
    assert lease.stat().st_mtime == before


def test_what_no_record_names_is_told_apart(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, set_age: SetAge
) -> None:
    ready = make_ready(tmp_path, make_spec()).path
    old, newer, building, left = (
        ready.with_name(f"{digest}-{number * 8}")
        for digest, number in ((ready.name[:64], "1"), (ready.name[:64], "2"), ("b" * 64, "3"), ("c" * 64, "4"))
    )
    for build in (old, newer, building, left):
        build.mkdir()
    set_age(old, 1000)
    set_age(newer, -10)  # begun after the ready one was published
    ready.with_name(f"{'d' * 64}-{'5' * 8}.lease").touch()
    leases = [Lease.shared(build) for build in (old, newer, building)]

    # By the suffix: the digest of the ready one, which the folder of the test changes, may begin with any digit.
    states = {each.name[65]: each.state for each in inventory(tmp_path) if each.path != ready}
    for lease in leases:
        assert lease is not None
        lease.close()

    assert states == {"1": "old", "2": "building", "3": "building", "4": "leftover", "5": "leftover"}


def test_what_a_link_leads_to_takes_no_room(tmp_path: Path) -> None:
    build = tmp_path / "envs-v2" / f"{'a' * 64}-{'1' * 8}"
    (build / "lib").mkdir(parents=True)
    (build / "lib" / "dbt.py").write_bytes(os.urandom(MEBIBYTE))
    (build / "lib64").symlink_to(build / "lib")

    (stored,) = inventory(tmp_path)

    assert MEBIBYTE <= stored.bytes_on_disk < 1.5 * MEBIBYTE


def test_a_digest_is_known_by_its_first_characters(tmp_path: Path) -> None:
    for name in (f"{'ab' * 32}-{'1' * 8}", f"{'ab' * 32}-{'2' * 8}", f"{'ac' * 32}-{'1' * 8}"):
        (tmp_path / "envs-v2" / name).mkdir(parents=True)
    builds = inventory(tmp_path)

    assert [each.suffix for each in select(builds, "ab")] == ["1" * 8, "2" * 8]
    assert [each.suffix for each in select(builds, f"{'ab' * 32}-2")] == ["2" * 8]
    with pytest.raises(CosmosValueError, match=r"DIGEST 'a' fits abababababab, acacacacacac: give more characters"):
        select(builds, "a")
    for text in ("b", "", "ab-3"):
        with pytest.raises(CosmosValueError, match=f"DIGEST '{text}' fits no environment"):
            select(builds, text)


LOOK = """
import json, os, sys
from pathlib import Path
from cosmos_venv.environments.maintenance.pruner import read_inventory
from cosmos_venv.environments.maintenance.verification import verify
from cosmos_venv.environments.maintenance.pruner import PruneLimits, prune, surplus
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation
store = EnvironmentStore(Path(sys.argv[1]))
for each in read_inventory(store):
    verify(each)  # imports what the other user cannot read
os.setuid(int(sys.argv[2]))
looked = [[each.state, each.is_in_use, verify(each).faults] for each in read_inventory(store)]
limits = PruneLimits(max_count=1, min_age=0)
try:
    prune(store, lambda: surplus(store, limits, now=4e9), max_tries=0, cancellation=Cancellation(), report=print)
except VirtualenvError as error:
    print(json.dumps([looked, str(error)]))
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

    looked, told = json.loads(start_python(LOOK, everybodys_folder / "store", 65534).communicate()[0])

    assert [each[:2] for each in looked] == [["ready", None]] * 2
    assert "cannot be used: Permission denied" in told
