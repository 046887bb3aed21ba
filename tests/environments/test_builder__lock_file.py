"""Lock files and requirements with hashes: nothing is resolved, and nothing is installed that has another hash."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.environments.lock_files import package, sha256_of, write_lock_file
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


@pytest.mark.parametrize("preference", ["auto", pytest.param("pip", marks=pytest.mark.long)])
def test_requirements_with_hashes_are_installed_and_each_needs_one(
    tmp_path: Path, old: Path, make_spec: MakeSpec, make_ready: MakeReady, unconfigured: None, preference: str
) -> None:
    wheel = write_wheel(Wheel(name="eager", version="1", files={"eager.py": ""}, requires=("hello",)), tmp_path)
    lines = [f"eager==1 --hash=sha256:{sha256_of(wheel)}\n", f"hello==1.0 --hash=sha256:{sha256_of(old)}\n"]
    (tmp_path / "all.txt").write_text("".join(lines))
    (tmp_path / "some.txt").write_text(lines[0])
    also_here = ("--find-links", str(tmp_path))

    environment = make_ready(
        tmp_path / "store", make_spec(f"-r {tmp_path}/all.txt", options=also_here), preference=preference
    )

    assert environment.record.pins == {"eager": "1", "hello": "1.0"}
    with pytest.raises(VirtualenvBuildError, match=r"require-hashes|Hash-checking is required"):
        make_ready(tmp_path / "store", make_spec(f"-r {tmp_path}/some.txt", options=also_here), preference=preference)


def test_a_constraint_of_the_machine_has_no_say_in_a_lock_file(
    tmp_path: Path,
    old: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    unconfigured: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "limits.txt").write_text("hello>=2\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "limits.txt"))
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "limits.txt"))
    file = write_lock_file(tmp_path / "pylock.toml", package(old))

    environment = make_ready(tmp_path / "store", make_spec(f"-r {file}"), preference="auto")

    assert environment.record.pins == {"hello": "1.0"}
    assert environment.record.installer.name == "uv"


def test_a_source_distribution_is_built_and_its_hash_checked(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, old: Path
) -> None:
    (tmp_path / "hello-1.0").mkdir()
    (tmp_path / "hello-1.0" / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "hello-1.0" / "PKG-INFO").write_text("Metadata-Version: 2.2\nName: hello\nVersion: 1.0\n")
    (tmp_path / "hello-1.0" / "backend.py").write_text(
        "import shutil\n"
        "def build_wheel(directory, config_settings=None, metadata_directory=None):\n"
        f"    shutil.copy({str(old)!r}, directory)\n"
        f"    return {old.name!r}\n"
    )
    sdist = tmp_path / "hello-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(tmp_path / "hello-1.0", "hello-1.0")
    source = '{ path = "hello-1.0.tar.gz", hashes = { sha256 = "%s" } }'
    entry = f'[[packages]]\nname = "hello"\nversion = "1.0"\nsdist = {source}'
    right = write_lock_file(tmp_path / "pylock.toml", entry % sha256_of(sdist))
    wrong = write_lock_file(tmp_path / "pylock.wrong.toml", entry % ("0" * 64))

    environment = make_ready(tmp_path / "store", make_spec(f"-r {right}"))

    assert environment.record.pins == {"hello": "1.0"}
    with pytest.raises(VirtualenvBuildError, match="Hash mismatch"):
        make_ready(tmp_path / "store", make_spec(f"-r {wrong}"))
