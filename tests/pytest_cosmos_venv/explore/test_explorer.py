"""The fixture finds what goes wrong in some order of steps, shows the shortest, and repeats it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import signal
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.errors import ToolkitMisuse, UnfinishedExplorationWarning
from pytest_cosmos_venv.explore import virtual_clock
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule


def look_then_write(contender: Contender) -> None:
    """A lock file with the oldest bug: it looks, and then it writes."""
    lock = contender.folder / "lock"
    while lock.exists():
        time.sleep(1)
    lock.write_text(contender.name)
    with contender.span("held"):
        pass
    lock.unlink(missing_ok=True)


def make_exclusively(contender: Contender) -> None:
    """The same without the bug; who is killed keeps it for ever."""
    lock = contender.folder / "lock"
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            time.sleep(1)
    with contender.span("held"):
        pass
    lock.unlink()


def flocked(contender: Contender) -> None:
    with (contender.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contender.span("held"):
            pass


def locked_for_an_open_file(contender: Contender) -> None:
    """By ``F_OFD_SETLK`` of Linux, whose number Python knows from 3.9 on."""
    whole_file = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with (contender.folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.fcntl(lock, 37, whole_file)
                break
            except BlockingIOError:
                time.sleep(1)
        with contender.span("held"):
            pass


def with_filelock(contender: Contender) -> None:
    with filelock.FileLock(contender.folder / "lock"), contender.span("held"):
        pass


def held_by_one(run: Schedule) -> None:
    if run.timeline.count("held"):
        run.timeline.assert_max_concurrent("held", 1)


def test_the_shortest_schedule_is_shown_as_a_table_and_drawn(cosmos_race: CosmosRace) -> None:
    with pytest.raises(FailingSchedule) as failure:
        cosmos_race.explore([look_then_write, look_then_write], check=held_by_one, kills=0)

    text = str(failure.value)
    assert "At most 1 held at one moment expected, 2 seen" in text
    assert [step.text for step in failure.value.run.steps][:2] == ["stat lock", "stat lock"]
    assert re.search(r"\n   \d  stat lock: ENOENT\n", text)
    assert re.search(r"\n   \d {20,}stat lock: ENOENT\n", text)
    assert "contender-0 held" in text
    assert f"Again: cosmos_race.replay({failure.value.seed!r}, …)" in text


def test_a_failing_schedule_is_repeated_by_its_seed(cosmos_race: CosmosRace) -> None:
    works = [look_then_write, look_then_write]
    with pytest.raises(FailingSchedule) as failure:
        cosmos_race.explore(works, check=held_by_one, kills=0)

    with pytest.raises(FailingSchedule, match="2 seen") as again:
        cosmos_race.replay(failure.value.seed, works, check=held_by_one)

    assert [step.text for step in again.value.run.steps] == [step.text for step in failure.value.run.steps]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no folder in memory")  # noqa: S108 - it is looked at
def test_the_folder_of_a_killed_exploration_is_removed_by_the_next_one(cosmos_race: CosmosRace) -> None:
    def kill_the_test(_: Contender) -> None:
        os.kill(test, signal.SIGKILL)

    test = os.fork()
    if test == 0:
        test = os.getpid()
        try:
            cosmos_race.explore([kill_the_test])
        finally:
            os._exit(0)
    os.waitpid(test, 0)
    left = list(Path("/dev/shm").glob(f"cosmos-schedules-*-{test}-*"))  # noqa: S108

    cosmos_race.explore([flocked])

    assert [folder.exists() for folder in left] == [False]


def test_a_schedule_is_followed_as_far_as_mended_code_allows(cosmos_race: CosmosRace) -> None:
    run = cosmos_race.replay("a1(open) b3(begin) a4", [make_exclusively, make_exclusively], check=held_by_one)

    assert run.divergence == "after step 1, contender-0 comes to begin, not to open"
    assert [outcome.in_words for outcome in run.outcomes] == ["returned None", "returned None"]


@pytest.mark.parametrize("work", [make_exclusively, flocked, locked_for_an_open_file, with_filelock])
def test_a_sound_lock_is_explored_to_the_end(cosmos_race: CosmosRace, work: object) -> None:
    works: list[Any] = [work, work]

    exploration = cosmos_race.explore(works, check=held_by_one, preemptions=1, kills=0)

    assert exploration.is_complete
    assert exploration.schedules >= exploration.orders >= 2
    assert str(exploration).startswith(
        f"explored {exploration.schedules} schedules with at most 1 preemption, at most 0"
    )


@pytest.mark.parametrize("close", ["duplicate", "both"])
def test_a_lock_is_held_until_its_last_duplicate_is_closed(cosmos_race: CosmosRace, close: str) -> None:
    def work(contender: Contender) -> None:
        descriptor = os.open(contender.folder / "lock", os.O_RDWR | os.O_CREAT)
        duplicate = os.dup(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contender.span("held"):
            os.close(descriptor if close == "both" else duplicate)
        os.close(duplicate if close == "both" else descriptor)

    assert cosmos_race.explore([work, work], check=held_by_one, preemptions=1, kills=1).is_complete


def test_a_kill_shows_who_waits_for_ever(cosmos_race: CosmosRace) -> None:
    with pytest.raises(FailingSchedule, match="contender-1 never ends") as failure:
        cosmos_race.explore([make_exclusively, make_exclusively], preemptions=0, kills=1, most_steps=50)

    assert failure.value.seed == "a1(begin) a!"
    assert failure.value.run.killed == ("contender-0",)
    assert "✗ killed before: begin held" in str(failure.value)


def test_each_step_can_fail(cosmos_race: CosmosRace) -> None:
    def write(contender: Contender) -> None:
        (contender.folder / "half").write_text("all of it")
        (contender.folder / "half").rename(contender.folder / "book")

    def is_whole(run: Schedule) -> None:
        book = run.folder / "book"
        assert not book.exists() or book.read_text() == "all of it"
        assert not (run.folder / "half").exists()

    with pytest.raises(FailingSchedule) as failure:
        cosmos_race.explore([write], check=is_whole, kills=0, errors=1)

    assert failure.value.run.steps[-1].name == "end"
    assert failure.value.seed in {"a1(write) a:ENOSPC", "a1(write) a:EIO"}
    assert failure.value.run.outcomes[0].in_words.startswith("raised OSError: [Errno")


def test_two_that_wait_for_each_other_are_told(cosmos_race: CosmosRace) -> None:
    def takes(first: str, second: str) -> Callable[[Contender], None]:
        def work(contender: Contender) -> None:
            with (contender.folder / first).open("w") as one, (contender.folder / second).open("w") as two:
                fcntl.flock(one, fcntl.LOCK_EX)
                fcntl.flock(two, fcntl.LOCK_EX)

        return work

    with pytest.raises(FailingSchedule, match=r"No contender can go on: contender-0 \(flock b LOCK_EX\), contender-1"):
        cosmos_race.explore([takes("a", "b"), takes("b", "a")], kills=0)


def test_time_stands_still_and_passes_when_all_wait(cosmos_race: CosmosRace) -> None:
    def wait(contender: Contender) -> float:
        began, wall = time.monotonic(), time.time()
        (contender.folder / contender.name).touch()
        time.sleep(3600)
        assert time.time() - wall == time.monotonic() - began
        return time.time() - (contender.folder / contender.name).stat().st_mtime

    def took_an_hour(run: Schedule) -> None:
        assert [round(value, 3) for value in run.values] == [3600, 3600]

    exploration = cosmos_race.explore([wait, wait], check=took_an_hour, preemptions=0, kills=0)

    assert exploration.is_complete


@pytest.mark.long
@pytest.mark.proof
def test_a_wait_has_the_same_steps_however_long_the_machine_has_run(
    cosmos_race: CosmosRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`began + 1.0` is rounded in another place where the monotonic clock passes a power of two."""
    real, uptimes = time.clock_gettime, itertools.cycle((500.0, 1022.0))

    def clock_gettime(clock: int) -> float:
        return next(uptimes) if clock == time.CLOCK_MONOTONIC else real(clock)

    def wait(contender: Contender) -> None:
        time.sleep(0.07)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            (contender.folder / contender.name).touch()
            time.sleep(0.01)

    monkeypatch.setitem(virtual_clock._real, "clock_gettime", clock_gettime)

    exploration = cosmos_race.explore([wait, wait], preemptions=0, kills=1)

    assert exploration.schedules > 2


def test_who_comes_after_finds_what_a_kill_has_left(cosmos_race: CosmosRace) -> None:
    def publish(contender: Contender) -> None:
        (contender.folder / "book").write_text("all of it")

    def read(contender: Contender) -> str:
        with suppress(FileNotFoundError):
            return (contender.folder / "book").read_text()
        return "all of it"

    def whole(run: Schedule) -> None:
        assert run.values[-1] == "all of it"

    with pytest.raises(FailingSchedule) as failure:
        cosmos_race.explore([publish], after=read, check=whole)

    assert failure.value.seed == "a1(write) a!"


def test_files_that_are_named_after_the_time_are_the_same_in_each_schedule(cosmos_race: CosmosRace) -> None:
    def note(contender: Contender) -> bool:
        began = time.time()
        page = contender.folder / f"{time.time_ns()}.{contender.index}"
        page.touch()
        older = [path for path in contender.folder.iterdir() if int(path.stem) / 1e9 < began]
        return page.stat().st_mtime_ns == int(page.stem) and not older

    def at_one_moment(run: Schedule) -> None:
        assert run.values == (True, True)
        assert {"open <start + 0 s>.0 O_WRONLY|O_CREAT"} < {step.text for step in run.steps}

    assert cosmos_race.explore([note, note], check=at_one_moment, kills=0).is_complete


def test_a_bound_that_is_hit_is_said(cosmos_race: CosmosRace) -> None:
    with pytest.warns(UnfinishedExplorationWarning, match=r"explored 3 of at least \d+ schedules"):
        exploration = cosmos_race.explore([flocked, flocked], at_most=3)

    assert not exploration.is_complete
    assert exploration.left > 0


def test_what_is_not_the_same_each_time_is_told(cosmos_race: CosmosRace) -> None:
    def work(contender: Contender) -> None:
        (contender.folder / f"draft-{time.perf_counter_ns()}").touch()
        (contender.folder / "book").touch()
        (contender.folder / "book").unlink(missing_ok=True)

    with pytest.raises(ToolkitMisuse, match="do not do the same in each run"):
        cosmos_race.explore([work, work], kills=0)


def test_an_error_of_a_contender_fails_unless_it_is_expected(cosmos_race: CosmosRace) -> None:
    def work(contender: Contender) -> None:
        raise FileNotFoundError(errno.ENOENT, "not here", contender.name)

    with pytest.raises(FailingSchedule, match="contender-0 raised FileNotFoundError"):
        cosmos_race.explore([work])

    assert cosmos_race.explore([work], may_raise=OSError).is_complete


def test_processes_of_contenders_are_waited_for_in_real_time(cosmos_race: CosmosRace) -> None:
    def work(contender: Contender) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def seven(run: Schedule) -> None:
        assert run.values == (7, 7)

    assert cosmos_race.explore([work, work], check=seven, kills=0).is_complete


def test_nothing_is_left_in_memory_or_running(cosmos_race: CosmosRace, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = tempfile.mkdtemp

    def make(prefix: str, dir: Path) -> str:  # noqa: A002 - its name
        made.append(real(prefix=prefix, dir=dir))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make)

    before = {each.pid for each in psutil.Process().children()}  # of tests that ran earlier in this process

    cosmos_race.explore([flocked, flocked], preemptions=0)

    assert [folder for folder in made if Path(folder).exists()] == []
    assert {each.pid for each in psutil.Process().children()} <= before


def test_a_contender_that_leaves_is_told(cosmos_race: CosmosRace) -> None:
    with pytest.raises(FailingSchedule, match=r"contender-0 has died after"):
        cosmos_race.explore([lambda _: os._exit(3)])
