"""Environments in odd places: long and foreign paths, other and full and unfit file systems, users without a home."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import VirtualenvError
from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from tests.environments.elsewhere import (
    EMPTY_STORE,
    USE,
    open_to_everybody,
    own_python,
    remounted,
    require_root,
    tmpfs,
    uses_of,
    within,
)
from tests.kit import MakeReady, MakeSpec, OutputOf, StartPython, as_words

SHEBANG_LIMIT = 127
SOMEBODY = 51_234
INSTALLERS = pytest.mark.parametrize("installer", ["uv", "pip"])


@pytest.fixture
def mount_point(tmp_path: Path) -> Path:
    path = tmp_path / "mounted"
    path.mkdir()
    return path


@pytest.fixture
def big_spec(tmp_path: Path, make_spec: MakeSpec) -> EnvironmentSpec:
    """A spec of which 4 MB are installed, too much for a small disk; of ``hello`` 3.0."""
    files = {
        "hello/__init__.py": "def main():\n    print('hello 3.0')\n",
        "hello/data.txt": "0123456789abcdef" * 250_000,
    }
    folder = tmp_path / "big"
    folder.mkdir()
    write_wheel(Wheel(name="hello", version="3.0", files=files, console_scripts={"hello": "hello:main"}), folder)
    return make_spec("hello==3.0", options=("--find-links", str(folder)))


@pytest.mark.parametrize(
    ("name", "installer"),
    [
        pytest.param("d" * 150, "uv", id="longer-than-a-shebang-uv"),
        pytest.param("with some spaces", "uv", id="spaces-uv"),
        pytest.param("日本語 " * 20, "uv", id="all-of-it-uv"),
        pytest.param("日本語 " * 20, "pip", id="all-of-it-pip"),
    ],
)
def test_the_commands_run_whatever_the_path(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf, installer: str, name: str
) -> None:
    directory = tmp_path / name.strip()

    environment = make_ready(directory, make_spec(), preference=installer)

    assert len(os.fsencode(environment.python)) > SHEBANG_LIMIT
    assert output_of(environment.script("hello")) == "hello 2.0"


def test_a_path_in_which_a_shell_would_run_something_is_refused_before_anything_is_installed(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    lines: list[str] = []

    with pytest.raises(VirtualenvError, match=r"virtualenv_dir: '.*' has '`' in it, and commands that are installed"):
        make_ready(tmp_path / "a `touch x` b", make_spec(), preference="pip", lines=lines)

    assert [line for line in lines if "Creating" in line] == []


@pytest.mark.parametrize(
    ("limit", "installer"),
    [
        ("size=2m", "pip"),
        ("nr_inodes=25", "uv"),
    ],
)
def test_a_full_disk_is_told_leaves_nothing_and_does_not_bind_the_next_task(
    mount_point: Path, big_spec: EnvironmentSpec, start_python: StartPython, installer: str, limit: str
) -> None:
    place = within(setup=tmpfs(mount_point, limit))
    make_room = remounted(mount_point, "size=200m" if "size" in limit else "nr_inodes=10000")

    full, with_room = uses_of(start_python(USE, mount_point, installer, as_words(big_spec), make_room, within=place))

    assert full.error.startswith("VirtualenvBuildError: ")
    assert re.search(
        rf"The disk is full\. Free now: [\d.]+ MB in {mount_point}/envs-v2/"
        r"[0-9a-f-]+, .*"
        rf"Make room, or name a directory on another disk \(virtualenv_dir;",
        full.error,
    )
    assert full.left == EMPTY_STORE
    assert (with_room.said, with_room.error) == (["hello 3.0"], "")


@INSTALLERS
def test_a_python_that_nobody_can_write_to_makes_environments(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython, installer: str
) -> None:
    prefix = Path(sys.base_prefix).resolve()
    place = within(
        setup=f"mount --bind {prefix} {prefix}\nmount -o remount,ro,bind {prefix}\n! touch {prefix}/x 2>/dev/null"
    )

    (used,) = uses_of(start_python(USE, tmp_path / "store", installer, as_words(make_spec()), within=place))

    assert (used.said, used.error) == (["hello 2.0"], "")


@pytest.mark.parametrize(
    ("installer", "home"),
    [pytest.param("uv", ["HOME=/"], id="uv-not-writable"), pytest.param("pip", ["-u", "HOME"], id="pip-unset")],
)
def test_a_user_without_name_home_and_cache_builds_and_leaves_what_others_left(
    everybodys_directory: Path,
    tmp_path: Path,
    wheelhouse: Path,
    make_spec: MakeSpec,
    start_python: StartPython,
    installer: str,
    home: list[str],
) -> None:
    require_root("only root may become another user")
    wheels = shutil.copytree(wheelhouse, everybodys_directory / "wheels")
    for folder in (everybodys_directory, wheels):
        folder.chmod(0o755)
    store = everybodys_directory / "store"
    rubbish = store / "envs-v2" / f"{'a' * 64}-{'1' * 8}"
    (rubbish / "bin").mkdir(parents=True)
    for folder in (store, store / "envs-v2"):
        os.chown(folder, SOMEBODY, SOMEBODY)
    spec = replace(make_spec(), pip_install_options=("--no-index", "--find-links", str(wheels)))
    place = within(
        setup=open_to_everybody(own_python(), tmp_path),
        variables=["-u", "XDG_CACHE_HOME", "-u", "UV_CACHE_DIR", "-u", "PIP_CACHE_DIR", *home],
        user=SOMEBODY,
    )

    first, second = uses_of(start_python(USE, store, installer, as_words(spec), "true", within=place))

    assert (first.said, first.error) == (["hello 2.0"], "")
    assert any(str(rubbish) in line and "cannot be removed" in line for line in first.lines)
    assert (rubbish / "bin").is_dir()
    assert (second.said, second.lines) == (["hello 2.0"], [])
