"""Lock files and requirements with hashes: nothing is resolved, and nothing is installed that has another hash."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from tests.environments.lock_files import package, write_lock_file
from tests.kit import MakeReady, MakeSpec, OutputOf


@pytest.fixture
def old(wheelhouse: Path) -> Path:
    """The wheel of ``hello`` 1.0; where packages are looked for there is 2.0 too."""
    return wheelhouse / "hello-1.0-py3-none-any.whl"


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip and uv are configured with nothing."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def test_what_a_lock_file_names_is_installed_whatever_newer_versions_there_are(
    tmp_path: Path, old: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf
) -> None:
    shutil.copy(old, tmp_path)
    file = write_lock_file(tmp_path / "pylock.toml", package(old, at=f'path = "./{old.name}"'))
    spec = make_spec("hello>=1", f"-r {file}")

    environment = make_ready(tmp_path / "store", spec)

    assert output_of(environment.script("hello")) == "hello 1.0"
    assert environment.record.pins == {"hello": "1.0"}
    assert environment.record.sources == (str(file),)


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_a_file_with_another_hash_is_not_installed(
    tmp_path: Path, old: Path, make_spec: MakeSpec, make_ready: MakeReady, preference: str, unconfigured: None
) -> None:
    """A lock file is installed by uv alone; requirements with hashes by both."""
    if preference == "uv":
        file = write_lock_file(tmp_path / "pylock.toml", package(old, sha256="0" * 64))
    else:
        file = tmp_path / "hashed.txt"
        file.write_text(f"hello==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(VirtualenvBuildError, match=r"(?s)could not install .*(Hash mismatch|DO NOT MATCH THE HASHES)"):
        make_ready(tmp_path / "store", make_spec(f"-r {file}"), preference=preference)


def test_a_lock_file_that_does_not_hold_what_is_wanted_is_not_published(
    tmp_path: Path, old: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    file = write_lock_file(tmp_path / "pylock.toml", package(old))

    with pytest.raises(CosmosValueError, match=r"hello>=2 is wanted, and .* holds hello 1\.0"):
        make_ready(tmp_path / "store", make_spec("hello>=2", f"-r {file}"))

    assert not list((tmp_path / "store/envs-v2").iterdir())
