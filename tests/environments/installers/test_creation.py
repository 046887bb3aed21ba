"""Empty environments that are made in this process: as Python's own ``venv`` makes them, whatever the umask is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.choice import Installer
from cosmos_venv.environments.installers.creation import create_in_process, creation_command
from cosmos_venv.environments.spec import Interpreter
from tests.kit import MakeReady, MakeSpec, OutputOf


def tree(folder: Path) -> dict[str, tuple[str, str]]:
    """Relative path of each file, folder and link -> its mode, and where a link leads."""
    return {
        path.relative_to(folder).as_posix(): (
            stat.filemode(path.lstat().st_mode),
            str(path.readlink()) if path.is_symlink() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def configuration(folder: Path) -> list[str]:
    lines = (folder / "pyvenv.cfg").read_text().splitlines()
    return [line for line in lines if not line.startswith("command")]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("sees_system", [False, True])
def test_an_environment_is_that_of_pythons_own_venv(
    tmp_path: Path, output_of: OutputOf, umask: int, sees_system: bool
) -> None:
    own = Interpreter.of()
    command = creation_command(Installer(name="pip", reason=""), own, system_site_packages=sees_system)
    subprocess.run([*command, str(tmp_path / "theirs" / "venv")], check=True, umask=0o022)

    before = os.umask(umask)
    try:
        (tmp_path / "ours").mkdir()
        create_in_process(tmp_path / "ours" / "venv", interpreter=own, system_site_packages=sees_system)
    finally:
        os.umask(before)

    ours, theirs = tmp_path / "ours" / "venv", tmp_path / "theirs" / "venv"
    assert tree(ours) == tree(theirs)
    assert stat.filemode(ours.stat().st_mode) == "drwxr-xr-x"
    assert configuration(ours) == configuration(theirs)
    assert output_of(ours / "bin" / "python", "-c", "import sys; print(sys.prefix)") == str(ours)


def test_the_python_is_the_one_that_the_digest_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Interpreter.of()
    link = tmp_path / "python"
    link.symlink_to(own.executable)
    monkeypatch.setattr(sys, "_base_executable", str(link), raising=False)

    create_in_process(tmp_path / "venv", interpreter=own, system_site_packages=False)

    assert os.path.realpath(tmp_path / "venv" / "bin" / "python") == own.executable
    assert str(link) not in {
        str(each.readlink()) for each in (tmp_path / "venv" / "bin").iterdir() if each.is_symlink()
    }


def test_uv_makes_environments_of_another_python() -> None:
    other = Interpreter(executable="/opt/python", version="3.12.1", implementation="cpython", platform="linux")

    command = creation_command(Installer(name="uv", reason="", uv="/bin/uv"), other, system_site_packages=True)

    assert command == ["/bin/uv", "venv", "--no-project", "--python", "/opt/python", "--system-site-packages"]


def test_a_python_whose_venv_fails_leaves_the_work_to_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_ready: MakeReady, make_spec: MakeSpec
) -> None:
    def fail(_: object, directory: Path) -> None:
        directory.mkdir()
        (directory / "half").touch()
        raise ValueError("a packager has changed it")

    monkeypatch.setattr(venv.EnvBuilder, "create", fail)

    lines: list[str] = []
    environment = make_ready(tmp_path, make_spec(), lines=lines)

    assert (environment.path / "bin" / "hello").exists()
    assert not (environment.path / "half").exists()
    assert any("Creating virtual environment" in line for line in lines)


def test_no_tool_makes_an_environment_of_this_python(
    tmp_path: Path, make_ready: MakeReady, make_spec: MakeSpec
) -> None:
    lines: list[str] = []

    make_ready(tmp_path, make_spec(), lines=lines)

    assert not [line for line in lines if "Creating virtual environment" in line]
