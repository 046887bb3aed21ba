"""An environment shares no file with an installer's cache: what others do to theirs changes nothing in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.managed.airflow_installer import AIRFLOW_INSTALLER
from cosmos_venv.processes.cancellation import Cancellation
from tests.installed import ROOT
from tests.kit import MakeSpec


@pytest.fixture
def another_environment(tmp_path: Path, offline: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that uv has filled with hard links into its cache, as it fills everybody's environments."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / "another"
    uv = Path(sys.executable).with_name("uv")
    words = ["pip", "install", "--quiet", *offline, "--target", str(folder), "--link-mode", "hardlink", "hello==2.0"]
    subprocess.run([uv, *words], check=True)
    assert (folder / "hello" / "__init__.py").stat().st_nlink > 1
    return folder


def append(folder: Path) -> None:
    """Change a file in place, as a company appends its certificate to that of certifi: the cache has the same file."""
    with (folder / "hello" / "__init__.py").open("a") as module:
        module.write("COMPANY = True\n")


@contextmanager
def opened(directory: Path | None, spec: EnvironmentSpec, lines: list[str]) -> Iterator[Environment]:
    if directory is None:
        with temporary_environment(spec, preference="uv", cancellation=Cancellation(), report=lines.append) as it:
            yield it
        return
    with open_environment(
        BuildRequest(store=EnvironmentStore(directory), spec=spec, preference="uv", max_tries=5),
        cancellation=Cancellation(),
        report=lines.append,
    ) as environment:
        yield environment


def shared(environment: Environment) -> list[Path]:
    files = [path for path in environment.path.rglob("*") if not path.is_symlink() and path.is_file()]
    assert files != []
    return [path for path in files if path.stat().st_nlink > 1]


@pytest.mark.parametrize("link_mode", ["", "hardlink", "symlink", "clone"])
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "temporary"])
def test_no_file_is_one_of_uvs_cache_whatever_link_mode_is_configured(
    tmp_path: Path,
    make_spec: MakeSpec,
    another_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    link_mode: str,
    is_kept: bool,
) -> None:
    if link_mode:
        monkeypatch.setenv("UV_LINK_MODE", link_mode)

    with opened(tmp_path / "store" if is_kept else None, make_spec("hello==2.0"), []) as environment:
        (module,) = environment.path.rglob("hello/__init__.py")

        assert shared(environment) == []
        assert not module.is_symlink()


@pytest.mark.long
@pytest.mark.parametrize("installer", ["pip", "airflow"])
def test_no_file_is_shared_by_another_installer(
    tmp_path: Path, make_spec: MakeSpec, another_environment: Path, monkeypatch: pytest.MonkeyPatch, installer: str
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # Airflow starts "uv"
    preference = AIRFLOW_INSTALLER if installer == "airflow" else installer
    pip_for_airflow = ("--find-links", str(ROOT / ".cache" / "wheelhouse"))  # it starts "uv venv --seed"
    request = BuildRequest(
        store=EnvironmentStore(tmp_path / "store"),
        spec=make_spec("hello==2.0", options=pip_for_airflow if installer == "airflow" else ()),
        preference=preference,  # type: ignore[arg-type] # two of its values
        max_tries=5,
    )
    with open_environment(request, cancellation=Cancellation(), report=print) as environment:
        assert shared(environment) == []


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "temporary"])
def test_a_damaged_cache_fails_the_one_build_and_the_error_names_the_command_that_mends_it(
    tmp_path: Path, make_spec: MakeSpec, another_environment: Path, is_kept: bool
) -> None:
    append(another_environment)
    lines: list[str] = []
    directory = tmp_path / "store" if is_kept else None

    with (
        pytest.raises(VirtualenvBuildError, match=r"hello/__init__\.py has .*'uv cache clean hello'"),
        opened(directory, make_spec("hello==2.0"), lines),
    ):
        pass
    installs = [line for line in lines if line.startswith("Creating")]
    subprocess.run([Path(sys.executable).with_name("uv"), "cache", "clean", "--quiet", "hello"], check=True)
    with opened(directory, make_spec("hello==2.0"), []) as environment:
        assert environment.was_built

    assert len(installs) == 1
