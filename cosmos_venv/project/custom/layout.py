"""The folders of a package and what its ``dbt_project.yml`` configures, and what ``var()`` and ``env_var()`` come to
without dbt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.jinja_values import JINJA, Unknown, value_of
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import UnfitFileError, read_file, walk
from cosmos_venv.files.yaml_files import load_yaml

# What stands in a tree of configurations without a plus, and is no folder.
_WITHOUT_PLUS = ("access", "enabled", "group", "materialized", "schema", "severity")
_ADDED = ("tags",)
_MERGED = ("meta",)

MOST_LOOKED_UP = 8_000_000
"""Characters that ``var()`` and ``env_var()`` come to in one project: a short text may ask for a long value often."""

_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A project or package on disk.

    :param folder: its folder.
    :param content: what its ``dbt_project.yml`` says.
    :param render: gives what a text with Jinja comes to; raises ``Unknown`` where only dbt can tell.
    """

    folder: Path
    content: Mapping[str, Any]
    render: Callable[[str], Any]

    @classmethod
    def read(cls, folder: Path, render: Callable[[str], Any]) -> Layout:
        """The project or package in a folder.

        :param folder: the folder.
        :param render: as that of the class.
        :raises CosmosLoadDbtException: when there is no ``dbt_project.yml``, or it cannot be read.
        """
        path = folder / "dbt_project.yml"
        content = read_yaml(path)
        if not content.get("name"):
            raise CosmosLoadDbtException(f"{path} says no name. It must at least say `name: your_project`.")
        return cls(folder=folder, content=content, render=render)

    @property
    def name(self) -> str:
        """The name in ``dbt_project.yml``."""
        return str(self.content["name"])

    def files(self, kind: str, default: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
        """The files of a kind, in the order of their names, each with the folder that its path counts from.

        :param kind: the word before ``-paths`` in ``dbt_project.yml``: ``model``.
        :param default: folders, relative to the project, where that says none.
        :param suffixes: ends of the names of the files: ``.sql``.
        :raises CosmosLoadDbtException: when there are more than anybody has written.
        """
        given = self.content.get(f"{kind}-paths") or list(default)
        for root in given if isinstance(given, list) else [given]:
            found = []
            try:
                for folder, below, names in walk(self.folder / str(root)):
                    below.sort()
                    found += [Path(folder, name) for name in sorted(names) if name.endswith(suffixes)]
            except UnfitFileError as error:
                raise CosmosLoadDbtException(
                    f"{error.filename} is not read: {error.strerror}. Remove links, or correct {kind}-paths in "
                    "dbt_project.yml."
                ) from error
            yield from ((path, self.folder / str(root)) for path in found)

    def configured(self, section: str, fqn: Iterable[str]) -> dict[str, Any]:
        """The configuration that a section has for a node, the whole of the section first.

        Values with Jinja that only dbt can tell are left out.

        :param section: its key in ``dbt_project.yml``: ``models``.
        :param fqn: the node's fully qualified name in parts.
        """
        config: dict[str, Any] = {}
        level: Any = self.content.get(section)
        for part in (None, *fqn):
            if part is not None:
                level = level.get(part)
            if not isinstance(level, dict):
                break
            config = merged(config, self._own(level))
        return config

    def _own(self, level: Mapping[str, Any]) -> dict[str, Any]:
        own = {}
        for key, value in level.items():
            is_marked = str(key).startswith("+")
            if is_marked or key in _WITHOUT_PLUS or (key in (*_ADDED, *_MERGED) and _is_no_folder(value)):
                try:
                    own[str(key).removeprefix("+")] = self.render(value) if isinstance(value, str) else value
                except Unknown:
                    continue
        return own


def merged(config: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with what stands nearer to the node over it, as in dbt: tags are added, meta is merged.

    :param config: what stands farther from the node.
    :param more: what stands nearer to it; None as a value says nothing.
    """
    found = dict(config)
    for key, value in more.items():
        if key in _ADDED:
            found[key] = list(dict.fromkeys([*config.get(key, []), *texts(value)]))
        elif key in _MERGED and isinstance(value, dict):
            found[key] = {**config.get(key, {}), **value}
        elif value is not None:
            found[key] = value
    return found


def texts(value: object) -> list[str]:
    """A list of texts, from one or from many.

    :param value: a value of YAML; None: there are none.
    """
    if isinstance(value, list):
        return [str(each) for each in value]
    return [] if value is None else [str(value)]


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file; empty when the file is blank.

    :param path: the file.
    :raises CosmosLoadDbtException: when it cannot be read, or is no mapping.
    """
    import yaml

    try:
        content = load_yaml(read_file(path, settings.limit("project_file_max_bytes")).decode("utf-8-sig"))
    except OSError as error:
        raise CosmosLoadDbtException(f"{path} cannot be read: {reason_of(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CosmosLoadDbtException(f"{path} cannot be read as YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(f"{path} holds a {type(content).__name__}, no mapping.")
    return content


def _is_no_folder(value: object) -> bool:
    return not isinstance(value, dict) or not any(isinstance(each, dict) for each in value.values())


def as_in_manifest(path: Path, shown: str, config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it is read from the ``manifest.json`` that dbt writes: its encoder makes texts of dates, and
    JSON of keys.

    So the nodes of both are alike, and so is what a worker reads of a plan that is kept.

    :param path: the file that configures the node, for errors.
    :param shown: what errors call the node.
    :param config: the configuration, as YAML, SQL or Python has given it.
    :raises CosmosLoadDbtException: for what is no JSON then: a set, which dbt refuses, or ``.nan``, which it writes all
        the same.
    """
    try:
        plain: dict[str, Any] = msgspec.json.decode(json.dumps(config, default=_as_dbt_writes, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise CosmosLoadDbtException(
            f"{path}: the configuration of {shown} has what no manifest can hold: {error}. Write texts, numbers, lists "
            "and mappings."
        ) from error
    return plain


def _as_dbt_writes(value: object) -> str:
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def variables_of(layout: Layout, package: str) -> dict[str, Any]:
    """The variables of a ``dbt_project.yml`` for a package: those for all, over them those for this package.

    :param layout: has the ``dbt_project.yml``.
    :param package: the name of the package.
    """
    given = layout.content.get("vars")
    if not isinstance(given, dict):
        return {}
    own = given.get(package)
    return {**given, **(own if isinstance(own, dict) else {})}


class LookUps:
    """The functions that look up the variables of one project, which count what these come to."""

    def __init__(self) -> None:
        self._left = MOST_LOOKED_UP

    def functions(self, variables: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Callable[..., Any]]:
        """``var`` and ``env_var``, by their names.

        Each raises ``Unknown`` where there is no such variable and no default, and CosmosLoadDbtException where all of
        them together come to more than ``MOST_LOOKED_UP``.

        :param variables: dbt's variables, by name.
        :param environment: the environment variables, by name.
        """

        def var(name: str, default: Any = _MISSING) -> Any:
            return self._looked_up(variables, name, default)

        def env_var(name: str, default: Any = _MISSING) -> Any:
            return self._looked_up(environment, name, default)

        return {"var": var, "env_var": env_var}

    def _looked_up(self, known: Mapping[str, Any], name: str, default: Any) -> Any:
        value = known.get(name, default)
        if value is _MISSING:
            raise Unknown
        self._left -= len(str(value))
        if self._left < 0:
            raise CosmosLoadDbtException(
                f"The values of var() and env_var() in the project's files come to more than {MOST_LOOKED_UP:,} "
                "characters. Load the project by dbt ls or manifest."
            )
        return value


def renderer(
    variables: Mapping[str, object], environment: Mapping[str, str], look_ups: LookUps
) -> Callable[[str], Any]:
    """A function for texts in YAML: one with Jinja comes to its value, any other to itself.

    :param variables: dbt's variables, by name.
    :param environment: environment variables, which go over those of this process.
    :param look_ups: counts what the variables come to.
    """
    known = look_ups.functions(variables, {**os.environ, **environment})

    def render(text: str) -> Any:
        if "{{" not in text and "{%" not in text:
            return text
        try:
            return load_yaml(value_of(JINJA.parse(text), known))
        except CosmosLoadDbtException:
            raise
        except Exception as error:
            raise Unknown from error

    return render
