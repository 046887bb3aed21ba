"""A worker without pip has one for all builds: the wheel that comes with Python, unpacked once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.bundled_pip import RUNNER, bundled_pip
from cosmos_venv.environments.spec import Interpreter
from tests.kit import MakeReady, MakeSpec


def pip_of(cache: Path, scratch: Path) -> Path | None:
    return bundled_pip(Interpreter.of(), scratch, {"XDG_CACHE_HOME": str(cache)}, ask=str)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_it_is_unpacked_once_where_nobody_else_may_look_and_runs_on_another_python(tmp_path: Path, cache: Path) -> None:
    first = pip_of(cache, tmp_path / "scratch")
    assert first is not None
    inode = first.stat().st_ino

    again = pip_of(cache, tmp_path / "scratch")
    said = subprocess.run([sys.executable, str(first), "--version"], capture_output=True, text=True, check=True)

    assert (again, first.stat().st_ino) == (first, inode)
    assert first.is_relative_to(cache / "cosmos-venv")
    assert (cache / "cosmos-venv").stat().st_mode & 0o777 == 0o700
    assert said.stdout.startswith("pip ")
    assert str(first.parent) in said.stdout
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("spoilt", ["open to others", "replaceable", "a link"])
def test_where_it_cannot_be_kept_alone_each_build_has_its_own(tmp_path: Path, cache: Path, spoilt: str) -> None:
    own = cache / "cosmos-venv"
    cache.mkdir()
    if spoilt == "open to others":
        own.mkdir()
        own.chmod(0o777)
    elif spoilt == "replaceable":
        cache.chmod(0o777)  # whoever may write there can put another folder in its place
    elif spoilt == "a file":
        own.touch()
    elif spoilt == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        own.symlink_to(tmp_path / "elsewhere")
    else:
        cache.rmdir()
        cache.touch()

    assert pip_of(cache, tmp_path / "scratch") == tmp_path / "scratch" / "pip" / RUNNER


@pytest.mark.long
def test_builds_of_a_worker_without_pip_share_it(
    tmp_path: Path,
    cache: Path,
    make_spec: MakeSpec,
    make_ready: MakeReady,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)  # then nobody finds one
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    lines: list[str] = []

    environments = [
        make_ready(tmp_path / "store", make_spec(f"hello=={version}"), preference="pip", lines=lines)
        for version in ("1.0", "2.0")
    ]

    assert [environment.record["pins"] for environment in environments] == [{"hello": "1.0"}, {"hello": "2.0"}]
    (kept,) = (cache / "cosmos-venv").iterdir()
    assert list(kept.glob("pip/__pycache__/*.pyc")), "each start compiles it anew"
    assert not [line for line in lines if "ensurepip" in line]
    assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"
