"""A project with packages, and what ``dbt deps`` would do in its stead."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv.dbt.packages import PackageStore, ProjectPackages
from cosmos_venv.dbt.project_files import read_package_files
from cosmos_venv.files.file_cache import Elsewhere
from cosmos_venv.processes.cancellation import Cancellation

DEADLINE = 30.0


def make_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def make_store(folder: Path, *, is_read_only: bool = False) -> PackageStore:
    return PackageStore(folder=folder, make_directory=make_directory, is_read_only=is_read_only)


class Project:
    """A project with a package from somewhere and a local one, and what ``dbt deps`` would do in its stead."""

    def __init__(self, root: Path) -> None:
        self.path = root / "harbor"
        self.root = root
        for folder in (self.path, root / "shared"):
            folder.mkdir()
            (folder / "dbt_project.yml").write_text(f"name: {folder.name}\n")
        (self.path / "packages.yml").write_text("packages:\n  - package: port/cranes\n  - local: ../shared\n")
        self.installations = 0
        self.lines: list[str] = []

    def digest(self, *, variables: str = "", which_dbt: str = "1", **env: str) -> str | None:
        return read_package_files(self.path).digest(variables=variables, env=env, which_dbt=which_dbt)

    @contextmanager
    def installed(
        self,
        *,
        max_age: float = 3600,
        stores: Sequence[PackageStore] | None = None,
        fails: bool = False,
        elsewhere: Elsewhere | None = None,
    ) -> Iterator[Path]:
        """The packages folder of a place of its own."""
        packages = ProjectPackages(
            project_dir=self.path,
            digest=self.digest(),
            local=read_package_files(self.path).local,
            stores=tuple(stores or [make_store(self.root / "store")]),
            max_age=max_age,
            max_wait=DEADLINE,
            elsewhere=elsewhere,
        )
        place = self.root / f"run-{time.time_ns()}" / "harbor"
        place.mkdir(parents=True)

        def install() -> None:
            if fails:
                raise ValueError("no such package")
            self.installations += 1
            cranes = place / "dbt_packages" / "cranes"
            (cranes / ".git").mkdir(parents=True)
            (cranes / "macros.sql").write_text(f"installation {self.installations}")
            if "shared" in (self.path / "packages.yml").read_text():
                (place / "dbt_packages" / "shared").symlink_to(place.parent / "shared")
            lock = place / "package-lock.yml"
            own = self.path / "package-lock.yml"
            lock.write_text(own.read_text() if own.exists() else "packages: [cranes 1.0]\n")

        packages.install_into(place, install=install, cancellation=Cancellation(), report=self.lines.append)
        yield place / "dbt_packages"
        shutil.rmtree(place.parent)

    @property
    def kept(self) -> list[Path]:
        return sorted((self.root / "store").glob("*.tar.gz"))
