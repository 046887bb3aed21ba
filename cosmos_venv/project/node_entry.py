"""One node as dbt writes it, in ``manifest.json`` and in a line of ``dbt ls``; and the DbtNode that it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from sys import intern
from typing import Any

import msgspec

from cosmos_venv.constants import TESTS, DbtResourceType
from cosmos_venv.dbt.project_files import DEFAULT_PACKAGES_FOLDER
from cosmos_venv.files.read_limits import decoded
from cosmos_venv.project.node import DbtNode

LONGEST_SQL = 10_000
"""Characters of the compiled SQL of a node that are kept: all of it would be most of the memory of a graph."""

_CONFIG = msgspec.json.Decoder(dict[str, Any] | None)
_NULL = msgspec.Raw(b"null")
_NOTHING = (b"null", b"{}", b'""')
_ID = re.compile(r"[^.]+\.[^.]+\.(?s:.)")
_resource_type = cache(DbtResourceType)
_path = lru_cache(1_000)(Path)


# gc=False: values from JSON have no reference cycles, so the garbage collector need not track them.
class DependsOn(msgspec.Struct, gc=False, omit_defaults=True):
    """The nodes that a node reads. Its macros are not of interest.

    :param nodes: their unique ids; None where dbt writes none.
    """

    nodes: list[str] | None = None


class TestMetadata(msgspec.Struct, gc=False, omit_defaults=True):
    """The keys that only a generic test has.

    :param name: name of the generic test, such as ``not_null``.
    """

    __test__ = False  # pytest: no tests in here

    name: str = ""


class Column(msgspec.Struct, gc=False, omit_defaults=True):
    """The key of a column that is read.

    :param description: a text for people; None where there is none.
    """

    description: str | None = None


_COLUMNS = msgspec.json.Decoder(dict[str, Column])
_TEXT = msgspec.json.Decoder(str)


class NodeEntry(msgspec.Struct, gc=False, omit_defaults=True):
    """The keys of an entry that are read; dbt writes many more, and each release some new ones.

    Each key has dbt's name; None where dbt does not write the key. ``config`` is there once ``read_config`` has been
    called: its 30 keys take most of the memory and time of a node.

    :param resource_type: such as ``model``.
    :param unique_id: such as ``model.shop.orders``.
    :param package_name: name of the dbt project that it stands in.
    :param original_file_path: path of its file, relative to that project.
    :param depends_on: the nodes that it reads.
    :param tags: texts.
    :param freshness: of a source: how old its content may be.
    :param fqn: the parts of its fully qualified name: package, folders, name.
    :param description: a text for people.
    :param columns: its columns by name, as JSON text. dbt ls does not write them, and no task depends on them.
    :param compiled_code: its compiled SQL, as JSON text; only a manifest may have it.
    :param name: without package and folders.
    :param patch_path: the YAML file that describes it, as ``package://path``.
    :param source_name: of a source: the name above its tables.
    :param version, latest_version: of a model that has versions.
    :param access: of a model: ``private``, ``protected`` or ``public``.
    :param test_metadata: of a generic test.
    """

    resource_type: str
    unique_id: str | None = None
    package_name: str | None = None
    original_file_path: str | None = None
    depends_on: DependsOn | None = None
    tags: list[str] | None = None
    freshness: dict[str, Any] | None = None
    fqn: list[str] | None = None
    description: str | None = None
    columns: msgspec.Raw = _NULL
    compiled_code: msgspec.Raw = _NULL
    # Only selections need the keys from here on, and only a manifest has them.
    name: str | None = None
    patch_path: str | None = None
    source_name: str | None = None
    version: str | float | None = None
    latest_version: str | float | None = None
    access: str | None = None
    test_metadata: TestMetadata | None = None

    written_config: msgspec.Raw = msgspec.field(default=_NULL, name="config")
    config: dict[str, Any] | None = msgspec.field(default=None, name=" config")  # no key of dbt's

    def read_config(self, shared: dict[bytes, dict[str, Any] | None]) -> None:
        """Read the configuration. Nodes with the same configuration, as most have, share one dict.

        :param shared: the configurations of a manifest that were read so far, by their text; this one is added.
        :raises ValueError: where it is no mapping.
        """
        text = bytes(self.written_config)
        if text not in shared:
            shared[text] = decoded(text, _CONFIG.decode)
        self.config = shared[text]


@dataclass(frozen=True, kw_only=True)
class ProjectFolders:
    """The folders in which the files of a project and of its packages lie.

    :param project: the project's own folder.
    :param root_package: the project's name in dbt; None: every node counts as the project's own.
    :param packages: folder of the installed packages, relative to the project.
    """

    project: Path
    root_package: str | None = None
    packages: str = DEFAULT_PACKAGES_FOLDER
    _of: dict[str, Path] = field(init=False, repr=False, compare=False, default_factory=dict)

    def of(self, package: str) -> Path:
        """The folder that the paths of a package's nodes are relative to.

        :param package: the package's name in dbt.
        """
        folder = self._of.get(package)
        if folder is None:
            is_root = self.root_package is None or package == self.root_package
            folder = self._of[package] = self.project if is_root else self.project / self.packages / package
        return folder


def to_node(entry: NodeEntry, *, unique_id: str, folders: ProjectFolders) -> DbtNode | None:
    """An entry as a DbtNode; None when no file declares it, as of the nodes of other projects that dbt-loom adds.

    :param entry: the entry, whose configuration has been read.
    :param unique_id: its id.
    :param folders: where the files of the project and its packages lie.
    :raises ValueError: when the id or the resource type is none of dbt's.
    """
    if not entry.original_file_path:
        return None
    if not _ID.match(unique_id):
        raise ValueError(f"unique_id {unique_id!r} is not <type>.<package>.<name>")
    config = entry.config or {}
    resource_type = _resource_type(entry.resource_type)
    package = intern(entry.package_name or unique_id.split(".", 2)[1])
    # Each text is in memory once (interned): an id stands in every child of its node, and names share their parts.
    return DbtNode(
        intern(unique_id),
        resource_type,
        [*map(intern, (entry.depends_on and entry.depends_on.nodes) or ())],
        folders.of(package),
        # dbt on Windows writes backslashes, and manifests travel.
        _path(entry.original_file_path.replace("\\", "/")),
        package,
        tags_of(entry),
        config,
        resource_type is DbtResourceType.SOURCE and _has_freshness(entry.freshness),
        fqn=entry.fqn and [*map(intern, entry.fqn)],
        description=entry.description or "",
        columns=_columns(entry.columns),
        # A test has no page of its own.
        compiled_sql="" if resource_type in TESTS else _compiled_sql(entry.compiled_code),
    )


def _columns(written: msgspec.Raw) -> dict[str, str] | None:
    text = bytes(written)
    if text in _NOTHING:
        return None
    try:
        return {intern(name): each.description or "" for name, each in _COLUMNS.decode(text).items()}
    except msgspec.DecodeError:
        return None  # columns are only shown


def _compiled_sql(written: msgspec.Raw) -> str:
    text = bytes(written)
    if text in _NOTHING:
        return ""
    try:
        return _TEXT.decode(text)[:LONGEST_SQL]
    except msgspec.DecodeError:
        return ""


def tags_of(entry: NodeEntry) -> list[str]:
    """The tags of an entry. Unit tests have tags only in their configuration.

    :param entry: the entry, whose configuration has been read.
    """
    if entry.tags is not None:
        return [*map(intern, entry.tags)]
    tags = (entry.config or {}).get("tags") or []
    return [tags] if isinstance(tags, str) else list(tags)


def _has_freshness(freshness: Mapping[str, Any] | None) -> bool:
    thresholds = (value for value in (freshness or {}).values() if isinstance(value, dict))
    return any(value is not None for threshold in thresholds for value in threshold.values())
