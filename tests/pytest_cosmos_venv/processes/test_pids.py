"""The PIDs of ``cosmos_pids`` are what they are said to be, and every process is gone afterwards."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import ToolkitMisuse
from pytest_cosmos_venv.processes.pids import Pids

pytest_plugins = ["pytester"]


def test_a_live_one_lives_until_it_is_killed(cosmos_pids: Pids) -> None:
    pid = cosmos_pids.live()

    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    cosmos_pids.kill(pid)
    assert not psutil.pid_exists(pid)


def test_a_dead_one_is_gone_and_its_number_is_not_given_out_again(cosmos_pids: Pids) -> None:
    pid = cosmos_pids.dead()

    assert not psutil.pid_exists(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # The group of that number has a member, which is what keeps the kernel from giving it to a process.
    os.killpg(pid, 0)


def test_a_zombie_stays_one(cosmos_pids: Pids) -> None:
    pid = cosmos_pids.zombie()
    subprocess.run(["true"], check=True)

    assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    os.kill(pid, 0)


def test_a_reused_one_is_younger_than_the_lock_that_names_it(cosmos_pids: Pids, tmp_path: Path) -> None:
    lock = tmp_path / "environments" / "cosmos_virtualenv.lock"

    pid = cosmos_pids.reused(lock)

    assert lock.read_text() == str(pid)
    assert psutil.Process(pid).create_time() > lock.stat().st_mtime + 3000
    assert time.time() > lock.stat().st_mtime


def test_a_foreign_one_belongs_to_another_user(cosmos_pids: Pids) -> None:
    pid = cosmos_pids.foreign()

    assert psutil.Process(pid).uids().real != os.getuid()


def test_only_its_own_processes_are_killed(cosmos_pids: Pids) -> None:
    with pytest.raises(ToolkitMisuse, match=rf"kill\({os.getpid()}\): that is no running process of cosmos_pids"):
        cosmos_pids.kill(os.getpid())


def test_nothing_is_left_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBOR_TEST", str(tmp_path))
    pids = Pids()
    made = [pids.live(), pids.zombie(), pids.dead(), pids.foreign()]
    group = made[2]

    pids.close()

    assert not [pid for pid in made if psutil.pid_exists(pid)]
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    # Tests in other workers start such processes too. The environment is None where a process has ended meanwhile.
    known = psutil.process_iter(["name", "environ"])
    mine = [each for each in known if (each.info["environ"] or {}).get("HARBOR_TEST") == str(tmp_path)]
    assert not [each for each in mine if each.info["name"] == "cat"]


@pytest.mark.long
def test_processes_end_with_a_test_that_fails_and_with_one_that_is_killed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_fails="""
        from pathlib import Path

        def test_fails(cosmos_pids):
            Path("pids").write_text(f"{cosmos_pids.live()} {cosmos_pids.dead()} {cosmos_pids.zombie()}")
            assert False
        """,
        test_dies="""
        import os, signal
        from pathlib import Path

        def test_dies(cosmos_pids):
            Path("orphan").write_text(str(cosmos_pids.live()))
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )

    pytester.runpytest_subprocess("test_fails.py").assert_outcomes(failed=1)
    pytester.runpytest_subprocess("test_dies.py")

    assert not [pid for pid in (pytester.path / "pids").read_text().split() if psutil.pid_exists(int(pid))]
    orphan = int((pytester.path / "orphan").read_text())
    psutil.wait_procs([psutil.Process(orphan)] if psutil.pid_exists(orphan) else [], timeout=10)
    assert not psutil.pid_exists(orphan)
