"""Do the fixtures of this room do their work in somebody's project, and leave nothing of theirs behind?"""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def test_they_fail_in_words_and_leave_nothing_behind(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import os
        import threading
        from psutil import Process, pid_exists  # before any table is in place

        import psutil

        def pytest_sessionstart(session):
            session.before = state()

        def pytest_sessionfinish(session):
            after = state()
            assert after == session.before

        def state():
            platform = psutil._psplatform
            variables = dict(os.environ, PYTEST_CURRENT_TEST="")
            return (
                variables, threading.active_count(), len(os.listdir("/dev/fd")), Process().children(), os.kill,
                platform.Process, platform.pid_exists, platform.pids,
            )
        """)
    pytester.makepyfile("""
        import os
        from conftest import Process, pid_exists

        def test_all_of_them(cosmos_pids, cosmos_process_table, cosmos_venv_lock, tmp_path):
            lock = cosmos_venv_lock(tmp_path)
            for pid in (cosmos_pids.live(), cosmos_pids.dead(), cosmos_pids.zombie(), cosmos_process_table.live()):
                lock.held_by(pid)
            assert Process(lock.owner).name() == "python"
            assert pid_exists(lock.owner)
            assert len(lock.history) == 4

        def test_nobody_comes(cosmos_venv_lock, tmp_path):
            cosmos_venv_lock(tmp_path).wait_until_taken(timeout=0.01)

        def test_not_mine(cosmos_pids):
            cosmos_pids.kill(os.getpid())

        def test_nonsense(cosmos_venv_lock, tmp_path):
            cosmos_venv_lock(tmp_path).unreadable("permissions")
        """)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")

    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*cosmos_virtualenv.lock was not taken within 0.01 s.",
            "cosmos_pids.kill(*): that is no running process of cosmos_pids in this test.",
            "unreadable('permissions'): say 'directory' or 'dangling-link'.",
        ]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
