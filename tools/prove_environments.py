"""A proof that managed environments never break: locks under a crowd, and workers killed at every point, repeatedly.

    .venv/bin/python -m tools.prove_environments [--rounds 200] [--kills 100]

Prints a table; exit code 1 when a single round went wrong. Every process is real, and every kill a SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse
from pytest_cosmos_venv.throwaway import remove_folder, throwaway_folder
from tools.proof import Tally, prove

CONTENDERS = 16
BODY = 0.05  # seconds that the lock is held
ALIVE_FOR_AT_MOST = 5.0
_MARK = "COSMOS_VENV_PROOF"
_DEADLINE = 120.0


def race(folder: Path, rounds: int) -> Tally:
    """Let some processes take one lock again and again; nobody may find another one inside."""
    directory = folder / "race"
    directory.mkdir()
    began = time.monotonic()
    contenders = [_forked(lambda: _take_again_and_again(directory, rounds)) for _ in range(CONTENDERS)]
    tally = Tally(what=f"{CONTENDERS} contenders, lock held {BODY * 1000:.0f} ms", rounds=CONTENDERS * rounds)
    for pid in contenders:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            tally.faults.append(f"contender {pid} ended with {status}")
    per_turn = (time.monotonic() - began) / tally.rounds
    tally.notes = f"{per_turn * 1000:.1f} ms a turn"
    return tally


def _take_again_and_again(directory: Path, rounds: int) -> int:
    inside = directory / "inside"
    for _ in range(rounds):
        with VirtualenvLock(directory).acquire(max_tries=600, cancellation=Cancellation(), report=_silently):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # an error where another one is inside
            time.sleep(BODY)
            inside.unlink()
    return 0


def kills(folder: Path, count: int) -> Tally:
    """A worker is killed while it builds, at a point or at a random time; the next one has to succeed."""
    wheelhouse = build_wheelhouse(folder / "wheelhouse")
    os.environ.update(wheelhouse.environment)
    undisturbed = [_build_undisturbed(folder / f"calm-{number}", wheelhouse) for number in range(3)]
    tally = Tally(what="workers killed while they build")
    next_ones, survivors = [], []
    for number, kill_at in zip(range(count), _moments(max(undisturbed)), strict=False):
        directory = folder / f"killed-{number}"
        try:
            _build_and_kill(directory, wheelhouse, kill_at, mark=str(number))
            began = time.monotonic()
            _use(directory, wheelhouse)
            next_ones.append(time.monotonic() - began)
            survivors.append(_seconds_until_gone(str(number)))
        except Exception as error:  # noqa: BLE001 - each is a line of the table
            tally.faults.append(f"kill {number} ({kill_at}): {type(error).__name__}: {error}")
        tally.rounds += 1
        remove_folder(directory)
    if survivors:  # none where each kill is a fault, which the table shows
        tally.notes = (
            f"next task {median(next_ones):.2f} s (at most {max(next_ones):.2f}), a build undisturbed "
            f"{median(undisturbed):.2f} s; all gone within {max(survivors):.2f} s"
        )
    return tally


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The moment to kill at: as soon as something is seen in the directory, or after some seconds."""

    name: str
    is_there: Callable[[Path], bool]

    def __str__(self) -> str:
        return self.name


def _moments(longest: float) -> Iterator[Moment]:
    """Every named point again and again, in turns with random times."""
    chance = random.Random(4711)  # noqa: S311 - the same times in every run
    while True:
        for name, pattern in POINTS.items():
            yield Moment(name=name, is_there=partial(_exists, pattern))
            seconds = chance.uniform(0, longest)
            end = [0.0]

            def is_over(_: Path, end: list[float] = end, seconds: float = seconds) -> bool:
                end[0] = end[0] or time.monotonic() + seconds
                return time.monotonic() >= end[0]

            yield Moment(name=f"after {seconds:.2f} s", is_there=is_over)


POINTS = {
    "the kernel lock's file": "cosmos_virtualenv.flock",
    "the lock's record": "cosmos_virtualenv.lock",
    "the folder of builds": "envs-v2",
    "a lease": "envs-v2/*.lease",
    "a build": "envs-v2/*-????????",
    "its interpreter": "envs-v2/*-????????/bin/python",
    "its first package": "envs-v2/*-????????/lib/*/site-packages/*.dist-info",
    "its dbt": "envs-v2/*-????????/bin/dbt",
    "byte code": "envs-v2/*-????????/lib/*/site-packages/dbt/cli/__pycache__",
    "a launcher": "bin/dbt",
    "the record": "envs-v2/*.json",
}
"""What can be seen from outside while an environment is built, in the order in which it comes."""


def _exists(pattern: str, directory: Path) -> bool:
    return next(directory.glob(pattern), None) is not None


def _spec(wheelhouse: Wheelhouse) -> EnvironmentSpec:
    return EnvironmentSpec(
        requirements=("dbt-core==1.10.0", "dbt-duckdb"),
        pip_install_options=tuple(wheelhouse.pip_install_options),
        interpreter=Interpreter.of(None),
        check="import dbt.cli.main",
    )


def _use(directory: Path, wheelhouse: Wheelhouse) -> None:
    """Do what a task does: get the environment, and run its dbt."""
    with open_environment(
        EnvironmentStore(directory),
        _spec(wheelhouse),
        preference="uv",
        max_tries=60,
        cancellation=Cancellation(),
        report=_silently,
    ) as environment:
        dbt = str(environment.script("dbt"))
        subprocess.run([dbt, "--version"], stdout=subprocess.DEVNULL, check=True)


def _build_undisturbed(directory: Path, wheelhouse: Wheelhouse) -> float:
    began = time.monotonic()
    _use(directory, wheelhouse)
    seconds = time.monotonic() - began
    remove_folder(directory)
    return seconds


def _build_and_kill(directory: Path, wheelhouse: Wheelhouse, moment: Moment, *, mark: str) -> None:
    def work() -> int:
        os.setsid()
        os.environ[_MARK] = mark
        _use(directory, wheelhouse)
        return 0

    worker = _forked(work)
    deadline = time.monotonic() + _DEADLINE
    while not moment.is_there(directory) and time.monotonic() < deadline:
        pid, status = os.waitpid(worker, os.WNOHANG)
        if pid:  # it was quicker than that moment: nothing was killed, and nothing may be broken
            if os.waitstatus_to_exitcode(status):
                raise RuntimeError("the worker failed before it was killed")
            return
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)


def _seconds_until_gone(mark: str) -> float:
    """Until no process is left that the killed worker has started."""
    began = time.monotonic()
    while left := _marked(mark):
        if time.monotonic() - began > ALIVE_FOR_AT_MOST:
            raise RuntimeError(f"still alive after {ALIVE_FOR_AT_MOST:.0f} s: {left}")
        time.sleep(0.01)
    return time.monotonic() - began


def _marked(mark: str) -> list[int]:
    wanted = f"{_MARK}={mark}\0".encode()
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and wanted in (process / "environ").read_bytes() + b"\0":
                found.append(int(process.name))
        except OSError:
            continue  # it is gone, or another user's
    return found


def _forked(work: Callable[[], int]) -> int:
    """The process that does it, with its result as exit code."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = work()
    finally:
        os._exit(status)


def _silently(line: str) -> None:
    del line


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a single round went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="of each contender (default 200)")
    parser.add_argument("--kills", type=int, default=100, help="workers killed while they build (default 100)")
    options = parser.parse_args(arguments)
    with throwaway_folder("cosmos-venv-proof-") as folder:
        return prove(((race, options.rounds), (kills, options.kills)), folder)


if __name__ == "__main__":
    sys.exit(main())
