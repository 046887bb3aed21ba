"""The files of a made-up project: how its names, its YAML and its ``dbt_project.yml`` are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.files import Files

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class FilesInMemory(Files):
    """The files of a project that does not lie on the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._contents: dict[Path, str | dict[str, Any]] = {}

    def put(self, file: Path, content: str | dict[str, Any]) -> None:
        """Keep a file.

        :param file: its path.
        :param content: the text of the file, or the parsed content of a YAML file.
        """
        self._contents[file] = content
        self._below.clear()

    def remove(self, file: Path) -> None:
        """Drop a file, if it is there.

        :param file: its path.
        """
        self._contents.pop(file, None)
        self._below.clear()

    def below(self, folder: Path) -> list[Path]:
        """Return all files below a folder, sorted.

        :param folder: the folder.
        """
        if not self._below:
            for file in sorted(self._contents):
                for parent in file.parents:
                    self._below.setdefault(parent, []).append(file)
        return self._below.get(folder, [])

    def text(self, file: Path) -> str:
        """Return the text of a file.

        :param file: the file.
        """
        return str(self._contents[file])

    def document(self, file: Path) -> Any:
        """Return what a file of YAML holds.

        :param file: the file.
        """
        return self._contents[file]


def yaml_text(document: Mapping[str, Any]) -> str:
    """Return the text of a YAML file: keys in the order given, characters as they are.

    :param document: the content of the file.
    """
    import yaml

    return str(yaml.safe_dump(plain(document), sort_keys=False, allow_unicode=True))


def project_text(name: str, variables: Mapping[str, Any]) -> str:
    """Return the text of ``dbt_project.yml``.

    :param name: the name of the project and of its profile.
    :param variables: its ``vars``.
    """
    document: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "config-version": 2,
        "profile": name,
        "flags": {"send_anonymous_usage_stats": False},
    }
    return yaml_text({**document, **({"vars": dict(variables)} if variables else {})})


def plain(value: Any) -> Any:
    """Return a value with tuples and paths as YAML has them.

    :param value: the value.
    """
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def check_name(kind: str, name: str) -> None:
    """Refuse a name that dbt would refuse, or that readers of its artifacts could not parse.

    :param kind: the kind of the named thing, such as ``model``.
    :param name: the name.
    :raises ToolkitMisuse: the name is not valid.
    """
    if not _NAME.fullmatch(name):
        raise ToolkitMisuse(
            f"{name!r} is no name for a {kind}: letters, digits and underscores, beginning with no digit "
            "(folders go before it: 'marts/core/fct')."
        )
