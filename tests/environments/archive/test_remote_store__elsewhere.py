"""Environments on machines of another path, user, umask and interpreter than the builder's."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cosmos_venv.environments.environment import Damaged, Environment
from cosmos_venv.environments.maintenance.inventory import file_faults
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from tests.environments.archive.forging import forge
from tests.environments.archive.machines import Machine
from tests.environments.upgrades import HOUR, make_old, release, upgraded
from tests.kit import MakeSpec, OutputOf, SetUmask

PLAIN, BLANKS, LONG, QUOTED = "plain", "with blanks", "long" * 30, "it's $HOME"


def other_names_in(environment: Environment, place: Path) -> list[str]:
    """The files that name a place."""
    files = (path for path in environment.path.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [str(path) for path in files if os.fsencode(place) in path.read_bytes()]


@pytest.mark.parametrize(
    ("builder", "worker", "preference"),
    [
        (PLAIN, LONG, "pip"),
        (LONG, QUOTED, "uv"),
    ],
)
def test_an_environment_works_at_any_path(
    tmp_path: Path, hello: EnvironmentSpec, output_of: OutputOf, builder: str, worker: str, preference: str
) -> None:
    one = Machine(directory=tmp_path / "one" / builder, remote=tmp_path / "remote", preference=preference)
    other = Machine(directory=tmp_path / "other" / worker, remote=tmp_path / "remote")

    built = one.use(hello)
    fetched = other.use(hello)

    assert other.has_fetched, other.log
    assert output_of(fetched.script("hello")) == output_of(built.script("hello")) == "hello 2.0"
    assert output_of(other.directory / "bin" / "hello") == "hello 2.0"
    assert output_of(fetched.python, "-c", "import sys; print(sys.prefix)") == str(fetched.path)
    assert file_faults(fetched.path, content=True) == file_faults(built.path, content=True) == []
    assert other_names_in(fetched, tmp_path / "one") == []


def modes_below(folder: Path) -> set[str]:
    paths = [path for path in [folder, *folder.rglob("*")] if not path.is_symlink()]
    return {("d" if path.is_dir() else "f") + oct(stat.S_IMODE(path.stat().st_mode)) for path in paths}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_others_read_an_environment_and_nobody_writes_to_it(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, set_umask: SetUmask, umask: int
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote)
    set_umask(umask)

    fetched = machine.use(hello)

    assert machine.has_fetched
    assert modes_below(fetched.path) <= {"d0o555", "f0o644", "f0o755"}


@pytest.fixture
def moved_python(tmp_path: Path) -> str:
    """The Python of these tests at another path."""
    program = tmp_path / "usr" / "bin" / f"python3.{sys.version_info.minor}"
    program.parent.mkdir(parents=True)
    shutil.copy2(Interpreter.of().executable, program)
    return str(program)


def test_the_same_python_at_another_path_fetches_too(
    tmp_path: Path, remote: Path, make_spec: MakeSpec, moved_python: str, output_of: OutputOf
) -> None:
    spec = make_spec(interpreter=Interpreter.of(moved_python))
    machine = Machine(directory=tmp_path / "envs", remote=remote)

    fetched = machine.use(spec)

    assert machine.has_fetched, machine.log
    assert spec.digest != make_spec().digest
    assert output_of(fetched.script("hello")) == "hello 2.0"
    assert os.path.realpath(fetched.python) == moved_python
    assert fetched.record["spec"]["interpreter"]["executable"] == moved_python
    assert fetched.record["digest"] == spec.digest


def test_another_python_has_environments_of_its_own(
    tmp_path: Path, remote: Path, make_spec: MakeSpec, other_python: str
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote)

    machine.use(make_spec(interpreter=Interpreter.of(other_python)))

    assert machine.has_built
    assert len(list(remote.rglob("*.tar.zst"))) == 2


def test_a_fetched_environment_is_upgraded_by_one_machine_for_all(
    tmp_path: Path, index: Path, wheelhouse: Path, output_of: OutputOf
) -> None:
    spec = upgraded(index)
    one, other = (Machine(directory=tmp_path / name, remote=tmp_path / "remote") for name in ("one", "other"))
    for machine in (one, other):
        make_old(machine.use(spec))
    long_ago = (datetime.now(tz=timezone.utc) - timedelta(hours=3)).isoformat(timespec="seconds")
    forge(one.remote, lambda record: replace(record, build=replace(record.build, built_at=long_ago)))
    release(index, wheelhouse)

    assert output_of(one.use(spec, upgrade_after=HOUR).script("hello")) == "hello 2.0"
    assert output_of(other.use(spec, upgrade_after=HOUR).script("hello")) == "hello 2.0"

    assert "Creating" not in other.log
    assert other.log.count("Fetched ") == 2


def test_a_fetched_environment_that_lost_files_is_fetched_anew(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote)
    lost = machine.use(hello)

    found = machine.use(hello, instead_of=Damaged(path=lost.path, faults=("hello/__init__.py is missing",)))

    assert machine.log.count("Fetched ") == 2
    assert "Creating" not in machine.log
    assert found.path != lost.path
    assert output_of(found.script("hello")) == "hello 2.0"
