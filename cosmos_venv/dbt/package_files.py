"""The packages that a project asks for, and what must be equal for two commands to share what was installed.

Told without dbt, from the files alone: what only dbt can tell is said to be unknown, and then nothing is shared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cosmos_venv.dbt.env_vars import EnvVars, env_vars_in
from cosmos_venv.limits import UnfitFileError, read_file
from cosmos_venv.yaml_text import load_yaml, scalars

PACKAGE_FILES = ("packages.yml", "dependencies.yml")
LOCK_FILE = "package-lock.yml"

# Credentials, in dbt's own convention. Another password installs the same packages.
_UNCOUNTED_PREFIX = "DBT_ENV_SECRET"
_HUB = "DBT_PACKAGE_HUB_URL"


@dataclass(frozen=True, kw_only=True)
class PackageFiles:
    """What stands in the package files of a project and of its local packages.

    :param contents: path below the project -> text.
    :param local: the paths of local packages, as they are written.
    :param unknown: why there may be more of them, in words: where only dbt can tell.
    """

    contents: Mapping[str, str]
    local: tuple[str, ...] = ()
    unknown: str = ""

    def digest(self, *, variables: str, env: Mapping[str, str], which_dbt: str) -> str | None:
        """Equal where ``dbt deps`` installs the same; None when that cannot be told.

        :param variables: the value of ``--vars``; counts only where the files have Jinja in them.
        :param env: what ``env_var()`` sees; the variables that the files name count, except dbt's secret ones.
        """
        if self.why_unknown:
            return None
        counting = sorted({_HUB, *(name for name in self._env_vars.names if not name.startswith(_UNCOUNTED_PREFIX))})
        key = [
            sorted(self.contents.items()),
            variables if any(map(_has_jinja, self._asking.values())) else "",
            [(name, env.get(name)) for name in counting],
            which_dbt,
        ]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()

    @property
    def why_unknown(self) -> str:
        """Why nobody but dbt can tell what ``dbt deps`` installs, in words; empty where the files tell it."""
        made_up = next(iter(self._env_vars.made_up), None)
        return self.unknown or (f"{made_up} makes up the name of an environment variable" if made_up else "")

    @cached_property
    def _env_vars(self) -> EnvVars:
        return EnvVars.of_all(env_vars_in(text.encode(), path) for path, text in self._asking.items())

    @property
    def _asking(self) -> dict[str, str]:
        """Those of the files that ask for packages."""
        return {path: text for path, text in self.contents.items() if not path.endswith("dbt_project.yml")}


def has_packages(project_dir: Path) -> bool:
    """Whether the project lists packages that ``dbt deps`` would install."""
    return any((file := project_dir / name).is_file() and file.stat().st_size > 0 for name in PACKAGE_FILES)


def read_package_files(project_dir: Path) -> PackageFiles:
    """The files of the project, of its local packages, and of theirs. dbt takes every path from the project."""
    contents: dict[str, str] = {}
    local: list[str] = []
    unknown = ""
    todo = [""]
    while todo:
        package = todo.pop(0)
        folder = local_package(project_dir, package)
        for name in (*PACKAGE_FILES, "dbt_project.yml" if package else LOCK_FILE):
            path = os.path.join(package, name)  # noqa: PTH118 - a name, and no path of this machine
            try:
                text = read_file(folder / name).decode("utf-8", errors="backslashreplace")
            except UnfitFileError as error:
                unknown = unknown or f"{path} cannot be read: {error.strerror}"
                continue
            except OSError:
                continue
            contents[path] = text
            found = _local_paths(text) if name in PACKAGE_FILES else []
            unknown = unknown or _why_unknown(path, text, found)
            new = [path for path in found or () if path not in local]
            local += new
            todo += new
    return PackageFiles(contents=contents, local=tuple(local), unknown=unknown)


def local_package(project_dir: Path, path: str) -> Path:
    """Where a local package stands, by its path as it is written."""
    return Path(os.path.normpath(project_dir.resolve() / os.path.expanduser(path)))  # noqa: PTH111 - as dbt does it


def outside(paths: tuple[str, ...]) -> list[Path]:
    """Those of the relative paths that lead out of the project (``../shared``), shortest first, as dbt sees them."""
    relative = {Path(os.path.normpath(path)) for path in paths if not path.startswith(("~", "/"))}
    return sorted((path for path in relative if path.parts[:1] == ("..",)), key=lambda path: (len(path.parts), path))


def _local_paths(text: str) -> list[str] | None:
    """Of one file; None when it is no list of packages as dbt knows it, or is made by Jinja as a whole."""
    import yaml

    try:
        content = load_yaml(text) or {}
        entries = content.get("packages") or []
        return [str(entry["local"]) for entry in entries if "local" in entry]
    except (yaml.YAMLError, AttributeError, TypeError):
        return None


def _why_unknown(path: str, text: str, local: list[str] | None) -> str:
    if local is None:
        return f"{path} is no list of packages as it stands"
    if not any(map(_has_jinja, local)):
        return ""
    lines = [each.line for each in scalars(text) or () if each.keys[-1:] == ("local",) and _has_jinja(each.text)]
    return f"{path}, line {lines[0]}, makes up the path of a local package"


def _has_jinja(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%"))
