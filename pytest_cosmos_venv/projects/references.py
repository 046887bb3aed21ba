"""``ref()`` and ``source()``: what a file reads, and which node is meant.

A node is looked for as dbt does it: in the reader's own package first, then in the other packages.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.configs import merged_config


@dataclass(frozen=True, kw_only=True)
class Ref:
    """One call of ``ref``: ``ref('package', 'name', v=1)``.

    :param name: the name of the node.
    :param package: the package that was named; None: none was.
    :param version: the version that was named; None: none was.
    """

    name: str
    package: str | None = None
    version: str | int | None = None

    def __str__(self) -> str:
        names = [f"'{name}'" for name in (self.package, self.name) if name is not None]
        version = [] if self.version is None else [f"v={self.version!r}"]
        return f"ref({', '.join([*names, *version])})"


@dataclass(kw_only=True)
class Reading:
    """The calls that one file makes, in the order of the text.

    :param refs: its calls of ``ref()``.
    :param sources: source and table of its calls of ``source()``.
    :param config: the sum of all its ``config()`` calls.
    :param macros: unique ids of the macros that the text itself calls, each once.
    """

    refs: list[Ref] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    macros: list[str] = field(default_factory=list)

    def add_ref(self, *names: str, **version: Any) -> None:
        """Take down a call of ``ref``.

        :param *names: the name, or package and name.
        :param **version: ``v`` or ``version``, as the call has it.
        :raises ValueError: it has other arguments than those of dbt.
        """
        if len(names) not in (1, 2) or version.keys() - {"v", "version"}:
            raise ValueError("ref() takes ('name') or ('package', 'name'), and v=")
        package = names[0] if names[1:] else None
        self.refs.append(Ref(name=names[-1], package=package, version=version.get("v", version.get("version"))))

    def add_source(self, *names: str) -> None:
        """Take down a call of ``source``.

        :param *names: source and table.
        :raises ValueError: it has other arguments than those of dbt.
        """
        if len(names) != 2:
            raise ValueError("source() takes ('source', 'table')")
        self.sources.append((names[0], names[1]))

    def add_config(self, *given: Mapping[str, Any], **keywords: Any) -> None:
        """Take down a call of ``config``.

        :param *given: dictionaries of configurations.
        :param **keywords: configurations by name; they are nearer than those in ``given``.
        """
        for values in (*given, keywords):
            self.config = merged_config(self.config, values)

    def add_macro(self, unique_id: str) -> None:
        """Take down the call of a macro.

        :param unique_id: the unique id of the macro.
        """
        if unique_id not in self.macros:
            self.macros.append(unique_id)

    def call(self, name: str) -> Callable[..., None]:
        """Return the method that takes down a call of this function.

        :param name: ``ref``, ``source`` or ``config``.
        """
        noted: dict[str, Callable[..., None]] = {
            "ref": self.add_ref,
            "source": self.add_source,
            "config": self.add_config,
        }
        return noted[name]


@dataclass(kw_only=True)
class Lookup:
    """The nodes and sources that can be read, of all packages.

    :param packages: the packages in the order in which they are searched, after the reader's own.
    :param nodes: package, name, version as text ("" for the one that is meant without a version) -> unique id.
    :param sources: package, source, table -> unique id.
    :param disabled: unique ids of nodes that are switched off.
    """

    packages: tuple[str, ...]
    nodes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    sources: dict[tuple[str, str, str], str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)

    def resolve(self, reading: Reading, *, home: str, where: str, is_test: bool = False) -> list[str]:
        """Return the unique ids of all that a file reads; for a test without those that are disabled.

        :param reading: what the file says.
        :param home: the package of the file.
        :param where: the file, for errors.
        :param is_test: whether the file is a test.
        :raises ToolkitMisuse: there is no such node, or it is disabled.
        """
        found = [self._source(names, home, where) for names in reading.sources]
        refs = [ref for ref in reading.refs if not (is_test and self._find(ref, home) in self.disabled)]
        found += [self.node(ref, home=home, where=where) for ref in refs]
        return list(dict.fromkeys(found))

    def reads_disabled(self, reading: Reading, *, home: str) -> bool:
        """Whether a file reads a node that is switched off: dbt refuses such a model, and switches such a test off.

        :param reading: what the file says.
        :param home: the package of the file.
        """
        return any(self._find(ref, home) in self.disabled for ref in reading.refs)

    def node(self, ref: Ref, *, home: str, where: str) -> str:
        """Return the unique id of the node that a ``ref()`` means.

        :param ref: the call.
        :param home: the package of the file that calls it.
        :param where: the file, for errors.
        :raises ToolkitMisuse: there is no such node, or it is disabled.
        """
        found = self._find(ref, home)
        if found is None:
            raise ToolkitMisuse(f"{where} reads {ref}, which is not there{self._hint(ref.name)}.")
        if found in self.disabled:
            raise ToolkitMisuse(
                f"{where} reads {ref}, which is disabled (enabled=False): dbt refuses such a project. "
                "Enable it, or disable what reads it."
            )
        return found

    def _find(self, ref: Ref, home: str) -> str | None:
        packages = (home, *self.packages) if ref.package is None else (ref.package,)
        version = "" if ref.version is None else str(ref.version)
        return _first(self.nodes, [(package, ref.name, version) for package in packages])

    def _source(self, names: tuple[str, str], home: str, where: str) -> str:
        found = _first(self.sources, [(package, *names) for package in (home, *self.packages)])
        if found is None:
            raise ToolkitMisuse(
                f"{where} reads source('{names[0]}', '{names[1]}'), which is not there: "
                f"source({names[0]!r}, tables=[{names[1]!r}]) adds it."
            )
        return found

    def _hint(self, name: str) -> str:
        names = {known for _, known, _ in self.nodes}
        close = difflib.get_close_matches(name, names, n=1)
        if name in names:
            return ": a model of that name is, with other versions or in another package"
        return f": did you mean {close[0]!r}" if close else ""


def _first(known: Mapping[tuple[str, str, str], str], keys: Iterable[tuple[str, str, str]]) -> str | None:
    return next((known[key] for key in keys if key in known), None)
