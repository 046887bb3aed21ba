"""A proof that no task stands in an environment that is removed: many users against a pruner and a publisher.

Each user finds an environment, runs its Python once, and looks whether all of it was there to the end. Meanwhile one
process removes whatever is not in use at that instant, and another builds what is missing again. Real processes, and
real environments, which hold no package so that they are built often: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import EnvironmentStore, PruneLimits
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.throwaway import throwaway_folder

USERS = 16
ROUNDS = 10_000
REMOVALS = 100
# With fewer, somebody always uses each; with more, each is a rare sight.
ENVIRONMENTS = 8
PATIENCE = 60  # seconds without progress after which waiting for the directory's lock is a fault
EVERYTHING = PruneLimits(max_age=1e-9, max_count=0, min_age=0)

# Reads a file of the environment at the end, as dbt imports an adapter late.
USE = "import pathlib, sys; print(sys.prefix, len(pathlib.Path(sys.prefix, 'pyvenv.cfg').read_text()) > 0)"


@dataclass
class UseCounts:
    """The counts of one process, or of all.

    :param rounds: environments found and used.
    :param absent: looks that found none, because it had just been removed.
    :param faults: what must not be: a task on a vanished build, or an error.
    """

    rounds: int = 0
    absent: int = 0
    removed: int = 0
    built: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: UseCounts) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a single round was not as it has to be, or too little was done, which proves nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="uses of an environment, of all users together")
    parser.add_argument("--users", type=int, default=USERS, help="processes that use environments")
    parser.add_argument("--removals", type=int, default=REMOVALS, help="the users go on until so many were removed")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with throwaway_folder("cosmos-prove-pruning-") as folder:
        counts = prove(folder, users=options.users, rounds=options.rounds, removals=options.removals)
    print(f"{'users':>6} {'rounds':>7} {'absent':>7} {'removed':>8} {'built':>6} {'vanished or failed':>19} {'s':>7}")
    print(
        f"{options.users:>6} {counts.rounds:>7} {counts.absent:>7} {counts.removed:>8} {counts.built:>6} "
        f"{len(counts.faults):>19} {time.monotonic() - began:>7.1f}"
    )
    print("\n".join(counts.faults[:20]))
    is_enough = counts.rounds >= options.rounds and counts.removed >= options.removals
    return 0 if is_enough and not counts.faults else 1


def prove(folder: Path, *, users: int, rounds: int, removals: int) -> UseCounts:
    """Let them all loose on one store until each user has had its rounds, and the pruner its removals.

    Where others keep the processors busy, all environments are in use nearly always: rounds alone may end with few.
    """
    specs, store = make_specs(), folder / "store"
    context = multiprocessing.get_context("spawn")
    is_over, has_removed = context.Event(), context.Event()
    shares = [rounds // users + (number < rounds % users) for number in range(users)]
    # The publisher's first turn is what the users begin with.
    others = [
        start(context, publish, store, specs, is_over),
        start(context, remove, store, removals, has_removed, is_over),
    ]
    using = [start(context, use, store, specs, share, has_removed) for share in shares]
    counts = UseCounts()
    for process, answer in using:
        counts.add(result(process, answer))
    is_over.set()
    for process, answer in others:
        counts.add(result(process, answer))
    return counts


def make_specs() -> list[EnvironmentSpec]:
    """Different environments without packages."""
    return [
        EnvironmentSpec(
            requirements=(),
            pip_install_options=("--no-index", "--find-links", f"/nowhere/{number}"),
            interpreter=Interpreter.of(),
        )
        for number in range(ENVIRONMENTS)
    ]


def use(store: Path, specs: list[EnvironmentSpec], rounds: int, has_removed: Event) -> UseCounts:
    """A user: as a task, which finds its environment and starts dbt in it."""
    counts = UseCounts()
    while counts.rounds < rounds or not has_removed.is_set():
        environment = EnvironmentStore(store).find(random.choice(specs))  # noqa: S311 - which one does not matter
        if environment is None:
            counts.absent += 1
            time.sleep(0.001)  # it is being built, and needs the processor for it
            continue
        with closing(environment):
            if fault := fault_of_use(environment):
                counts.faults.append(fault)
        counts.rounds += 1
    return counts


def fault_of_use(environment: Environment) -> str:
    """The fault that one use of the environment showed; empty when there was none."""
    done = subprocess.run(
        [environment.python, "-I", "-c", USE],
        capture_output=True,
        text=True,
        pass_fds=environment.keep_open,
        check=False,
    )
    if done.stdout.split() != [str(environment.path), "True"]:
        return f"{environment.path} said {done.stdout!r} {done.stderr!r}"
    return "" if environment.python.exists() else f"{environment.path} vanished while it was used"


def publish(store: Path, specs: list[EnvironmentSpec], is_over: Event) -> UseCounts:
    """The publisher: builds what is missing, again and again."""
    counts = UseCounts()
    while not is_over.is_set():
        for spec in specs:
            with open_environment(
                EnvironmentStore(store),
                spec,
                preference="uv",
                max_tries=PATIENCE,
                cancellation=Cancellation(),
                report=ignore,
            ) as environment:
                counts.built += environment.was_built
    return counts


def remove(store: Path, removals: int, has_removed: Event, is_over: Event) -> UseCounts:
    """The pruner: removes all that nobody uses at that instant, again and again."""
    counts = UseCounts()
    try:
        while not is_over.is_set():
            time.sleep(0.001)  # else it alone keeps a processor busy
            if not store.is_dir():
                continue
            counts.add(remove_unused(EnvironmentStore(store)))
            if counts.removed >= removals:
                has_removed.set()
    finally:
        has_removed.set()  # nobody waits for a pruner that has failed
    return counts


def remove_unused(store: EnvironmentStore) -> UseCounts:
    """Remove what nobody uses at this instant."""
    removed = prune(
        store,
        EVERYTHING,
        now=time.time() + 1,
        max_tries=PATIENCE,
        cancellation=Cancellation(),
        report=ignore,
    )
    return UseCounts(
        removed=sum(not each.obstacle for each in removed),
        faults=[each.describe() for each in removed if each.is_forbidden],
    )


def ignore(_line: str) -> None:
    """The log of nobody."""


def start(context: SpawnContext, work: Callable[..., UseCounts], *arguments: object) -> tuple[BaseProcess, Connection]:
    """A process at work, and where its counts will come from."""
    answer, question = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(question, work, *arguments), daemon=True)
    process.start()
    question.close()
    return process, answer


def run(answer: Connection, work: Callable[..., UseCounts], *arguments: object) -> None:
    """Run the work in the process; an error is a fault like any other."""
    try:
        counts = work(*arguments)
    except Exception as error:  # noqa: BLE001
        counts = UseCounts(faults=[f"{work.__name__} in process {os.getpid()}: {type(error).__name__}: {error}"])
    answer.send(counts)


def result(process: BaseProcess, answer: Connection) -> UseCounts:
    """The counts of the process; its death is a fault."""
    try:
        counts: UseCounts = answer.recv()
    except EOFError:
        counts = UseCounts(faults=[f"process {process.pid} died"])
    process.join()
    return counts


if __name__ == "__main__":
    sys.exit(main())
