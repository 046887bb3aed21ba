"""Machines that wait for the one that builds: one build for all, and nobody waits for a dead one."""

from __future__ import annotations

import itertools
import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cosmos_venv.environments.archive.remote_store import platform_key
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import VirtualenvBuildError
from tests.environments.archive.forging import archive_file
from tests.environments.archive.machines import Clock, Machine
from tests.environments.archive.troubled_folder import TroubledFolder
from tests.kit import MakeSpec, OutputOf, SetAge


@dataclass
class Busy(Clock):
    """A clock with something that happens at each moment that somebody waits."""

    happens: Callable[[], object] = lambda: None
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.seconds

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.happens()

    @property
    def passed(self) -> float:
        return self.seconds - self.began


def lease_of(remote: Path, spec: EnvironmentSpec) -> Path:
    return remote / platform_key(spec.interpreter) / f"{spec.portable_digest}.lease"


def put_lease(remote: Path, spec: EnvironmentSpec, **said: object) -> Path:
    file = lease_of(remote, spec)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"host": "elsewhere", "id": "1", "renewed": 0, **said}))
    return file


def test_the_lease_of_a_dead_builder_is_taken_over(tmp_path: Path, hello: EnvironmentSpec, output_of: OutputOf) -> None:
    remote, clock = tmp_path / "remote", Busy()
    lease = put_lease(remote, hello)
    machine = Machine(directory=tmp_path / "envs", remote=remote, clock=clock)

    environment = machine.use(hello)

    assert output_of(environment.script("hello")) == "hello 2.0"
    assert machine.has_built
    assert "is being built by elsewhere: waiting for it" in machine.log
    assert 20 <= clock.passed < 25
    assert "Put " in machine.log
    assert not lease.exists()


def test_what_another_machine_builds_is_fetched_when_it_is_there(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec
) -> None:
    filled = remote.rename(tmp_path / "filled")
    renewals = iter(range(1, 40))

    def works_on() -> None:
        number = next(renewals)
        put_lease(remote, hello, renewed=number)
        if number == 35:
            shutil.copytree(filled, remote, dirs_exist_ok=True)

    machine = Machine(directory=tmp_path / "envs", remote=remote, clock=Busy(happens=works_on))
    put_lease(remote, hello)

    machine.use(hello)

    assert machine.has_fetched
    assert machine.log.count("is being built by") == 1
    assert lease_of(remote, hello).exists(), "a machine that only waits leaves the lease to its owner"


def test_a_builder_that_never_ends_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, hello: EnvironmentSpec
) -> None:
    remote, renewals = tmp_path / "remote", iter(range(1, 1_000))
    clock = Busy(happens=lambda: put_lease(remote, hello, renewed=next(renewals)))
    put_lease(remote, hello)
    machine = Machine(directory=tmp_path / "envs", remote=remote, clock=clock, seconds=60)

    machine.use(hello)

    assert machine.has_built
    assert "It has not come within 60 s: it is built here too." in machine.log
    assert 58 <= clock.passed <= 60
    assert archive_file(remote).exists()


def test_those_who_wait_go_on_when_the_builder_has_failed(tmp_path: Path, hello: EnvironmentSpec) -> None:
    remote = tmp_path / "remote"
    lease = put_lease(remote, hello)
    clock = Busy(happens=lambda: lease.unlink(missing_ok=True) if clock.passed == 3 else None)
    machine = Machine(directory=tmp_path / "envs", remote=remote, clock=clock)

    machine.use(hello)

    assert machine.has_built
    assert clock.passed < 5


def test_nobody_waits_for_a_third_builder_when_two_have_failed(tmp_path: Path, hello: EnvironmentSpec) -> None:
    """Each fails after 5 s, and the next one begins at once. Two that have only lost the lease would renew it."""
    remote = tmp_path / "remote"
    put_lease(remote, hello)
    clock = Busy(happens=lambda: put_lease(remote, hello, id=str(clock.passed // 5), renewed=clock.passed))
    machine = Machine(directory=tmp_path / "envs", remote=remote, clock=clock)

    machine.use(hello)

    assert machine.has_built
    assert "2 machines have begun to build it, and it has not come: it is built here too." in machine.log
    assert 24 <= clock.passed < 32


def test_a_builder_that_fails_gives_up_its_lease(tmp_path: Path, make_spec: MakeSpec) -> None:
    spec = make_spec("nothing-of-this-name")
    folder = TroubledFolder(tmp_path / "remote")
    machine = Machine(directory=tmp_path / "envs", remote=tmp_path / "remote", folder=folder)

    with pytest.raises(VirtualenvBuildError):
        machine.use(spec)

    assert ("write", "lease") in folder.requests
    assert [path for path in (tmp_path / "remote").rglob("*") if path.is_file()] == []
    assert machine.builds == []


def test_a_machine_that_puts_nothing_there_waits_for_nobody(tmp_path: Path, hello: EnvironmentSpec) -> None:
    lease, clock = put_lease(tmp_path / "remote", hello), Busy()
    machine = Machine(directory=tmp_path / "envs", remote=tmp_path / "remote", may_push=False, clock=clock)

    machine.use(hello)

    assert machine.has_built
    assert clock.passed == 0
    assert [path for path in (tmp_path / "remote").rglob("*") if path.is_file()] == [lease]


def test_what_a_killed_push_has_left_goes_after_an_hour(
    tmp_path: Path, hello: EnvironmentSpec, set_age: SetAge
) -> None:
    remote = tmp_path / "remote"
    stem = lease_of(remote, hello).with_suffix("")
    others = [stem.with_name(f"{'0' * 64}-1.tar.zst"), stem.parent.with_name("another platform") / stem.name]
    left = [
        stem.with_name(f"{stem.name}{ending}") for ending in ("-1.tar.zst", "-2.tar.zst.0a.jsonl", ".json.0b.jsonl")
    ]
    young = stem.with_name(f"{stem.name}-3.tar.zst")
    for file in (*others, *left, young):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        set_age(file, 3_500 if file == young else 4_000)

    Machine(directory=tmp_path / "envs", remote=remote).use(hello)

    assert [file.name for file in left if file.exists()] == []
    assert [file.exists() for file in (*others, young)] == [True, True, True]


def test_two_builders_that_renew_by_turns_have_not_failed(tmp_path: Path, hello: EnvironmentSpec) -> None:
    """Each may have read before the other one wrote: both build, and each overwrites the other one's lease."""
    remote = tmp_path / "remote"
    put_lease(remote, hello, id="a")

    def renewed() -> None:
        put_lease(remote, hello, id="b" if clock.passed % 5 >= 3 else "a", renewed=clock.passed // 5)

    clock = Busy(happens=renewed)
    machine = Machine(directory=tmp_path / "envs", remote=remote, clock=clock)

    machine.use(hello)

    assert "It has not come within 60 s: it is built here too." in machine.log
    assert 58 <= clock.passed <= 60
    assert machine.log.count("waiting for it") == 2


class Hurrying(Clock):
    """Three seconds have passed each time that it is read."""

    def now(self) -> float:
        self.seconds += 3
        return self.seconds


@pytest.mark.parametrize(
    "clock", [pytest.param(Hurrying, id="it would be renewed"), pytest.param(Clock, id="the build ends before")]
)
def test_a_lease_that_another_machine_has_taken_over_is_neither_renewed_nor_removed(
    tmp_path: Path, hello: EnvironmentSpec, clock: type[Clock]
) -> None:
    """The machine stands still for too long, and works on."""
    remote, looks = tmp_path / "remote", itertools.count(1)

    def take_over(request: str, of: str) -> None:
        if (request, of) == ("read", "json") and next(looks) == 2:  # the machine has its lease, and builds now
            put_lease(remote, hello, id="another")
            folder.requests.clear()

    folder = TroubledFolder(remote, after=take_over)
    machine = Machine(directory=tmp_path / "envs", remote=remote, folder=folder, clock=clock(), seconds=10_000)

    machine.use(hello)

    assert machine.has_built
    assert "Put " in machine.log
    assert json.loads(lease_of(remote, hello).read_text())["id"] == "another"
    assert ("write", "lease") not in folder.requests


def test_the_key_of_a_platform_names_python_c_library_and_architecture() -> None:
    key = platform_key(Interpreter.of())

    assert platform.python_version() in key
    assert platform.machine() in key
    assert platform.libc_ver()[1].replace(".", "_") in key
