"""Contenders start at one instant, each in a process like the test's own, and their ends are told as they were."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import Contender, CosmosRace, RaceFailure
from pytest_cosmos_venv.errors import ToolkitMisuse

IMPORTED_BY = os.getpid()
tempfile.gettempdir()  # which tempfile keeps, in the process that imports this file too


def work(contender: Contender, folder: Path) -> int:
    """Come to an end only if all are at work at once."""
    with contender.span("work"):
        (folder / contender.name).touch()
        while len(list(folder.iterdir())) < contender.count:
            time.sleep(0.001)  # noqa: TID251 - contenders import nothing of the tests
    return contender.index


def look_around(contender: Contender, names: tuple[str, ...]) -> dict[str, Any]:
    print("said on stdout")
    print("said on stderr", file=sys.stderr)
    subprocess.run(["echo", "said by a child"], check=True)
    logging.getLogger("race").warning("logged")
    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "imported by": IMPORTED_BY,
        "directory": str(Path.cwd()),
        "variables": {name: os.environ.get(name) for name in names},
        "path": list(sys.path),
        "temporary": tempfile.gettempdir(),
        "stdin": sys.stdin.read(),
        "threads": threading.active_count(),  # noqa: TID251 - the contender's own process
        "handler": signal.getsignal(signal.SIGCHLD),
        "actor": os.environ["COSMOS_RACE_ACTOR"],
    }


def test_contenders_start_at_one_instant(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    race = cosmos_race(work, tmp_path, contenders=4)

    assert race.values == (0, 1, 2, 3)
    assert {file.name for file in tmp_path.iterdir()} == {f"contender-{index}" for index in range(4)}
    assert len({outcome.pid for outcome in race.outcomes}) == 4
    assert race.left_behind == ()
    race.timeline.assert_count("task", 4)
    race.timeline.assert_count("work", 4)
    assert all(span.ended_at for span in race.timeline)


def test_a_contender_has_the_surroundings_of_the_test(
    cosmos_race: CosmosRace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "modules")
    cosmos_race(look_around, ())  # whatever is prepared is prepared before the changes below
    monkeypatch.setenv("HARBOR", "pier 3")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    race = cosmos_race(look_around, ("HARBOR", "HOME"), contenders=2)

    seen = race.values[1]
    assert seen["pid"] == seen["session"] == race.outcomes[1].pid
    assert seen["variables"] == {"HARBOR": "pier 3", "HOME": None}
    assert seen["directory"] == seen["temporary"] == str(tmp_path)
    assert seen["path"] == sys.path
    assert (seen["stdin"], seen["threads"], seen["handler"]) == ("", 1, signal.SIG_DFL)
    assert seen["actor"] == "contender-1"
    assert seen["imported by"] != seen["pid"]
    for words in ("said on stdout", "said on stderr", "said by a child", "logged"):
        assert words in race.outcomes[1].output


def install(contender: Contender) -> str:
    return f"{contender.name} installs"


def prune(contender: Contender) -> str:
    return f"{contender.name} prunes"


def test_each_contender_can_have_work_of_its_own(cosmos_race: CosmosRace) -> None:
    race = cosmos_race([install, functools.partial(prune)])

    assert race.values == ("contender-0 installs", "contender-1 prunes")


def end_badly(contender: Contender, how: str) -> object:
    if contender.index == 0:
        return "well"
    print("last words")
    match how:
        case "raise":
            raise LookupError("no pier")
        case "exit":
            sys.exit(3)
        case "leave":
            os._exit(4)
        case "crash":
            ctypes.string_at(0)
        case "skip":
            pytest.skip("no such thing here")
    return threading.Lock()


@pytest.mark.parametrize(
    ("how", "words", "exit_code", "number"),
    [
        ("raise", "raised LookupError: no pier", 1, None),
        ("leave", "left with exit code 4", 4, None),
        ("crash", "killed by SIGSEGV", None, signal.SIGSEGV),
        ("return a lock", "raised TypeError: the contender returned a lock, which cannot be handed", 1, None),
    ],
)
def test_a_bad_end_is_told(
    cosmos_race: CosmosRace, how: str, words: str, exit_code: int | None, number: signal.Signals | None
) -> None:
    race = cosmos_race(end_badly, how, check=False)

    loser, winner = sorted(race.outcomes, key=lambda each: each.succeeded)
    assert (winner.value, winner.in_words) == ("well", "returned 'well'")
    assert loser.in_words.startswith(words)
    assert (loser.exit_code, loser.signal) == (exit_code, number)
    assert "last words" in loser.output


def test_a_race_with_a_bad_end_fails_unless_that_is_wanted(cosmos_race: CosmosRace) -> None:
    with pytest.raises(RaceFailure) as failure:
        cosmos_race(end_badly, "raise")

    text = str(failure.value)
    assert text.startswith("1 of 2 contenders failed.\n\ncontender-1 (PID ")
    assert 'raise LookupError("no pier")' in text
    assert "contender.py" not in text, "our own frames are of no use to the reader"
    assert "its output:\nlast words" in text
    assert "contender-0 task" in text


def leave_a_daemon(contender: Contender, folder: Path) -> None:
    """Its own session, no parent any more, and an ear for nobody's requests."""
    source = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    place = folder / contender.name
    shell = f'{sys.executable} -c "$0" {place} & disown -a; exit 0'
    subprocess.run(["bash", "-c", shell, source], start_new_session=True, check=True)
    while not place.exists() or not place.read_text():
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a process of ours")
def test_what_contenders_leave_running_is_told_and_ended(cosmos_race: CosmosRace, tmp_path: Path) -> None:
    race = cosmos_race(leave_a_daemon, tmp_path, contenders=2, grace=0.1)

    pids = [int(file.read_text()) for file in tmp_path.iterdir()]
    assert len(race.left_behind) == 2
    assert all(any(f"PID {pid}: " in words for words in race.left_behind) for pid in pids)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def wait_for_ever(contender: Contender) -> None:
    print("waiting for the tide")
    contender.point("waiting for ever")
    threading.Event().wait()


def test_a_deadline_names_who_hangs_where(cosmos_race: CosmosRace) -> None:
    with pytest.raises(RaceFailure) as failure:
        cosmos_race([wait_for_ever, install], timeout=1.0)

    text = str(failure.value)
    assert text.startswith("contender-0 have not ended within 1 s (told of: waiting for ever;")
    assert "waiting for the tide" in text
    assert "in wait_for_ever" in text
    assert "race timeout" in text
    (pid,) = {int(word) for word in text.partition("(PID ")[2].partition(")")[:1]}
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"contenders": 0}, "contenders=0: give 1 or more"),
        ({"contender": 3}, r"contender=…\): there is no such option; there are contenders, prepare, kill_at"),
        ({"prepare": "json"}, r"prepare='json': give a list of the names of modules"),
        ({"kill_at": "creating"}, "kill_at='creating' is seen from outside and needs virtualenv_dir=PATH"),
        ({"prepare": ["no.such.module"]}, "importing no.such.module failed with ModuleNotFoundError"),
    ],
)
def test_a_race_that_cannot_be_run_is_refused(cosmos_race: CosmosRace, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ToolkitMisuse, match=sentence):
        cosmos_race(install, **options)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
            "have started a thread",
        ),
        ("raise RuntimeError('low tide')", "importing unfit failed with RuntimeError: low tide"),
    ],
    ids=["thread", "error"],
)
def test_a_module_that_forbids_forking_is_refused(
    cosmos_race: CosmosRace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, sentence: str
) -> None:
    (tmp_path / "unfit.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ToolkitMisuse, match=sentence):
        cosmos_race(install, prepare=["unfit"])


def test_one_prepared_process_serves_equal_races_and_no_others(
    cosmos_race: CosmosRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preparing_process() -> int:
        return int(cosmos_race(look_around, ()).values[0]["imported by"])

    first = preparing_process()
    assert preparing_process() == first
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "another")
    second = preparing_process()
    assert second != first
    monkeypatch.delenv("AIRFLOW__CORE__FERNET_KEY")
    assert preparing_process() == first  # the last two are kept
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a third")
    assert preparing_process() not in {first, second}
    assert psutil.pid_exists(first)
    assert not psutil.pid_exists(second)
