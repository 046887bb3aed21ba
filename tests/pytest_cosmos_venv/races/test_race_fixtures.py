"""Do the fixtures do their work in somebody's project, fail in words, and leave no process behind, even when killed?"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

pytest_plugins = ["pytester"]

HARBOR = """
    import os, signal, subprocess, threading
    from pathlib import Path

    def work(contender, place):
        Path(place, f"{contender.name}.{os.getpid()}").touch()
        return contender.index

    def hang(contender, place):
        daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path(place, f"daemon-{contender.index}.{daemon.pid}").touch()
        work(contender, place)
        threading.Event().wait()
"""


KEPT = """
KEPT = []

def test_passes(cosmos_task_race, cosmos_fake_venv, place):
    assert cosmos_fake_venv == "a fixture of their own"
    assert cosmos_task_race(work, place, contenders=3).values == (0, 1, 2)

def test_forgets_to_leave(cosmos_task_race, place):
    KEPT.append(cosmos_task_race.start(hang, place).__enter__())

def test_nothing_of_it_runs():
    import psutil
    (race,) = KEPT
    assert len(race.pids) == 2
    assert not [pid for pid in race.pids if psutil.pid_exists(pid)]
"""


@pytest.mark.long
def test_races_in_a_project_of_somebody(pytester: pytest.Pytester) -> None:
    place = pytester.mkdir("place")
    pytester.makeconftest(f"""
        import pytest

        @pytest.fixture
        def place():
            return {str(place)!r}

        @pytest.fixture
        def cosmos_fake_venv():
            return "a fixture of their own"
        """)
    files = {
        "tests/one/test_harbor.py": KEPT,
        "tests/two/test_harbor.py": "def test_fails(cosmos_task_race, place):\n"
        "    cosmos_task_race(hang, place, timeout=0.5)\n\n"
        "def test_misuse(cosmos_task_race, place):\n"
        "    cosmos_task_race(lambda contender: None)\n",
    }
    for name, text in files.items():
        (pytester.path / name).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / name).write_text(_dedented(HARBOR) + "\n" + text)

    # From another directory: the first one on sys.path would help to find what is to be found by its file.
    os.chdir(pytester.mkdir("elsewhere"))
    result = pytester.runpytest_subprocess(
        "..", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:randomly"
    )

    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *RaceFailure: contender-0, contender-1 have not ended within 0.5 s*",
            "E *contender-0 (PID *): had not ended",
            "E * in hang",
            "E *contender-0 task*no end",
            "test_misuse.<locals>.<lambda> is made inside a function*Move it to the top of the file*",
        ]
    )
    result.stdout.no_fnmatch_line("*task_race.py*")
    assert_gone(place)


def test_a_run_that_is_killed_leaves_no_contender(pytester: pytest.Pytester) -> None:
    place = pytester.mkdir("place")
    pytester.makepyfile(
        test_harbor=_dedented(HARBOR)
        + f"""
def test_dies(cosmos_task_race):
    with cosmos_task_race.start(hang, {str(place)!r}, contenders=2) as race:
        Path({str(place)!r}, f"tests.{{os.getpid()}}").touch()
        while len(os.listdir({str(place)!r})) < 5:
            pass
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )

    pytester.runpytest_subprocess("-p", "no:cacheprovider")

    assert_gone(place, deadline=20)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_measured_in_a_project_of_somebody(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_it_is_as_frugal_as_it_was(cosmos_peak_memory):
            with cosmos_peak_memory() as reference:
                bytearray(32 << 20)
            with cosmos_peak_memory() as peak:
                bytearray(128 << 20)
            assert peak.ratio_to(reference) < 1.5
        """)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *assert * < 1.5"])


def assert_gone(place: Path, *, deadline: float = 0.0) -> None:
    """Every process that left its PID there has ended."""
    pids = {int(file.suffix[1:]) for file in place.iterdir()}
    assert len(pids) >= 3
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=deadline)
    assert not alive


def _dedented(text: str) -> str:
    import textwrap

    return textwrap.dedent(text)
