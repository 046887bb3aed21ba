"""Our two distributions and environments for them, made offline in a second or two."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.installed import IS_CI, ROOT, WHEELS

PROJECTS = {"cosmos_venv": ROOT, "pytest_cosmos_venv": ROOT / "pytest_cosmos_venv"}
OFFLINE = ["--no-index", "--find-links", str(WHEELS)]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One built project.

    :param sdist: the archive.
    :param wheel: built from the checkout.
    :param wheel_of_sdist: built from the unpacked ``sdist``, away from the checkout.
    """

    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def build(project: Path, folder: Path) -> Distribution:
    """Build both artifacts of a project into ``folder``, and its wheel once more from the sdist."""
    pytest.importorskip("hatchling", reason="builds our distributions, in the environment that tests run in")
    sdist = _hatchling("sdist", project, folder / "sdist")
    with tarfile.open(sdist) as archive:
        # Python 3.12 wants the filter named; the archive is our own.
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Distribution(
        sdist=sdist,
        wheel=_hatchling("wheel", project, folder / "wheel"),
        wheel_of_sdist=_hatchling("wheel", unpacked, folder / "wheel_of_sdist"),
    )


def files_of(wheel: Path) -> set[str]:
    """The names in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def text_of(wheel: Path, name: str) -> str:
    """The text of ``*.dist-info/<name>``."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [each for each in archive.namelist() if each.endswith(f".dist-info/{name}")]
        return archive.read(path).decode()


def make_environment(path: Path) -> Path:
    """An empty environment; returns its Python."""
    run(uv("venv", "--python", sys.executable, str(path)))
    return path / "bin" / "python"


def copy_environment(original: Path, copy: Path, *, with_byte_code: bool = False) -> Path:
    """The environment once more, its files as hard links; returns its Python. Installers replace files, they never
    write into them, so the original stays as it is."""
    left_out = None if with_byte_code else shutil.ignore_patterns("__pycache__")
    shutil.copytree(original, copy, symlinks=True, copy_function=_link_or_copy, ignore=left_out)
    return copy / "bin" / "python"


def uv(*arguments: str) -> list[str]:
    """A command line of the uv that stands in this environment."""
    return [find_uv_bin(), "--quiet", "--offline", *arguments]


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The command's output; a failure shows it. The checkout is not on its path, whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def require(path: Path, *, reason: str) -> None:
    """Skip where the install step of ``make test`` has not made ``path``; in CI that is a failure."""
    if path.exists():
        return
    text = f"{path.relative_to(ROOT)} is missing ({reason}): `make test` makes it"
    if IS_CI:
        pytest.fail(text)
    pytest.skip(text)


def _link_or_copy(original: str, copy: str) -> None:
    """A hard link, where the temporary folder is on the same file system."""
    try:
        os.link(original, copy)
    except OSError:
        shutil.copy2(original, copy)


def _hatchling(target: str, project: Path, folder: Path) -> Path:
    run([sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)], cwd=project)
    (artifact,) = [each for each in folder.iterdir() if each.suffix in (".gz", ".whl")]
    return artifact
