"""Environments that one machine builds and others fetch, and what stands in a remote store and is not used."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

import pytest

from cosmos_venv.environments import archive
from cosmos_venv.environments.maintenance.pruner import retire_damaged
from cosmos_venv.environments.post_install import file_faults
from cosmos_venv.environments.remote_store import platform_key
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.machines import (
    A_BUILD_ALONE,
    Happens,
    Machine,
    TroubledFolder,
    archive_file,
    boot,
    once,
    record_file,
    record_in,
    sign,
    signed_folder,
)
from tests.environments.upgrades import HOUR, make_old, release, upgraded
from tests.kit import MakeSpec, OutputOf


class MakeMachine(Protocol):
    """Make a machine of a name; all of a test have one place and one remote store."""

    def __call__(self, name: str, **given: Any) -> Machine: ...


@pytest.fixture(scope="session")
def hello(wheelhouse: Path) -> EnvironmentSpec:
    """The spec of an environment with ``hello``."""
    options = ("--no-index", "--find-links", str(wheelhouse))
    return EnvironmentSpec(requirements=("hello",), pip_install_options=options, interpreter=Interpreter.of())


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory, hello: EnvironmentSpec) -> Path:
    """A folder with the place of all machines, and a remote store that one of them has filled."""
    folder = tmp_path_factory.mktemp("machines")
    builder = Machine(name="builder", place=folder / "envs", remote=folder / "remote")
    builder.use(hello)
    assert "Put " in builder.log
    return folder


@pytest.fixture
def machine(_filled: Path, tmp_path: Path) -> Iterator[MakeMachine]:
    """Makes machines. Their store is empty, unless the test asks for ``remote``."""

    def make(name: str, **given: Any) -> Machine:
        return Machine(
            **{"name": f"{tmp_path.name}-{name}", "place": _filled / "envs", "remote": tmp_path / "remote", **given}
        )

    yield make
    boot("nobody", _filled / "envs")


@pytest.fixture
def remote(tmp_path: Path, _filled: Path) -> Path:
    """A store that has the environment with ``hello``."""
    return Path(shutil.copytree(_filled / "remote", tmp_path / "remote"))


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test alone, which must be empty at its end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert [path.name for path in folder.iterdir()] == []


def works(environment: Environment, output_of: OutputOf) -> bool:
    return output_of(environment.script("hello")) == "hello 2.0"


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_what_one_machine_has_built_all_others_fetch(
    machine: MakeMachine, hello: EnvironmentSpec, output_of: OutputOf, preference: str
) -> None:
    one, other = machine("one", preference=preference), machine("other")

    built = one.use(hello)
    fetched = other.use(hello)

    assert one.has_built
    assert other.has_fetched, other.log
    assert fetched.path == built.path
    assert works(fetched, output_of)
    assert output_of(fetched.python, "-c", "import sys; print(sys.prefix)") == str(fetched.path)
    assert file_faults(fetched.path, content=True) == {}
    assert fetched.record.fetched_from == f"file://{other.remote}"
    assert fetched.record.digest == hello.digest
    assert other.builds == A_BUILD_ALONE


def test_at_another_path_it_is_a_miss_that_is_told_once(
    machine: MakeMachine, hello: EnvironmentSpec, tmp_path: Path
) -> None:
    machine("one").use(hello)
    other = machine("other", place=tmp_path / "elsewhere")

    other.use(hello)

    assert other.has_built
    (line,) = [line for line in other.lines if "holds no environment" in line]
    assert line.endswith(f" at {tmp_path}/elsewhere. It is built here.")
    assert len(list(other.remote.rglob("*.json"))) == 2


def test_a_fetched_environment_is_upgraded_by_one_machine_for_all(
    machine: MakeMachine, index: Path, wheelhouse: Path, output_of: OutputOf
) -> None:
    spec = upgraded(index)
    one, other = machine("one"), machine("other")
    for each in (one, other):
        make_old(each.use(spec))
    record = record_in(one.remote)
    record["build"]["built_at"] = (datetime.now(tz=timezone.utc) - timedelta(hours=3)).isoformat(timespec="seconds")
    sign(one.remote, record)
    release(index, wheelhouse)

    assert output_of(one.use(spec, upgrade_after=HOUR).script("hello")) == "hello 2.0"
    assert output_of(other.use(spec, upgrade_after=HOUR).script("hello")) == "hello 2.0"

    assert "Creating" not in other.log
    assert other.log.count("Fetched ") == 2


def test_in_place_of_a_damaged_environment_the_archive_is_fetched_anew(
    machine: MakeMachine, remote: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    one = machine("one")
    lost = one.use(hello)
    next(lost.path.rglob("hello/__init__.py")).unlink()
    store = EnvironmentStore(one.place)
    retire_damaged(store, lost.path, max_tries=0, cancellation=Cancellation(), report=print)
    one.lines.clear()

    found = one.use(hello)

    assert one.has_fetched
    assert works(found, output_of)


def test_a_worker_that_puts_nothing_there_fetches(machine: MakeMachine, remote: Path, hello: EnvironmentSpec) -> None:
    shutil.rmtree(remote)
    reader = machine("reader", may_push=False)

    reader.use(hello)

    assert reader.has_built
    assert not remote.exists()


def test_what_sees_packages_of_its_worker_stays_there(
    machine: MakeMachine, make_spec: MakeSpec, output_of: OutputOf, tmp_path: Path
) -> None:
    one = machine("one")

    assert works(one.use(make_spec(system_site_packages=True)), output_of)

    assert "(py_system_site_packages), so no other machine has it. It is built here." in one.log
    assert not (tmp_path / "remote").exists()


def test_an_environment_with_a_link_out_stays_there(machine: MakeMachine, make_spec: MakeSpec, tmp_path: Path) -> None:
    link = "import os, sys; os.symlink('/etc/hostname', sys.prefix + '/lib/out')"  # as a package's own step may do
    one = machine("one")

    one.use(make_spec(check=link))

    assert "could not be put into" in one.log
    assert "lib/out is a link that leads to /etc/hostname, out of the environment." in one.log
    assert not (tmp_path / "remote").exists()


Spoil = Callable[[Path], object]


def cut_archive(remote: Path) -> None:
    file = archive_file(remote)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed_archive(remote: Path) -> None:
    file = archive_file(remote)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def archive_of_no_environment(remote: Path) -> None:
    content, file = b"not an archive", archive_file(remote)
    sha256 = hashlib.sha256(content).hexdigest()
    file.unlink()
    file.with_name(f"{record_file(remote).stem}-{sha256[:16]}.tar.zst").write_bytes(content)
    sign(remote, {**record_in(remote), "sha256": sha256, "size": len(content)})


def of_another_environment(remote: Path) -> None:
    folder, file = signed_folder(remote), record_file(remote)
    folder.write("another.json", json.dumps(record_in(remote)).encode(), seconds=10)
    (remote / "another.json").replace(file)


BROKEN = [
    pytest.param(cut_archive, "its archive is gone, or has another size", id="archive-cut-short"),
    pytest.param(changed_archive, "its SHA-256 is not that of its record", id="archive-changed"),
    pytest.param(lambda remote: archive_file(remote).unlink(), "its archive is gone", id="archive-gone"),
    pytest.param(archive_of_no_environment, "it cannot be unpacked", id="archive-of-no-environment"),
    pytest.param(lambda remote: record_file(remote).write_bytes(b"\0" * 500), "it is not signed", id="record-garbage"),
    pytest.param(lambda remote: record_file(remote).write_bytes(b""), "it is not signed", id="record-empty"),
    pytest.param(
        lambda remote: sign(remote, record_in(remote), b"the key of somebody else"),
        "it is not signed",
        id="another-key",
    ),
    pytest.param(of_another_environment, "it is not signed", id="of-another-environment"),
    pytest.param(lambda remote: sign(remote, {"sha256": "0" * 64}), "missing required field", id="another-release"),
]


@pytest.mark.parametrize(("spoil", "reason"), BROKEN)
@pytest.mark.usefixtures("temporary_folder")
def test_what_is_broken_or_strange_is_built_here_and_replaced(
    machine: MakeMachine, remote: Path, hello: EnvironmentSpec, output_of: OutputOf, spoil: Spoil, reason: str
) -> None:
    spoil(remote)
    one, other = machine("one"), machine("other")

    assert works(one.use(hello), output_of)
    builds = one.builds
    other.use(hello)

    assert one.has_built, one.log
    (line,) = [line for line in one.lines if "is not used" in line]
    assert reason in line
    assert line.endswith(". It is built here.")
    assert builds == A_BUILD_ALONE
    assert other.has_fetched, other.log


def fails(request: str, ending: str, kind: type[Exception] = OSError) -> Happens:
    """What happens at each such request."""

    def happens(asked: str, of: str) -> None:
        if (asked, of) == (request, ending):
            raise kind("the store is down")

    return happens


@pytest.mark.parametrize("kind", [OSError, RuntimeError])  # RuntimeError: a process that may start no thread more
@pytest.mark.parametrize("at", [("read", "json"), ("upload", "zst"), ("write", "json")])
@pytest.mark.usefixtures("temporary_folder")
def test_a_store_that_goes_down_costs_a_line(
    machine: MakeMachine,
    tmp_path: Path,
    hello: EnvironmentSpec,
    output_of: OutputOf,
    at: tuple[str, str],
    kind: type[Exception],
) -> None:
    one = machine("one", folder=TroubledFolder(tmp_path / "remote", before=fails(*at, kind)))

    assert works(one.use(hello), output_of)
    assert one.has_built
    assert len([line for line in one.lines if "the store is down" in line]) == 1, one.log
    assert one.builds == A_BUILD_ALONE


def test_a_download_that_fails_costs_a_line(
    machine: MakeMachine, remote: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    folder = TroubledFolder(remote, before=fails("download", "zst"))
    one = machine("one", folder=folder)

    assert works(one.use(hello), output_of)
    assert one.has_built
    assert "The virtualenv of the store is not used: the store is down. It is built here." in one.lines
    assert ("upload", "zst") not in folder.requests, "what did not answer is not waited for once more"


def test_without_zstandard_the_store_is_not_used(
    machine: MakeMachine, remote: Path, hello: EnvironmentSpec, output_of: OutputOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(archive, "import_module", missing)
    folder = TroubledFolder(remote)
    one = machine("one", folder=folder)

    assert works(one.use(hello), output_of)
    assert one.has_built
    assert len([line for line in one.lines if "install cosmos-venv[remote]" in line]) == 1, one.log
    assert folder.requests == []


@pytest.fixture
def hanging(remote: Path) -> Iterator[Path]:
    """A store whose record is never read to its end: a named pipe that nobody writes to."""
    pipe = record_file(remote)
    pipe.unlink()
    os.mkfifo(pipe)
    yield remote
    os.close(os.open(pipe, os.O_RDWR))  # so that the thread that reads it ends


def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_was_said(
    machine: MakeMachine, hanging: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    one = machine("one", seconds=1)

    assert works(one.use(hello), output_of)
    assert one.has_built
    assert f"file://{hanging} is not used: there was no answer within 1 s. It is built here." in one.log


@pytest.mark.usefixtures("temporary_folder")
def test_a_task_that_is_killed_does_not_wait_for_an_answer(
    machine: MakeMachine, hanging: Path, hello: EnvironmentSpec
) -> None:
    cancellation = Cancellation()
    folder = TroubledFolder(hanging, before=lambda *_: cancellation.request())
    one = machine("one", folder=folder, cancellation=cancellation, seconds=3600)

    with pytest.raises(CommandKilled):
        one.use(hello)

    assert one.builds == []


@pytest.mark.parametrize("at", [("before", "read", "json"), ("after", "download", "zst")])
@pytest.mark.usefixtures("temporary_folder")
def test_a_task_that_is_killed_while_it_fetches_leaves_nothing(
    machine: MakeMachine, remote: Path, hello: EnvironmentSpec, at: tuple[str, str, str]
) -> None:
    cancellation = Cancellation()
    when, request, ending = at
    folder = TroubledFolder(remote)
    setattr(folder, when, once(request, ending, cancellation.request))
    one, again = machine("one", folder=folder, cancellation=cancellation), machine("one")
    before = sorted(remote.rglob("*"))

    with pytest.raises(CommandKilled):
        one.use(hello)

    assert one.builds == []
    assert sorted(remote.rglob("*")) == before
    again.use(hello)
    assert again.has_fetched


@pytest.mark.parametrize("at", [("upload", "zst"), ("write", "json")])
@pytest.mark.usefixtures("temporary_folder")
def test_a_task_that_is_killed_while_it_pushes_leaves_no_half_environment(
    machine: MakeMachine, tmp_path: Path, hello: EnvironmentSpec, output_of: OutputOf, at: tuple[str, str]
) -> None:
    cancellation = Cancellation()
    folder = TroubledFolder(tmp_path / "remote", before=once(*at, cancellation.request))
    one, other = machine("one", folder=folder, cancellation=cancellation), machine("other")

    with pytest.raises(CommandKilled):
        one.use(hello)

    assert one.builds == A_BUILD_ALONE
    assert works(other.use(hello), output_of)
    assert other.has_built


def test_the_key_of_a_platform_names_python_c_library_and_architecture() -> None:
    python = Interpreter.of()
    key = platform_key(python)

    assert key.startswith(f"{python.implementation}-{python.version}-")
    assert key.endswith(f"_{platform.machine()}-envs-v2")
