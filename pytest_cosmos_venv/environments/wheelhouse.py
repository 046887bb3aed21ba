"""Where does an environment without network get its dbt from? A folder of real wheels, written on the spot."""

from __future__ import annotations

import ensurepip
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.environments.wheel import Wheel, write_wheel
from pytest_cosmos_venv.lookalike import lookalike_files

DBT_VERSION = "1.10.0"
ADAPTERS = ("duckdb", "postgres")


@dataclass(frozen=True, kw_only=True)
class Wheelhouse:
    """A folder that pip and uv install from with ``pip_install_options``, offline.

    :param path: the folder; it exists.
    """

    path: Path

    @property
    def pip_install_options(self) -> list[str]:
        """For an operator's argument of this name, or after ``pip install``."""
        return ["--no-index", "--find-links", str(self.path)]

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the process that installs, so that it finds these wheels and no others.

        pip adds the folders of its own configuration to those of its options. ``uv venv --seed``, which Airflow's
        helper runs, asks an index for pip (before Python 3.12 for setuptools and wheel too) whatever the pip options
        say. Both obey these.
        """
        path = str(self.path)
        return {"UV_NO_INDEX": "1", "UV_FIND_LINKS": path, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": path}

    def add_dbt(self, version: str = DBT_VERSION) -> Path:
        """Add a ``dbt-core`` look-alike of this version; returns its wheel.

        Its ``dbt`` writes down each call (``read_dbt_calls``) where ``COSMOS_DBT_RECORD_DIR`` names a folder.
        """
        wheel = Wheel(
            name="dbt-core",
            version=version,
            files={**lookalike_files(), "dbt/version.py": f'__version__ = "{version}"\n'},
            console_scripts={"dbt": "dbt.cli.main:cli"},
        )
        return write_wheel(wheel, self.path)

    def add_adapter(self, name: str, version: str = DBT_VERSION, *, dbt: str = "dbt-core") -> Path:
        """Add a look-alike of the adapter ``dbt-<name>``; returns its wheel.

        :param dbt: the requirement that ties it to dbt, such as ``dbt-core>=1.9``.
        """
        files = {f"dbt/adapters/{name}/__init__.py": f'"""Look-alike of the {name} adapter."""\n'}
        wheel = Wheel(name=f"dbt-{name}", version=version, files=files, requires=(dbt,))
        return write_wheel(wheel, self.path)


def build_wheelhouse(
    folder: Path, *, dbt_versions: Iterable[str] = (DBT_VERSION,), adapters: Iterable[str] = ADAPTERS
) -> Wheelhouse:
    """Fill ``folder`` (made when missing) with look-alikes of dbt and of adapters, and with what seeds an environment.

    :param adapters: their names without ``dbt-``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheelhouse = Wheelhouse(path=folder)
    for version in dbt_versions:
        wheelhouse.add_dbt(version)
    for name in adapters:
        wheelhouse.add_adapter(name)
    _add_seed_packages(folder)
    return wheelhouse


def _add_seed_packages(folder: Path) -> None:
    """pip as Python itself brings it along; beside it empty look-alikes of what older Pythons are seeded with."""
    for name in ("setuptools", "wheel"):
        write_wheel(Wheel(name=name, version="0", files={f"{name}/__init__.py": ""}), folder)
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    for wheel in bundled.glob("*.whl"):  # none where a Linux distribution ships them apart
        shutil.copy(wheel, folder)
