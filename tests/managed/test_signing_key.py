"""The key that workers share: where it may lie, and who gets it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.managed import resolve
from cosmos_venv.managed.resolve import VirtualenvArguments
from cosmos_venv.managed.signing_key import signing_key
from cosmos_venv.remote.download_cache import RemoteError
from tests.environments.elsewhere import needs_root
from tests.kit import MakeOperator

KEY = b"the key of all workers"
BINARY = bytes(range(256))[::-1]


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the key, as the setting names it."""
    file = tmp_path / "secret" / "key"
    file.parent.mkdir()
    file.write_bytes(KEY)
    file.chmod(0o600)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE", str(file))
    return file


def test_a_secret_that_kubernetes_mounts_is_a_key(key_file: Path) -> None:
    """A volume of a Secret holds links, so that all its files change at once; with fsGroup its group may read them."""
    version = key_file.parent / "..2026_01_01"
    version.mkdir()
    key_file.rename(version / "key")
    (key_file.parent / "..data").symlink_to(version.name)
    key_file.symlink_to("..data/key")
    key_file.chmod(0o440)

    assert signing_key() == KEY


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620])
def test_a_key_that_others_may_read_or_write_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)

    with pytest.raises(CosmosValueError, match=rf"others may read or write it \(owner \d+, mode {mode:o}\)"):
        signing_key()


@needs_root
def test_a_key_of_another_user_is_refused(key_file: Path) -> None:
    os.chown(key_file, 12_345, 12_345)

    with pytest.raises(CosmosValueError, match=r"others may read or write it \(owner 12345, "):
        signing_key()


def a_pipe(file: Path) -> None:
    os.mkfifo(file)


def a_link_to_nothing(file: Path) -> None:
    file.symlink_to("nowhere")


def a_large_file(file: Path) -> None:
    file.write_bytes(b"1" * 1_000_000)
    file.chmod(0o600)


@pytest.mark.parametrize("plant", [a_pipe, a_link_to_nothing, a_large_file])
def test_what_is_no_file_with_a_key_is_not_waited_for(key_file: Path, plant: Callable[[Path], None]) -> None:
    key_file.unlink()
    plant(key_file)

    with pytest.raises(RemoteError, match=f"its key file {key_file} cannot be read"):
        signing_key()


BACKEND = """
import json, os, pathlib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    pathlib.Path({seen!r}).write_text(json.dumps(dict(os.environ)))
    with zipfile.ZipFile(pathlib.Path(directory, "own-1.0-py3-none-any.whl"), "w") as archive:
        archive.writestr("own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n")
        archive.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("own-1.0.dist-info/RECORD", "own-1.0.dist-info/METADATA,,\\n")
    return "own-1.0-py3-none-any.whl"
"""


@pytest.mark.long
@pytest.mark.parametrize("key", [KEY, BINARY], ids=["text", "bytes"])
def test_the_builder_of_a_parse_signs_with_the_key_and_gives_it_to_no_package(
    make_operator: MakeOperator, tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    """A package that is built runs code of its own: with the key it could sign for everybody.

    The connection of the storage is such a secret too.
    """

    class Kept:
        """A connection that only the process of the parse can ask for."""

        def get_uri(self) -> str:
            return "file://user:s3cret@"

    key_file.write_bytes(key)
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_DIR", f"file://{tmp_path}/remote")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_DIR_CONN_ID", "storage")
    monkeypatch.setattr("cosmos_venv.managed.remote_environments.get_connection", lambda _: Kept())
    project, seen = tmp_path / "own", tmp_path / "seen"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text(BACKEND.format(seen=str(seen)))
    requirements = [*make_operator().py_requirements, str(project)]
    arguments = VirtualenvArguments.of(vars(make_operator(py_requirements=requirements)))

    place = tmp_path / "envs"
    with resolve.environment_for_parsing(arguments, place, report=print):
        environ = json.loads(seen.read_text())
    place.rename(tmp_path / "disk of the builder")
    with resolve.environment_for_parsing(arguments, place, report=print) as environment:
        record = environment.record

    assert record.fetched_from == f"file://{tmp_path}/remote/environments-v1"
    texts = [value.encode("utf-8", "surrogateescape") for value in environ.values()]
    assert not [text for text in texts if key in text or key.hex().encode() in text or b"s3cret" in text]
    place.rename(tmp_path / "disk of another machine")
    make_operator(py_requirements=requirements, virtualenv_dir=place).execute({})
    assert len(list((tmp_path / "remote").rglob("*.tar.zst"))) == 1, "a task has the same key as the builder"
