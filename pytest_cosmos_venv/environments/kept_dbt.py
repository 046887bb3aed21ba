"""Virtual environments with a real dbt, installed once with uv or pip and kept between test runs."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from pytest_cosmos_venv.environments.dbt_releases import DbtRelease
from pytest_cosmos_venv.environments.virtualenv_dirs import PLACES_VARIABLE
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.shared_folders import SharedFolders

LONGEST_INSTALLATION = 900.0
"""Seconds that one installation may take: dbt with an adapter and a cold cache on a slow network."""
_DUCKDB = "duckdb"
_SHOWN_LINES = 12


@dataclass(frozen=True, kw_only=True)
class KeptDbt:
    """A virtual environment with a real dbt.

    :param path: its directory.
    :param requirements: what was installed, as pip takes it.
    """

    path: Path
    requirements: tuple[str, ...]

    @property
    def dbt(self) -> Path:
        """The executable, for ``ExecutionConfig(dbt_executable_path=...)``."""
        return self.path / "bin" / "dbt"

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.path / "bin" / "python"


def kept_dbt(folders: SharedFolders, requirements: Sequence[str], *, drivers: Sequence[Path] = ()) -> KeptDbt:
    """Return an environment in which some requirements are installed, made when none is kept yet.

    It has the Python of this process. uv installs; pip does where uv is missing or fails, since pip may be configured
    with indexes that uv does not know. Both use the machine's settings, as in a terminal.

    :param folders: the place where it is kept.
    :param requirements: the requirements, as pip takes them: ``dbt-core~=1.11.0``.
    :param drivers: database drivers that dbt 2 loads from the environment's ``lib/``, such as ``libduckdb.so``.
    :raises ToolkitMisuse: the requirements cannot be installed, a driver is missing, or the test has led the installers
        to fake packages.
    """
    for driver in drivers:
        if not driver.is_file():
            raise ToolkitMisuse(f"There is no driver {driver}: name the file of a shared library that dbt 2 loads.")

    def make(folder: Path) -> None:
        if PLACES_VARIABLE in os.environ:
            raise ToolkitMisuse(
                f"A real dbt ({' '.join(requirements)}) has to be installed first, and cosmos_dbt leads pip and "
                "uv to fake packages in this test: use one of the two, or run a test without cosmos_dbt before."
            )
        _install(folder, requirements)
        for driver in drivers:
            shutil.copy2(driver, folder / "lib")

    # An environment's scripts hold its path, so an environment under another path (a moved cache, a link) cannot be
    # used.
    place = SharedFolders(root=folders.root.resolve())
    folder = place.get("dbt", _key(requirements, drivers, place.root), make, timeout=LONGEST_INSTALLATION)
    return KeptDbt(path=folder, requirements=tuple(requirements))


def kept_release(folders: SharedFolders, release: DbtRelease) -> KeptDbt:
    """Return the environment of a release of dbt with DuckDB, made when none is kept yet.

    :param folders: the place where it is kept.
    :param release: the release.
    :raises ToolkitMisuse: as of ``kept_dbt``.
    """
    # dbt 2 brings no Python module of DuckDB, with which tests read rows.
    needed = [*release.requirements, *([_DUCKDB] if release.is_native else [])]
    return kept_dbt(folders, needed, drivers=release.drivers)


def _key(requirements: Sequence[str], drivers: Sequence[Path], root: Path) -> str:
    """Return the key of an environment: requirements, drivers, its place, and the Python that it is linked to."""
    parts = [
        str(root),
        *sorted(requirements),
        *(f"{driver.name} {hashlib.sha256(driver.read_bytes()).hexdigest()}" for driver in drivers),
        platform.python_version(),
        sys.base_prefix,
        sysconfig.get_platform(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _install(folder: Path, requirements: Sequence[str]) -> None:
    said = []
    for installer, commands in _ways(folder, requirements):
        lines = _first_failure(commands)
        if lines is None:
            return
        said += [f"{installer} says:", *lines[-_SHOWN_LINES:]]
        shutil.rmtree(folder)
        folder.mkdir()
    failure = f"A real dbt cannot be installed ({' '.join(requirements)})."
    way_out = "To install others for a release of --cosmos-dbt, set cosmos_dbt_requirements in the ini file."
    raise ToolkitMisuse("\n".join([failure, *said, way_out]))


def _ways(folder: Path, requirements: Sequence[str]) -> list[tuple[str, list[list[str]]]]:
    """Return the installers to try, the fastest first, each with its commands."""
    python = str(folder / "bin" / "python")
    ways = []
    uv = uv_program()
    if uv is not None:
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)]
        ways.append(("uv", [make, [uv, "pip", "install", "--quiet", "--python", python, *requirements]]))
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *requirements]
    return [*ways, ("pip", [[sys.executable, "-m", "venv", str(folder)], install])]


def uv_program() -> str | None:
    """Return the path of uv: on PATH, or in the environment of this process; None where it is in neither."""
    found = shutil.which("uv")
    if found is None and util.find_spec("uv") is not None:
        import uv

        found = os.fspath(uv.find_uv_bin())
    return found


def _first_failure(commands: list[list[str]]) -> list[str] | None:
    """Run commands one after the other; return the output of the first that failed, None when all succeeded."""
    for command in commands:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=LONGEST_INSTALLATION,
            )
        except subprocess.TimeoutExpired:
            return [f"{' '.join(command[:3])} is not done after {LONGEST_INSTALLATION:g} s."]
        except OSError as error:
            return [f"{command[0]}: {error.strerror}"]
        if done.returncode:
            return done.stdout.splitlines() or [f"{' '.join(command[:3])} ended with {done.returncode}."]
    return None
