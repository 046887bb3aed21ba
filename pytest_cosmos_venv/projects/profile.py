"""The profile of a made-up project: one target, as it stands in ``profiles.yml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

TARGET = "dev"
# The names that adapters have for database and schema.
_DATABASE_KEYS = ("database", "dbname", "project", "catalog")
_SCHEMA_KEYS = ("schema", "dataset")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The target ``dev`` of a profile.

    :param name: the name of the profile, which is that of the project.
    :param output: the target as it stands in the file.
    """

    name: str
    output: Mapping[str, Any]

    @property
    def adapter(self) -> str:
        """The type of the target, such as ``duckdb``."""
        return str(self.output["type"])

    @cached_property
    def database(self) -> str:
        """The database of relations, unless a model says otherwise; DuckDB names it after the file."""
        if self.adapter == "duckdb" and "database" not in self.output:
            path = str(self.output.get("path", ":memory:"))
            return "memory" if path == ":memory:" else Path(path).stem
        return self._first(_DATABASE_KEYS)

    @cached_property
    def schema(self) -> str:
        """The schema of relations, unless a model says otherwise."""
        return self._first(_SCHEMA_KEYS)

    @property
    def document(self) -> dict[str, Any]:
        """The content of ``profiles.yml``."""
        return {self.name: {"target": TARGET, "outputs": {TARGET: dict(self.output)}}}

    @property
    def variable(self) -> dict[str, Any]:
        """The value of ``target`` in a model."""
        place = {"database": self.database, "schema": self.schema}
        return {**self.output, **place, "name": TARGET, "target_name": TARGET, "profile_name": self.name}

    def _first(self, keys: tuple[str, ...]) -> str:
        return next((str(self.output[key]) for key in keys if key in self.output), "")


def make_profile(name: str, folder: Path, given: Mapping[str, Any] | None) -> Profile:
    """Return the profile of a project.

    :param name: the name of the project.
    :param folder: the folder of the project; a DuckDB file lies in it.
    :param given: keys of the target, over the defaults of its ``type`` (duckdb where none is given).
    :raises ToolkitMisuse: the type has no defaults, and the keys that say where tables lie are missing.
    """
    given = dict(given or {})
    adapter = given.setdefault("type", "duckdb")
    profile = Profile(name=name, output={**_defaults(adapter, name, folder), **given})
    if not profile.schema:
        raise ToolkitMisuse(
            f"profile={given!r} does not say where tables lie: a profile of type {adapter} has to be given whole, "
            f"with {' or '.join(_SCHEMA_KEYS)}. Only duckdb and postgres have defaults."
        )
    return profile


def _defaults(adapter: str, name: str, folder: Path) -> dict[str, Any]:
    if adapter == "duckdb":
        return {"path": str(folder / f"{name}.duckdb"), "schema": "main", "threads": 1}
    if adapter == "postgres":
        login = {"host": "localhost", "port": 5432, "user": name, "password": name}
        return {**login, "dbname": name, "schema": "public", "threads": 1}
    return {}
