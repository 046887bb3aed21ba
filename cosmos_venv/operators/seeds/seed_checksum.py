"""The CSV that dbt is about to load for a seed, and its checksum.

The file is found as dbt finds it, from the project's files as they are now: a manifest may be older than they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from cosmos_venv.dbt.project_files import DbtProjectFile, local_package, read_dbt_project, read_package_files
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.read_limits import sha256_of_file

_FULL_REFRESH = re.compile(r"--full-refresh|-[dqx]*f[dfqx]*")  # short flags may be written together
_VARIABLES = ("DBT_ENGINE_FULL_REFRESH", "DBT_FULL_REFRESH")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})


def wants_full_refresh(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether this command is a full refresh to dbt: by a flag, or by dbt's variable for it.

    :param command: the whole command line.
    :param env: the environment variables of the process; dbt 1.11 knows the longer name, and prefers it.
    """
    said = next((env[name] for name in _VARIABLES if env.get(name)), "")
    return said.strip().lower() in _TRUE or any(_FULL_REFRESH.fullmatch(word) for word in command[1:])


@dataclass(frozen=True, kw_only=True)
class SeedContent:
    """The content of a seed's file when it was read.

    :param path: of the file.
    :param checksum: SHA-256 of its bytes, 64 hex digits.
    :param identity: device, inode, size, and times of the last change of content and status, in nanoseconds.
    """

    path: Path
    checksum: str
    identity: tuple[int, ...]

    def is_still_there(self) -> bool:
        """Whether the file is the one that was read: not replaced, and not written since."""
        try:
            return _identity(self.path.stat()) == self.identity
        except OSError:
            return False


def find_seed(
    project_dir: Path,
    original_file_path: str,
    *,
    package: str | None,
    installs_packages: bool,
    installed: Callable[[], Path | None] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """The file that dbt loads; it may not be there.

    :param project_dir: the folder of the dbt project.
    :param original_file_path: of the node, relative to its project or package.
    :param package: the node's; None: the project's own.
    :param installs_packages: whether ``dbt deps`` runs before the seed is loaded.
    :param installed: gives the folder of packages that ``dbt deps`` has installed before, with which this dbt will run;
        None: it will install them. Called only for one that is no local one.
    :param environment: what ``env_var()`` in ``dbt_project.yml`` sees; None: this process's environment.
    :raises CosmosLoadDbtException: when it cannot be known before dbt runs, with the reason.
    """
    project = read_dbt_project(project_dir, environment=environment)
    if package is None or project.name in (None, package):
        return _below(project_dir, project, PurePath(original_file_path))
    if installs_packages:
        folder = _local(project_dir, package, environment) or _installed(installed(), package)
    else:
        folder = project_dir / project.packages_folder / package
    return _below(folder, read_dbt_project(folder, environment=environment), PurePath(original_file_path))


def _local(project_dir: Path, package: str, environment: Mapping[str, str] | None) -> Path | None:
    """The folder of a local package, to which ``dbt deps`` makes a link."""
    folders = (local_package(project_dir, path) for path in read_package_files(project_dir).local)
    names = ((folder, read_dbt_project(folder, environment=environment).name) for folder in folders)
    return next((folder for folder, name in names if name == package), None)


def _installed(packages: Path | None, package: str) -> Path:
    if packages is not None and (packages / package).is_dir():
        return packages / package
    raise CosmosLoadDbtException(
        f"the package {package!r} is no local one, and `dbt deps` installs it only when the task runs (install_deps)"
    )


def _below(folder: Path, project: DbtProjectFile, path: PurePath) -> Path:
    """The file in the folders in which dbt looks for seeds now."""
    if project.seed_paths is None or any(path.is_relative_to(os.path.normpath(root)) for root in project.seed_paths):
        return folder / path
    below = (each for root in project.seed_paths for each in (folder / root).rglob("*.csv"))
    found = [each for each in below if each.name == path.name]
    if len(found) == 1:
        return found[0]
    roots = ", ".join(project.seed_paths)
    raise CosmosLoadDbtException(f"{path} is in none of the seed-paths of {folder / 'dbt_project.yml'}: {roots}")


def read_content(path: Path) -> SeedContent:
    """Read the file.

    :param path: of the seed's file.
    :raises UnfitFileError: when the path leads to a named pipe, a socket or a device.
    :raises OSError: when it is not there or cannot be read; IsADirectoryError for a directory.
    """
    # Before the file is read: a change that comes while it is read is seen when dbt has run.
    identity = _identity(path.stat())
    return SeedContent(path=path, checksum=sha256_of_file(path), identity=identity)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
