"""What was put into a made-up project: one thing that dbt will find there, and the file it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

REFABLE = ("model", "seed", "snapshot")
"""What ``ref()`` finds; their names are one set."""
FOLDERS = {
    "analysis": "analyses",
    "macro": "macros",
    "model": "models",
    "seed": "seeds",
    "snapshot": "snapshots",
    "test": "tests",
}
"""Kind of a thing with a file of its own -> the folder in which dbt looks for it."""
YAML_KEYS = {
    "exposure": "exposures",
    "group": "groups",
    "model": "models",
    "seed": "seeds",
    "snapshot": "snapshots",
    "source": "sources",
    "unit_test": "unit_tests",
}
"""Kind -> where it stands in a YAML file."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One thing of a project.

    :param kind: as dbt calls it: ``model``, ``unit_test``, …; ``macro`` stands for a file of macros.
    :param file: relative to the project; the YAML file of a thing that has no other.
    :param text: of that file, for things that are not YAML.
    :param properties: what YAML says about it; empty where it says nothing.
    :param properties_file: relative to the project, None without properties.
    :param version: of a versioned model, whose versions share name and properties.
    """

    kind: str
    name: str
    file: PurePosixPath
    text: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    properties_file: PurePosixPath | None = None
    version: int | str | None = None

    @property
    def title(self) -> str:
        """As an error calls it."""
        return self.name if self.version is None else f"{self.name}.v{self.version}"

    @property
    def is_python(self) -> bool:
        """Is it a model in Python?"""
        return self.file.suffix == ".py"

    @property
    def folders(self) -> tuple[str, ...]:
        """Between the folder of its kind and its file; part of its fully qualified name."""
        return self.file.parent.parts[1:]
