"""Real environments by uv and pip: built once, published whole, used without a lock, never changed."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError, VirtualenvError
from tests.kit import MakeReady, MakeSpec, OutputOf, StartPython, as_words


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_an_environment_is_built_once_and_then_found(
    tmp_path: Path, make_spec: MakeSpec, preference: str, make_ready: MakeReady, output_of: OutputOf
) -> None:
    spec = make_spec("hello==1.0", check="import hello; assert hello.VERSION == '1.0'")

    first = make_ready(tmp_path / "with blank é", spec, preference=preference)
    second = make_ready(tmp_path / "with blank é", spec, preference=preference)

    assert (first.was_built, second.was_built) == (True, False)
    assert first.path == second.path
    assert output_of(first.script("hello")) == "hello 1.0"
    assert output_of(first.python, "-c", "import sys; print(sys.prefix)") == str(first.path)
    assert list(first.path.glob("lib/*/site-packages/hello/__pycache__/*.pyc"))


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_the_record_says_what_was_built_how_and_by_whom(
    tmp_path: Path, make_spec: MakeSpec, preference: str, make_ready: MakeReady
) -> None:
    environment = make_ready(tmp_path, make_spec("hello"), preference=preference)

    record = environment.record

    assert record.pins["hello"] == "2.0"
    assert record.installer == preference
    assert record.built_by == socket.gethostname()
    assert record.spec.requirements == ("hello",)
    assert record.seconds > 0


def test_a_user_may_delete_the_directory_of_a_store(
    everybodys_folder: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    """Folders of mode 0555 made a user's own ``rm -rf`` fail."""
    path = make_ready(everybodys_folder, make_spec()).path

    folders = [path, *(folder for folder in path.rglob("*") if folder.is_dir() and not folder.is_symlink())]

    assert [folder for folder in folders if not folder.stat().st_mode & stat.S_IWUSR] == []


def test_a_file_in_place_of_the_directory_is_refused(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    file = tmp_path / "file"
    file.write_text("")

    for directory in (file, file / "below"):
        with pytest.raises(CosmosValueError, match=r"virtualenv_dir: .*file.* is not a directory.*Give the path"):
            make_ready(directory, make_spec())


OPEN_AS_NOBODY = """
import json, os, sys, pickle
from pathlib import Path
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.processes.cancellation import Cancellation
if os.getuid() == 0:
    os.setuid(65534)
spec = pickle.loads(bytes.fromhex(sys.argv[2]))
try:
    store = EnvironmentStore(Path(sys.argv[1]))
    with open_environment(BuildRequest(store=store, spec=spec, max_tries=0), cancellation=Cancellation(), report=print):
        pass
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython
) -> None:
    directory = tmp_path / "read-only"
    directory.mkdir(mode=0o555)

    output = start_python(OPEN_AS_NOBODY, directory, as_words(make_spec())).communicate()[0]

    assert output.startswith(f"VirtualenvError virtualenv_dir {directory} cannot be used: Permission denied")
    assert "choose another directory" in output
    assert issubclass(VirtualenvBuildError, VirtualenvError)


def test_an_environment_whose_interpreter_is_gone_is_built_anew(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf
) -> None:
    first = make_ready(tmp_path, make_spec())
    first.python.unlink()

    second = make_ready(tmp_path, make_spec())

    assert second.was_built
    assert second.path != first.path
    assert output_of(second.script("hello")) == "hello 2.0"


@pytest.mark.parametrize("content", ["", '{"digest": "', '{"digest": 1}'], ids=["empty", "cut-off", "of-another-shape"])
def test_an_environment_with_a_damaged_record_is_built_anew(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, content: str
) -> None:
    first = make_ready(tmp_path, make_spec())
    EnvironmentStore(tmp_path).record_file(first.digest).write_text(content)

    second = make_ready(tmp_path, make_spec())

    assert second.was_built
    assert EnvironmentStore(tmp_path).published(first.digest) == second.record
