"""``dbt deps``: it links local packages, creates placeholders for other packages, and writes the lock file.

Lists of packages are read line by line (``- local: ../shared``), without YAML and Jinja.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from .log import Log

NO_PROJECT = """\
Runtime Error
  No dbt_project.yml found at expected path {file}
  Verify that each entry within packages.yml (and their transitive dependencies) contains a file named dbt_project.yml
  """
"""dbt's message about a folder without a project: the project's own folder, or a package's."""

_LISTS = ("packages.yml", "dependencies.yml")
_LOCK = "package-lock.yml"
_ENTRY = re.compile(r"^\s*-\s*(local|package|git|tarball):\s*['\"]?([^'\"#\s]+)", re.MULTILINE)
_INSTALL_PATH = re.compile(r"^packages-install-path:\s*['\"]?([^'\"#\s]+)", re.MULTILINE)
_NAME = re.compile(r"^name:\s*['\"]?(\w+)", re.MULTILINE)


class PackageError(Exception):
    """An error in dbt's words about packages."""


class Package(NamedTuple):
    """One entry of a list of packages.

    :param kind: ``local``, ``package``, ``git`` or ``tarball``.
    :param source: the path, name or address of the package.
    """

    kind: str
    source: str


class Packages:
    """The packages of one project; ``listed`` are the packages that the project requires.

    :param folder: the folder of the project.
    """

    def __init__(self, folder: Path) -> None:
        # Resolved as in dbt: the target of a link to a local package has no link in its path.
        self._folder = folder.resolve()
        found = _INSTALL_PATH.search(_text(folder / "dbt_project.yml"))
        self._place = found.group(1) if found else "dbt_packages"
        texts = (_text(folder / name) for name in _LISTS)
        self.listed = [Package(*entry) for text in texts for entry in _ENTRY.findall(text)]

    def check(self) -> None:
        """Refuse to work with fewer packages installed than are listed, in dbt's words.

        :raises PackageError: there are fewer.
        """
        installed = self.count_installed()
        if installed < len(self.listed):
            raise PackageError(
                f"Compilation Error\n  dbt found {len(self.listed)} package(s) specified in packages.yml, but only "
                f'{installed} package(s) installed in {self._place}. Run "dbt deps" to install package dependencies.'
            )

    def count_installed(self) -> int:
        """Return how many packages are installed."""
        place = self._folder / self._place
        return sum(1 for _ in place.iterdir()) if place.is_dir() else 0

    def places(self) -> list[Path]:
        """Return the folders of the packages that are installed, sorted by name."""
        return sorted(file.parent for file in (self._folder / self._place).glob("*/dbt_project.yml"))

    def install(self, log: Log) -> None:
        """Do the work of ``dbt deps``.

        :param log: the log of the call.
        :raises PackageError: a local package is no project.
        """
        if not self.listed:
            log.say("Warning: No packages were found in packages.yml", name="DepsNoPackagesFound", level="warn")
            return
        if self.write_lock():
            file = self._folder / _LOCK
            log.say(f"Updating lock file in file path: {file}", name="DepsLockUpdating", lock_filepath=str(file))
        self.clear()
        for package in self.listed:
            log.say(f"Installing {package.source}", name="DepsStartPackageInstall", package_name=package.source)
            version = self.put(package)
            log.say(f"Installed from {version}", name="DepsInstallInfo", version_name=version)

    def clear(self) -> None:
        """Empty the folder for packages."""
        place = self._folder / self._place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)

    def put(self, package: Package, *, is_relative: bool = False) -> str:
        """Install one package, and return its origin in dbt's words.

        :param package: a package that is listed.
        :param is_relative: whether a link to a local package is relative, as dbt 2 makes it.
        :raises PackageError: a local package is no project.
        """
        place = self._folder / self._place
        name = self.name(package)
        if package.kind == "local":
            there = self._local(package)
            (place / name).symlink_to(os.path.relpath(there, place) if is_relative else there)
            return f"<local @ {package.source}>"
        (place / name).mkdir()
        (place / name / "dbt_project.yml").write_text(f"name: {name}\n", encoding="utf-8")
        return "a stand-in"

    def _local(self, package: Package) -> Path:
        return Path(os.path.normpath(self._folder / package.source))

    def name(self, package: Package) -> str:
        """Return the name under which a package is installed.

        :param package: a package that is listed.
        :raises PackageError: a local package is no project.
        """
        if package.kind != "local":
            return re.sub(r"\W", "_", package.source.rstrip("/").rpartition("/")[2].removesuffix(".git"))
        file = self._local(package) / "dbt_project.yml"
        found = _NAME.search(_text(file))
        if found is None:
            raise PackageError(NO_PROJECT.format(file=file))
        return found.group(1)

    def write_lock(self) -> bool:
        """Write the lock file if it differs from the listed packages, as dbt does.

        :returns: whether it was written.
        """
        file = self._folder / _LOCK
        if [Package(*entry) for entry in _ENTRY.findall(_text(file))] == self.listed:
            return False
        entries = "".join(f"  - {one.kind}: {one.source}\n    name: {self.name(one)}\n" for one in self.listed)
        file.write_text(f"packages:\n{entries}sha1_hash: {'0' * 40}\n", encoding="utf-8")
        return True


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
