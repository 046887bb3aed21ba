"""A contender whose process serves on is killed as one whose process ends: nothing more of it is to be seen."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosRace, Schedule
from pytest_cosmos_venv.explore import schedule
from tests.waiting import wait_until

Work = Callable[[Contender], object]


def clean_up_in_the_end(contender: Contender) -> None:
    """A lock file that is removed whatever happens, but for a kill."""
    lock = contender.folder / f"lock-{contender.index}"
    try:
        lock.write_text("held")
        (contender.folder / "both").exists()
    finally:
        lock.unlink()


def clean_up_by_a_program(contender: Contender) -> None:
    """The same by calls that are no steps."""
    lock = contender.folder / f"lock-{contender.index}"
    try:
        lock.touch()
        (contender.folder / "both").exists()
    finally:
        subprocess.run(["rm", "-f", lock], check=True)


def write_from_a_buffer(contender: Contender) -> None:
    with (contender.folder / f"buffered-{contender.index}").open("w") as file:
        file.write("not written yet")
        (contender.folder / "both").touch()


def hold_a_lock_of_the_kernel(contender: Contender) -> None:
    with (contender.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (contender.folder / f"held-{contender.index}").touch()


def try_for_ever(contender: Contender) -> None:
    (contender.folder / "begun").touch()
    while True:
        try:
            (contender.folder / f"kept-trying-{contender.index}").touch()
            return
        except BaseException:  # noqa: BLE001, S112 - as above
            continue


def start_a_process(contender: Contender) -> None:
    (contender.folder / "begun").touch()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE):
        (contender.folder / f"while-it-ran-{contender.index}").touch()


def start_a_thread(contender: Contender) -> None:
    (contender.folder / "begun").touch()
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        (contender.folder / f"beside-a-thread-{contender.index}").touch()
    finally:
        over.set()
        thread.join()


def sleep_between(contender: Contender) -> None:
    (contender.folder / f"before-{contender.index}").touch()
    time.sleep(1)
    (contender.folder / f"after-{contender.index}").touch()


def look_at_the_other(contender: Contender) -> None:
    note_whether_dead(contender, lambda pid: os.kill(pid, 0))


def note_whether_dead(contender: Contender, ask: Callable[[int], object]) -> None:
    """Write down the own pid, and whether the process of the other one is no more."""
    own = contender.folder / f"pid-{contender.index}"
    own.write_text(str(os.getpid()))
    other = contender.folder / f"pid-{1 - contender.index}"
    if other.exists() and (pid := other.read_text()):
        try:
            ask(int(pid))
        except ProcessLookupError:
            (contender.folder / f"seen-dead-by-{contender.index}").touch()


WORKS: list[Work] = [
    clean_up_in_the_end,
    clean_up_by_a_program,
    write_from_a_buffer,
    hold_a_lock_of_the_kernel,
    try_for_ever,
    start_a_process,
    start_a_thread,
    sleep_between,
    look_at_the_other,
]
SEES_THE_OTHER = (hold_a_lock_of_the_kernel, sleep_between, look_at_the_other)


def folders_after_kills(race: CosmosRace, work: Work, found: Path, *, reuse: bool) -> set[tuple[str, ...]]:
    """What the schedules have left: files with their sizes, and who was killed."""

    def write_down(run: Schedule) -> None:
        files = [f"{path.name}: {bool(path.stat().st_size)}" for path in sorted(run.folder.iterdir())]
        with found.open("a") as lines:
            lines.write(f"{[*files, *run.killed]}\n")

    works = [work, work] if work in SEES_THE_OTHER else [work]
    # With an interruption, one is killed while the other one waits for its lock.
    preemptions = 1 if work is hold_a_lock_of_the_kernel else 0
    race.explore(works, check=write_down, preemptions=preemptions, kills=1, reuse=reuse)
    return {tuple(line.split(", ")) for line in found.read_text().splitlines()}


@pytest.mark.long
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_kills_leave_the_same_in_kept_and_in_new_processes(cosmos_race: CosmosRace, work: Work, tmp_path: Path) -> None:
    in_new = folders_after_kills(cosmos_race, work, tmp_path / "new", reuse=False)
    in_kept = folders_after_kills(cosmos_race, work, tmp_path / "kept", reuse=True)

    assert in_kept == in_new
    assert any("contender" in last for *_, last in in_kept)


def start_and_go_on(contender: Contender) -> int:
    pid = subprocess.Popen(["sleep", "300"]).pid
    (contender.folder / "both").exists()
    return pid


def touch_both(contender: Contender) -> None:
    (contender.folder / "both").touch()


def test_no_process_of_a_contender_outlives_its_schedule(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    def start_and_write_down(contender: Contender) -> None:
        pid = start_and_go_on(contender)
        with (tmp_path / str(os.getppid())).open("a") as file:
            file.write(f"{pid}\n")
        (contender.folder / "written-down").touch()

    def none_is_left(run: Schedule) -> None:
        own = tmp_path / str(os.getpid())  # the parent of this schedule's contenders
        pids = own.read_text().split() if own.exists() else []
        assert [pid for pid in pids if psutil.pid_exists(int(pid))] == []

    exploration = cosmos_race.explore([start_and_write_down, touch_both], check=none_is_left, preemptions=1, reuse=True)

    assert exploration.is_complete
    assert any(tmp_path.iterdir())


def test_no_process_of_a_contender_outlives_an_interrupted_exploration(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    test = os.getpid()

    def start_then_interrupt(contender: Contender) -> None:
        pid = start_and_go_on(contender)
        (tmp_path / str(pid)).touch()
        os.kill(test, signal.SIGINT)
        signal.pause()

    with pytest.raises(KeyboardInterrupt):
        cosmos_race.explore([start_then_interrupt], reuse=True)

    (pid,) = tmp_path.iterdir()
    wait_until(lambda: has_ended(int(pid.name)))


def has_ended(pid: int) -> bool:
    """Whether a process is no more, or is a zombie: in a container PID 1 may never reap it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("work", "is_kept"),
    [
        (clean_up_in_the_end, True),
        (try_for_ever, False),
        (start_a_process, False),
        (start_a_thread, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_process_serves_on_where_its_function_can_be_left(
    cosmos_race: CosmosRace, work: Work, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if work is not try_for_ever:  # it is told at once whether a process can serve on
        monkeypatch.setattr(schedule, "LONGEST_WAY_OUT", 120.0)

    def write_down_the_pid(contender: Contender) -> None:
        with (tmp_path / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        work(contender)

    exploration = cosmos_race.explore([write_down_the_pid, write_down_the_pid], preemptions=0, kills=1, reuse=True)

    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2 * exploration.schedules
    assert (len(set(pids)) <= 4) == is_kept  # two contenders in each of the two processes that run schedules
