"""A remote store that is down, slow, in the way of something else, or left in the middle: never worse than without."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_venv.environments.archive import zstandard
from cosmos_venv.environments.archive.remote_store import platform_key
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.archive.machines import A_BUILD_ALONE, Machine
from tests.environments.archive.troubled_folder import Happens, TroubledFolder, once
from tests.kit import OutputOf


def stem_of(remote: Path, spec: EnvironmentSpec) -> Path:
    return remote / platform_key(spec.interpreter) / spec.portable_digest


def works(environment: Environment, output_of: OutputOf) -> bool:
    return output_of(environment.script("hello")) == "hello 2.0"


def fails(request: str, ending: str, number: int = 1, kind: type[Exception] = OSError) -> Happens:
    """What happens from the so-manieth such request on."""
    seen: list[None] = []

    def happens(asked: str, of: str) -> None:
        if (asked, of) == (request, ending):
            seen.append(None)
            if len(seen) >= number:
                raise kind("the store is down")

    return happens


BUILDING = [("read", "json", 1), ("write", "lease", 1)]
PUSHING = [("upload", "zst", 1), ("write", "json", 1)]
AT_THE_END = ("remove", "lease", 1)


@pytest.mark.parametrize(
    ("request_", "ending", "number", "kind"),
    [
        *((*each, OSError) for each in (*BUILDING, *PUSHING, AT_THE_END)),
        *((*each, RuntimeError) for each in (BUILDING[0], PUSHING[0], AT_THE_END)),
    ],
)
@pytest.mark.usefixtures("temporary_folder")
def test_a_store_that_goes_down_costs_a_line(
    tmp_path: Path,
    hello: EnvironmentSpec,
    output_of: OutputOf,
    request_: str,
    ending: str,
    number: int,
    kind: type[Exception],
) -> None:
    """A RuntimeError is that of a process that may start no thread more."""
    remote = tmp_path / "remote"
    folder = TroubledFolder(remote, before=fails(request_, ending, number, kind))
    machine = Machine(directory=tmp_path / "envs", remote=remote, folder=folder)
    next_one = Machine(directory=tmp_path / "next", remote=remote)

    environment = machine.use(hello)
    next_one.use(hello)

    assert works(environment, output_of)
    assert machine.has_built
    assert [line for line in machine.lines if "the store is down" in line], machine.log
    assert len([line for line in machine.lines if "the store" in line and "Put " not in line]) == 1, machine.log
    assert machine.builds == A_BUILD_ALONE
    assert works(next_one.use(hello), output_of)
    assert next_one.has_built != next_one.has_fetched


def test_a_download_that_fails_costs_a_line(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    folder = TroubledFolder(remote, before=fails("download", "zst"))
    machine = Machine(directory=tmp_path / "envs", remote=remote, folder=folder)

    assert works(machine.use(hello), output_of)
    assert machine.has_built
    assert "the store cannot be used: the store is down. The virtualenv is built here." in machine.lines
    assert ("upload", "zst") not in folder.requests, "what did not answer is not waited for once more"


@pytest.fixture
def hanging(tmp_path: Path, hello: EnvironmentSpec) -> Iterator[Path]:
    """A store whose record is never read to its end: a named pipe that nobody writes to."""
    record = stem_of(tmp_path / "remote", hello)
    record.parent.mkdir(parents=True)
    pipe = record.parent / f"{record.name}.json"
    os.mkfifo(pipe)
    yield tmp_path / "remote"
    os.close(os.open(pipe, os.O_RDWR))  # so that the thread that reads it ends


def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, hanging: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=hanging, seconds=1)
    began = time.monotonic()

    assert works(machine.use(hello), output_of)
    assert machine.has_built
    assert "cannot be used: there was no answer within 1 s. The virtualenv is built here." in machine.log
    assert time.monotonic() - began >= 1


@pytest.mark.usefixtures("temporary_folder")
def test_a_task_that_is_killed_does_not_wait_for_an_answer(
    tmp_path: Path, hanging: Path, hello: EnvironmentSpec
) -> None:
    cancellation = Cancellation()
    folder = TroubledFolder(hanging, before=lambda *_: cancellation.request())
    machine = Machine(
        directory=tmp_path / "envs", remote=hanging, folder=folder, cancellation=cancellation, seconds=3600
    )

    with pytest.raises(CommandKilled):
        machine.use(hello)

    assert machine.builds == []


@pytest.mark.parametrize("at", [("before", "read", "json"), ("after", "download", "zst")])
@pytest.mark.usefixtures("temporary_folder")
def test_a_task_that_is_killed_while_it_fetches_leaves_nothing(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, at: tuple[str, str, str]
) -> None:
    cancellation = Cancellation()
    when, request, ending = at
    folder = TroubledFolder(remote)
    setattr(folder, when, once(request, ending, cancellation.request))
    machine = Machine(directory=tmp_path / "envs", remote=remote, folder=folder, cancellation=cancellation)
    before = sorted(remote.rglob("*"))

    with pytest.raises(CommandKilled):
        machine.use(hello)

    assert machine.builds == []
    assert sorted(remote.rglob("*")) == before
    again = Machine(directory=machine.directory, remote=remote)
    again.use(hello)
    assert again.has_fetched


@pytest.mark.parametrize("at", [("write", "lease"), *[each[:2] for each in PUSHING]])
@pytest.mark.usefixtures("temporary_folder")
def test_a_task_that_is_killed_while_it_builds_and_pushes_leaves_no_half_environment(
    tmp_path: Path, hello: EnvironmentSpec, output_of: OutputOf, at: tuple[str, str]
) -> None:
    remote, cancellation = tmp_path / "remote", Cancellation()
    folder = TroubledFolder(remote, before=once(*at, cancellation.request))
    machine = Machine(directory=tmp_path / "envs", remote=remote, folder=folder, cancellation=cancellation)
    is_built = at in [each[:2] for each in PUSHING]

    with pytest.raises(CommandKilled):
        machine.use(hello)

    assert machine.builds == (A_BUILD_ALONE if is_built else [])
    assert list(remote.rglob("*.lease")) == []
    next_one = Machine(directory=tmp_path / "next", remote=remote)
    assert works(next_one.use(hello), output_of)
    again = Machine(directory=machine.directory, remote=remote)
    again.use(hello)
    assert again.has_fetched or is_built


def test_without_zstandard_the_store_is_not_used(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(zstandard, "import_module", missing)
    folder = TroubledFolder(remote)
    machine = Machine(directory=tmp_path / "envs", remote=remote, folder=folder)

    assert works(machine.use(hello), output_of)
    assert machine.has_built
    assert len([line for line in machine.lines if "install cosmos-venv[remote]" in line]) == 1, machine.log
    assert folder.requests == []
