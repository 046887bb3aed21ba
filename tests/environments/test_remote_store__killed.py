"""Machines killed while they build and push, and while they fetch: rubbish at most, never half an environment."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.environments.post_install import file_faults
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.files.read_limits import sha256_of_file
from pytest_cosmos_venv.throwaway import remove_folder
from tests.environments.machines import Machine, archive_file, boot, record_in
from tests.kit import OutputOf

KILLS = 6
# What an audit hook hears of and what changes a disk, or reads it.
STEPS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod", "os.utime"})


@dataclass(frozen=True)
class Outcome:
    """What became of a piece of work: whether it was killed, else at how many steps on files it has come by."""

    was_killed: bool
    steps: int


def run_until(step: int, below: Path, work: Callable[[], object]) -> Outcome:
    """Do some work in a process of its own, which is killed before a step.

    :param step: its number, from 1; 0: none.
    :param below: only steps with paths in this folder count.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        seen = [0]
        folder = f"{below}/"

        def hear(event: str, arguments: tuple[object, ...]) -> None:
            if event in STEPS and any(
                folder in os.fsdecode(each) for each in arguments if isinstance(each, str | bytes)
            ):
                seen[0] += 1
                if seen[0] == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            os.setsid()
            sys.addaudithook(hear)
            work()
            os.write(write_end, str(seen[0]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), "the work has failed by itself"
    return Outcome(was_killed=status != 0, steps=int(said or 0))


@pytest.mark.long
@pytest.mark.parametrize("work", ["pushing", "fetching"])
def test_whoever_comes_after_a_killed_machine_has_an_environment(
    tmp_path: Path, wheelhouse: Path, output_of: OutputOf, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    options = ("--no-index", "--find-links", str(wheelhouse))
    spec = EnvironmentSpec(requirements=("hello",), pip_install_options=options, interpreter=Interpreter.of())
    place, remote = tmp_path / "envs", tmp_path / "remote"

    def machine(name: str) -> Machine:
        return Machine(name=name, place=place, remote=remote)

    def kill_at(step: int) -> Outcome:
        remove_folder(remote)
        if work == "fetching":
            machine(f"filler-{step}").use(spec)
        victim = f"victim-{step}"
        boot(victim, place)
        outcome = run_until(step, tmp_path, lambda: machine(victim).use(spec))
        if (left := EnvironmentStore(place).find(spec)) is not None:
            left.close()
            assert file_faults(left.path, content=True) == {}
        if any(remote.rglob("*.json")):
            assert sha256_of_file(archive_file(remote)) == record_in(remote)["sha256"]
        for name in (victim, f"other-{step}"):
            again = machine(name)
            environment = again.use(spec)
            assert output_of(environment.script("hello")) == "hello 2.0"
            assert file_faults(environment.path, content=True) == {}, again.log
            assert "cannot be" not in again.log, again.log
            assert work == "pushing" or "Creating" not in again.log, again.log
        return outcome

    steps = kill_at(0).steps
    chosen = [1 + round(number * (steps - 1) / (KILLS - 1)) for number in range(KILLS)]

    # The number of steps differs from run to run by a few: the last one may not come.
    assert sum(kill_at(step).was_killed for step in chosen) >= KILLS - 1
