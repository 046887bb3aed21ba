"""The nodes of a ``manifest.json`` and those that are selected.

The typed reader ignores keys that it does not need. Its errors name the file, the entry and the fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.project_files import DEFAULT_PACKAGES_FOLDER
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import decoded, read_file, utf_8
from cosmos_venv.files.yaml_files import load_yaml
from cosmos_venv.project.gc_pause import no_collection
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import NodeEntry, ProjectFolders, to_node
from cosmos_venv.project.selection.evaluate import Definitions, Part, evaluate, from_lists
from cosmos_venv.project.selection.graph import SelectionGraph

OLDEST_SCHEMA = 9
"""The manifest schema of dbt 1.5, the first whose entries are like today's."""

_WAY_OUT = "Write it anew with `dbt parse` or `dbt compile` in the project and deploy target/manifest.json."
_VERSION = re.compile(r"/manifest/v(\d+)\.json$")

_JINJA = re.compile(rb"{[{%]")


class _Metadata(msgspec.Struct, omit_defaults=True):
    dbt_schema_version: str = ""
    dbt_version: str | None = None
    project_name: str | None = None

    @property
    def is_of_dbt_2(self) -> bool:
        return (self.dbt_version or "").startswith("2.")

    @property
    def has_selector_method(self) -> bool:
        """Whether its dbt takes ``selector:`` in ``--select``: 1.12 does; 1.11 and 2.0.0a4 refuse it."""
        return re.match(r"1\.(1[2-9]|[2-9]\d)", self.dbt_version or "") is not None


_RENDERED = ("nodes", "sources", "exposures", "unit_tests", "functions")
_OTHERS = ("metrics", "semantic_models", "saved_queries")
"""The sections without tasks. Selections can name their entries, and reach other nodes through them."""

_Section = dict[str, NodeEntry]


class _Selector(msgspec.Struct, omit_defaults=True):
    definition: Any
    name: str = ""
    default: Any = False


class _Head(msgspec.Struct, omit_defaults=True, kw_only=True):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Manifest(_Head, omit_defaults=True, kw_only=True):
    nodes: _Section
    sources: _Section | None = None
    exposures: _Section | None = None
    unit_tests: _Section | None = None
    functions: _Section | None = None
    metrics: _Section | None = None
    semantic_models: _Section | None = None
    saved_queries: _Section | None = None
    selectors: dict[str, _Selector] | None = None

    def entries(self, sections: Iterable[str]) -> _Section:
        return {each: entry for name in sections for each, entry in (getattr(self, name) or {}).items()}


_MANIFEST = msgspec.json.Decoder(_Manifest)


def pruned(content: bytes, where: str) -> bytes:
    """The part of a manifest that is needed: without macros, docs and SQL it is a tenth as long.

    :param content: the manifest as dbt has written it.
    :param where: the name of the manifest in errors.
    :raises CosmosLoadDbtException: when it cannot be read as a manifest.
    """
    return msgspec.json.encode(_decode(where, utf_8(content, where, way_out=_WAY_OUT)))


class Manifest:
    """A ``manifest.json`` of dbt 1.5 or later.

    :param path: the file; with ``content``, the name of the manifest in errors.
    :param content: the bytes of a manifest that is no file here; None: the file is read.
    :raises CosmosLoadDbtException: when the file or the content cannot be read as a manifest.
    """

    def __init__(self, path: Path | str, content: bytes | None = None) -> None:
        self.path = path
        read = _read(Path(path)) if content is None else content
        self._content = _decode(path, utf_8(read, str(path), way_out=_WAY_OUT))
        _refuse_old_schema(path, self._content.metadata.dbt_schema_version)
        self._selectors = self._content.selectors

    @cached_property
    def _entries(self) -> _Section:
        return self._enabled(_RENDERED)

    @no_collection()
    def nodes(self, *, project_path: Path, packages_folder: str = DEFAULT_PACKAGES_FOLDER) -> dict[str, DbtNode]:
        """Every node by unique id, in the manifest's order: nodes, sources, exposures, unit tests, functions.

        Analyses are among them, though ``dbt ls`` leaves them out: a node converter may render them. Disabled nodes are
        left out, as by ``dbt ls``.

        :param project_path: folder of the project that the manifest describes; no file in it is looked at.
        :param packages_folder: where dbt installs packages, relative to the project.
        :raises CosmosLoadDbtException: when an entry cannot be read.
        """
        root = self._content.metadata.project_name
        folders = ProjectFolders(project=project_path, root_package=root, packages=packages_folder)
        nodes = {}
        unique_id = ""
        try:
            for unique_id, entry in self._entries.items():
                node = to_node(entry, unique_id=unique_id, folders=folders)
                if node is not None:
                    nodes[unique_id] = node
        except ValueError as error:
            raise _blaming(self.path, unique_id, error) from None
        return nodes

    @property
    def has_whole_selectors(self) -> bool:
        """Whether the YAML selectors are complete.

        The manifest of dbt 2 does not say which selector is the default, which tests come with nodes, and which
        configuration the method ``config`` of a selector compares.
        """
        return not self._content.metadata.is_of_dbt_2 or self._selectors is not self._content.selectors

    def use_selectors(self, content: bytes) -> None:
        """Take the YAML selectors from ``selectors.yml``. A file with Jinja is ignored: only dbt can render it.

        :param content: of ``selectors.yml``.
        """
        import yaml

        if _JINJA.search(content):
            return
        # A broken file is ignored: dbt would refuse it, so the manifest was made from another file.
        with suppress(yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, msgspec.ValidationError):
            written: Any = load_yaml(content.decode())
            self._selectors = {each.name: each for each in msgspec.convert(written["selectors"], list[_Selector])}

    @property
    def default_selector(self) -> str | None:
        """The YAML selector that dbt takes where no selection is given: the one with ``default: true``, if any."""
        return next((name for name, each in (self._selectors or {}).items() if each.default is True), None)

    @no_collection()
    def selected(self, select: Sequence[str], exclude: Sequence[str], selector: str | None) -> set[str]:
        """Unique ids of all that dbt would select, of every resource type in the manifest.

        :param select: dbt's selection texts; none: everything.
        :param exclude: dbt's selection texts of the nodes that are left out.
        :param selector: name of a YAML selector; where given, the other two do not count, as in dbt; None: there is
            none.
        :raises CosmosValueError: when dbt would refuse an item or a definition.
        :raises CosmosLoadDbtException: when there is no selector of that name, or an entry cannot be read.
        """
        if selector:
            return evaluate(self._graph, self._named(selector))
        definitions = self._definitions() if self._content.metadata.has_selector_method else None
        return evaluate(self._graph, from_lists(select, exclude, definitions))

    @cached_property
    def _graph(self) -> SelectionGraph:
        entries = {**self._entries, **self._enabled(_OTHERS)}
        return SelectionGraph(entries, project_name=self._content.metadata.project_name)

    def _enabled(self, sections: Iterable[str]) -> _Section:
        """The enabled entries, with their configurations read. dbt writes most disabled ones into another section."""
        entries = self._content.entries(sections)
        shared: dict[bytes, dict[str, Any] | None] = {}
        for unique_id, entry in entries.items():
            try:
                entry.read_config(shared)
            except ValueError as error:
                raise _blaming(self.path, unique_id, error, at="$.config") from None
        if all((config or {}).get("enabled") is not False for config in shared.values()):
            return entries
        return {each: entry for each, entry in entries.items() if (entry.config or {}).get("enabled") is not False}

    def _named(self, selector: str) -> Part:
        entries = self._selectors or {}
        if selector not in entries:
            known = f"It has: {', '.join(sorted(entries))}." if entries else "It has none at all."
            raise CosmosLoadDbtException(
                f"RenderConfig.selector={selector!r} is not in {self.path}. {known} Define it in selectors.yml and "
                "write the manifest anew with `dbt parse --no-partial-parse`: a partial parse of dbt 1 leaves new "
                "selectors out of the manifest."
            )
        return self._definitions().tree(selector)

    def _definitions(self) -> Definitions:
        return Definitions(
            {name: each.definition for name, each in (self._selectors or {}).items()},
            is_lax=settings.enable_lax_selector_parsing,
            is_of_dbt_2=self._content.metadata.is_of_dbt_2,
        )


@no_collection()
def _decode(path: Path | str, content: bytes) -> _Manifest:
    try:
        return decoded(content, _MANIFEST.decode)
    except msgspec.ValidationError as error:
        with suppress(msgspec.DecodeError):
            _refuse_old_schema(path, msgspec.json.decode(content, type=_Head).metadata.dbt_schema_version)
        # The commonest faults read like this: Expected `object`, got `array`; Object missing required field `nodes`.
        raise CosmosLoadDbtException(f"{path} is JSON but not a dbt manifest: {error}. {_WAY_OUT}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "is cut off" if "truncated" in str(error) else "is not JSON"
        raise CosmosLoadDbtException(f"{path} {what}: {error}. {_WAY_OUT}") from None


def _blaming(path: Path | str, unique_id: str, error: Exception, *, at: str = "") -> CosmosLoadDbtException:
    where = f" - at `{at}`" if at and at not in str(error) else ""
    return CosmosLoadDbtException(f"{path}: entry {unique_id}: {error}{where}. {_WAY_OUT}")


def _read(path: Path) -> bytes:
    try:
        return read_file(path, settings.limit("artifact_max_bytes"))
    except OSError as error:
        raise CosmosLoadDbtException(
            f"ProjectConfig.manifest_path {path} cannot be read: {reason_of(error, _WAY_OUT)}"
        ) from None


def _refuse_old_schema(path: Path | str, version: str) -> None:
    """Raise for a manifest of an old schema. A manifest without a version, such as a hand-made one, is accepted."""
    found = _VERSION.search(version)
    if found and int(found.group(1)) < OLDEST_SCHEMA:
        raise CosmosLoadDbtException(
            f"{path} has manifest schema v{found.group(1)}; v{OLDEST_SCHEMA} (dbt 1.5) or later is needed. "
            "Write it anew with `dbt parse` of a newer dbt, or use LoadMode.DBT_LS."
        )
