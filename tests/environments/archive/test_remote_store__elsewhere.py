"""Environments on machines of another path, user, umask and interpreter than the builder's."""

from __future__ import annotations

import json
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
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter, Library
from cosmos_venv.files.read_limits import sha256_of_file
from tests.environments import elsewhere
from tests.environments.archive.forging import Member, forge
from tests.environments.archive.machines import Machine
from tests.environments.elsewhere import needs_root
from tests.environments.upgrades import HOUR, make_old, release, upgraded
from tests.kit import MakeSpec, OutputOf, SetUmask, StartPython

PLAIN, BLANKS, LONG, QUOTED = "plain", "with blanks", "long" * 30, "it's $HOME"
OTHER_USER = 12_345


def other_names_in(environment: Environment, place: Path) -> list[str]:
    """The files that name a place."""
    files = (path for path in environment.path.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [str(path) for path in files if os.fsencode(place) in path.read_bytes()]


@pytest.mark.parametrize(
    ("builder", "worker", "preference"),
    [
        (PLAIN, BLANKS, "uv"),
        (PLAIN, LONG, "pip"),
        (BLANKS, PLAIN, "uv"),
        (BLANKS, LONG, "pip"),
        (LONG, QUOTED, "uv"),
        (LONG, BLANKS, "pip"),
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


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o027, 0o077])
def test_others_read_an_environment_and_nobody_writes_to_it(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, set_umask: SetUmask, umask: int
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote)
    set_umask(umask)

    fetched = machine.use(hello)

    assert machine.has_fetched
    assert modes_below(fetched.path) <= {"d0o555", "f0o644", "f0o755"}


def test_byte_code_is_valid_where_it_was_unpacked(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    machine = Machine(directory=tmp_path / "another" / "envs", remote=remote)
    fetched = machine.use(hello)
    (code,) = fetched.path.rglob("hello/__pycache__/__init__.*.pyc")
    for folder in (code.parent, code.parent.parent):
        folder.chmod(0o755)  # so that an import could write there
    before = {path: path.stat().st_mtime_ns for path in fetched.path.rglob("*.pyc")}

    said = output_of(fetched.python, "-v", "-c", "import hello; print(hello.main.__code__.co_filename)")
    source = fetched.path / Path(said.splitlines()[-1])

    assert source.is_relative_to(fetched.path)
    assert {path: path.stat().st_mtime_ns for path in fetched.path.rglob("*.pyc")} == before
    status = source.stat()
    numbers = [int.from_bytes(code.read_bytes()[at : at + 4], "little") for at in (4, 8, 12)]
    assert numbers == [0, int(status.st_mtime), status.st_size]


USE = """
import json, sys
from pathlib import Path
from cosmos_venv.environments.spec import EnvironmentSpec
from tests.environments.archive.machines import Machine
directory, remote, order = sys.argv[1:]
machine = Machine(directory=Path(directory), remote=Path(remote))
environment = machine.use(EnvironmentSpec.from_dict(json.loads(order)))
print(json.dumps([machine.log, str(environment.path)]))
"""


@pytest.mark.long
@needs_root
def test_another_user_fetches_what_root_has_built(
    everybodys_folder: Path, wheelhouse: Path, hello: EnvironmentSpec, start_python: StartPython
) -> None:
    remote, home, aside, beside = (everybodys_folder / name for name in ("remote", "home", "aside", "beside"))
    Machine(directory=everybodys_folder / "one", remote=remote).use(hello)
    for folder in (home, aside, beside):
        folder.mkdir()
    os.chown(home, OTHER_USER, OTHER_USER)
    opened = [elsewhere.open_to_everybody(elsewhere.own_python(), aside)]
    opened.append(elsewhere.open_to_everybody([wheelhouse], beside))
    variables = [f"TMPDIR={home}", f"HOME={home}", f"AIRFLOW_HOME={home}/airflow"]

    process = start_python(
        USE,
        home / "envs",
        remote,
        json.dumps(hello.as_dict()),
        within=elsewhere.within(setup="\n".join(opened), variables=variables, user=OTHER_USER),
    )
    said = process.communicate(timeout=60)[0]

    assert process.returncode == 0, said
    log, path = json.loads(said.splitlines()[-1])
    assert "Fetched " in log
    assert "Creating the virtualenv" not in log
    assert {each.lstat().st_uid for each in Path(path).rglob("*")} == {OTHER_USER}
    assert modes_below(Path(path)) <= {"d0o555", "f0o644", "f0o755"}


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


def test_an_environment_of_another_python_travels(
    tmp_path: Path, make_spec: MakeSpec, other_python: str, output_of: OutputOf
) -> None:
    spec = make_spec(interpreter=Interpreter.of(other_python))
    one, other = (Machine(directory=tmp_path / name, remote=tmp_path / "remote") for name in ("one", "other"))

    one.use(spec)
    fetched = other.use(spec)

    assert other.has_fetched, other.log
    assert output_of(fetched.script("hello")) == "hello 2.0"
    assert os.path.realpath(fetched.python) == spec.interpreter.executable
    assert file_faults(fetched.path, content=True) == []


def test_another_python_has_environments_of_its_own(
    tmp_path: Path, remote: Path, make_spec: MakeSpec, other_python: str
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote)

    machine.use(make_spec(interpreter=Interpreter.of(other_python)))

    assert machine.has_built
    assert len(list(remote.rglob("*.tar.zst"))) == 2


def test_libraries_travel(tmp_path: Path, make_spec: MakeSpec) -> None:
    driver = tmp_path / "libadbc_driver_harbor.so"
    driver.write_bytes(b"\x7fELF" + os.urandom(1_000))
    spec = make_spec(libraries=(Library(source=str(driver), digest=sha256_of_file(driver)),))
    one, other = (Machine(directory=tmp_path / name, remote=tmp_path / "remote") for name in ("one", "other"))

    one.use(spec)
    fetched = other.use(spec)

    assert other.has_fetched, other.log
    assert (fetched.path / "lib" / driver.name).read_bytes() == driver.read_bytes()
    assert fetched.record["libraries"] == {driver.name: 1_004}


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


def test_what_is_fetched_in_the_place_of_a_damaged_build_is_read_to_the_last_byte(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf
) -> None:
    """The builder's disk may have been the one that is broken."""

    def with_a_changed_letter(members: list[Member]) -> list[Member]:
        return [
            replace(each, content=each.content.replace(b"2.0", b"2.O"))
            if each.name.endswith("hello/__init__.py")
            else each
            for each in members
        ]

    forge(remote, members=with_a_changed_letter)
    machine = Machine(directory=tmp_path / "envs", remote=remote)
    damaged = machine.use(hello)
    assert machine.has_fetched

    found = machine.use(hello, instead_of=Damaged(path=damaged.path, faults=("it does not start",)))

    assert "hello/__init__.py has another content than was installed" in machine.log
    assert output_of(found.script("hello")) == "hello 2.0"
