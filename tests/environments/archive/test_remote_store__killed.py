"""Machines killed while they build and push, and while they fetch: rubbish at most, never half an environment."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.environments.archive.remote_store import platform_key
from cosmos_venv.environments.archive.signed_record import Signer
from cosmos_venv.environments.maintenance.inventory import file_faults
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.files.read_limits import sha256_of_file
from pytest_cosmos_venv.throwaway import remove_folder
from tests.environments.archive.machines import KEY, Clock, Machine
from tests.kit import OutputOf
from tests.waiting import DEADLINE

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


class Quick(Clock):
    """A clock that waits for nobody, but lets the files of others come."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(0.001)  # noqa: TID251 - the clock that is tested


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A machine that builds and pushes, or fetches, and another one."""

    folder: Path
    filled: Path | None
    spec: EnvironmentSpec
    output_of: OutputOf

    def machine(self, name: str) -> Machine:
        return Machine(directory=self.folder / name, remote=self.folder / "remote", clock=Quick())

    def begin(self) -> None:
        for each in self.folder.iterdir():
            if each.name != "temporary":
                remove_folder(each)
        if self.filled is not None:
            shutil.copytree(self.filled, self.folder / "remote")

    def kill_at(self, step: int) -> Outcome:
        """Let the machine work until it is killed, and see that nothing is half."""
        self.begin()
        outcome = run_until(step, self.folder, lambda: self.machine("one").use(self.spec))
        self.assert_nothing_is_half()
        for name in ("one", "other"):
            machine = self.machine(name)
            environment = machine.use(self.spec)
            assert self.output_of(environment.script("hello")) == "hello 2.0"
            assert file_faults(environment.path, content=True) == [], machine.log
            # A build whose installer is still dying stays for the next builder.
            kept = [name for name in machine.builds if name.startswith(environment.path.name[64:])]
            assert [name[2:] for name in kept] == ["", ".json", ".lease"], machine.builds
            assert "cannot be" not in machine.log, machine.log
        self.assert_nothing_is_half()
        return outcome

    def assert_nothing_is_half(self) -> None:
        """What is published is whole, on this machine and in the store."""
        link = self.folder / "one" / "envs-v1" / self.spec.digest
        if link.is_symlink():
            assert file_faults(link.resolve(), content=True) == []
        stem = self.folder / "remote" / platform_key(self.spec.interpreter) / self.spec.portable_digest
        record = Path(f"{stem}.json")
        if record.exists():
            signer = Signer(key=KEY)
            contents = signer.open(record.read_bytes(), name=stem.name, platform=stem.parent.name).contents
            assert sha256_of_file(f"{stem}-{contents.sha256[:16]}.tar.zst") == contents.sha256


@pytest.fixture(params=["pushing", "fetching"])
def scene(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    temporary_folder: Path,
    _filled: Path,
    hello: EnvironmentSpec,
    output_of: OutputOf,
) -> Iterator[Scene]:
    """The machine that is killed is the one that builds, or the one that fetches."""
    filled = _filled if request.param == "fetching" else None
    yield Scene(folder=tmp_path, filled=filled, spec=hello, output_of=output_of)
    deadline = time.monotonic() + DEADLINE
    while any(temporary_folder.iterdir()) and time.monotonic() < deadline:  # of installers that are still dying
        Machine(directory=tmp_path / "last", remote=tmp_path / "remote", clock=Quick()).use(hello)
        remove_folder(tmp_path / "last")


def kill_at_each(scene: Scene, kills: int) -> int:
    """Kill at so many steps of the work, from the first to the last one; how often it was killed."""
    scene.begin()
    steps = run_until(0, scene.folder, lambda: scene.machine("one").use(scene.spec)).steps
    assert steps > kills
    chosen = [1 + round(number * (steps - 1) / (kills - 1)) for number in range(kills)]
    return sum(scene.kill_at(step).was_killed for step in chosen)


@pytest.mark.long
def test_whoever_comes_after_a_killed_machine_has_an_environment(scene: Scene) -> None:
    kills = 6

    # The number of steps differs from run to run by a few: the last one may not come.
    assert kill_at_each(scene, kills) >= kills - 1
