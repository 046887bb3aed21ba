"""What can a dbt file say about itself: which nodes it reads, how it is configured, which macros it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ref:
    """``ref('package', 'name', v=1)``; what was not given is None."""

    name: str
    package: str | None = None
    version: str | int | None = None

    def __str__(self) -> str:
        names = [f"'{name}'" for name in (self.package, self.name) if name is not None]
        version = [] if self.version is None else [f"v={self.version!r}"]
        return f"ref({', '.join([*names, *version])})"


@dataclass(kw_only=True)
class Reading:
    """What one file says, in the order of the text.

    :param config: of all its ``config()`` calls.
    :param macros: unique ids of the macros that the text itself calls, each once.
    """

    refs: list[Ref] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    macros: list[str] = field(default_factory=list)

    def add_ref(self, *names: str, **version: Any) -> None:
        """Note a call of ``ref``.

        :raises ValueError: it has other arguments than dbt's.
        """
        if len(names) not in (1, 2) or version.keys() - {"v", "version"}:
            raise ValueError("ref() takes ('name') or ('package', 'name'), and v=")
        package = names[0] if names[1:] else None
        self.refs.append(Ref(name=names[-1], package=package, version=version.get("v", version.get("version"))))

    def add_source(self, *names: str) -> None:
        """Note a call of ``source``.

        :raises ValueError: it has other arguments than dbt's.
        """
        if len(names) != len(("source", "table")):
            raise ValueError("source() takes ('source', 'table')")
        self.sources.append((names[0], names[1]))

    def add_config(self, *given: Mapping[str, Any], **keywords: Any) -> None:
        """Note a call of ``config``."""
        for values in (*given, keywords):
            merge_config(self.config, values)

    def add_macro(self, unique_id: str) -> None:
        """Note the call of a macro."""
        if unique_id not in self.macros:
            self.macros.append(unique_id)

    def call(self, name: str) -> Callable[..., None]:
        """What notes a call of ``ref``, ``source`` or ``config``."""
        noted: dict[str, Callable[..., None]] = {
            "ref": self.add_ref,
            "source": self.add_source,
            "config": self.add_config,
        }
        return noted[name]


def merge_config(config: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put a nearer configuration over a farther one as dbt does: tags add up, ``meta`` is merged, the rest replaces."""
    for key, value in more.items():
        if key == "tags":
            config["tags"] = [*config.get("tags", []), *([value] if isinstance(value, str) else value)]
        elif key == "meta":
            config["meta"] = {**config.get("meta", {}), **value}
        else:
            config[key] = value
