"""``DbtNode``: what is known of one dbt node, whichever way the project was loaded."""

from __future__ import annotations

import copy
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException

_MIN_ID_PARTS = 3
_HERE = Path()
_NOT_IN_AN_ID = re.compile(r"[^\w-]")


class _MadeOnce:
    """What a node has beside its parameters: what these were given as, and what is made of them once."""

    __slots__ = ("_downstream_of", "_file", "_known_config", "context_dict", "resource_name")

    resource_name: str
    context_dict: dict[str, Any]
    _file: Path | str
    _known_config: dict[str, Any]
    _downstream_of: Callable[[str], list[str]]


@dataclass(frozen=True, init=False, slots=True)
class DbtNode(_MadeOnce):
    """One node of a dbt project. The order of the parameters is Cosmos's, for code that builds nodes itself.

    :param unique_id: dbt's id: type, package and name, parted by dots.
    :param resource_type: the kind of node: model, seed, test ...
    :param depends_on: unique ids of the nodes that this one reads, in dbt's order.
    :param path_base: folder of the project or package that the node belongs to.
    :param original_file_path: file that declares the node, relative to ``path_base``; a text becomes a path.
    :param package_name: the package that it belongs to; None: it is not known.
    :param tags: dbt's tags of it; None: none.
    :param config: dbt's configuration of the node, as dbt writes it; None: there is none.
    :param has_freshness: for a source: whether some age is warned of or refused.
    :param has_test: whether a test of the selection depends on this node; set after selection.
    :param has_non_detached_test: whether such a test runs in the node's own test task; set after selection.
    :param downstream: unique ids of the selected nodes, tests apart, that depend on this one; set after selection.
    :param fqn: dbt's fully qualified name in parts; empty or None where dbt gave none.
    :param description: what the project says of the node, in Markdown.
    :param columns: what it says of each column, by name; None: it names none, or that is not known.
    :param compiled_sql: the beginning of the SQL that dbt has compiled; empty where it has not, or that is not known.
    :param shares_config: whether ``config`` is that of other nodes as well; a caller that asks for it gets a copy.
    :ivar resource_name: the id after its second dot: ``voyages.v1``, ``raw.orders``, a test's name with its hash. A
        ValueError when the id has fewer than three parts.
    :ivar context_dict: the node as plain data, for the context of its tasks: one dict for all of them.
    """

    unique_id: str
    resource_type: DbtResourceType
    depends_on: list[str]
    path_base: Path
    original_file_path: Path
    package_name: str | None
    tags: list[str]
    config: dict[str, Any]
    has_freshness: bool
    has_test: bool
    has_non_detached_test: bool
    downstream: list[str]
    fqn: list[str] | None
    description: str
    columns: Mapping[str, str] | None
    compiled_sql: str

    def __init__(
        self,
        unique_id: str,
        resource_type: DbtResourceType,
        depends_on: list[str],
        path_base: Path,
        original_file_path: Path | str,
        package_name: str | None = None,
        tags: list[str] | None = None,
        config: dict[str, Any] | None = None,
        has_freshness: bool = False,
        has_test: bool = False,
        has_non_detached_test: bool = False,
        downstream: list[str] | None = None,
        fqn: list[str] | None = None,
        description: str = "",
        columns: Mapping[str, str] | None = None,
        compiled_sql: str = "",
        *,
        shares_config: bool = False,
    ) -> None:
        # Written out: the constructor that dataclass makes takes three times as long, and there are thousands of nodes.
        keep = object.__setattr__
        keep(self, "unique_id", unique_id)
        keep(self, "resource_type", resource_type)
        keep(self, "depends_on", depends_on)
        keep(self, "path_base", path_base)
        keep(self, "_file", original_file_path)
        keep(self, "package_name", package_name)
        keep(self, "tags", [] if tags is None else tags)
        keep(self, "_known_config", {} if config is None else config)
        if not shares_config:
            keep(self, "config", self._known_config)
        keep(self, "has_freshness", has_freshness)
        keep(self, "has_test", has_test)
        keep(self, "has_non_detached_test", has_non_detached_test)
        if downstream is not None:
            keep(self, "downstream", downstream)
        keep(self, "fqn", fqn)
        keep(self, "description", description)
        keep(self, "columns", columns)
        keep(self, "compiled_sql", compiled_sql)

    if not TYPE_CHECKING:  # or no misspelt attribute would be found

        def __getattr__(self, name: str) -> Any:
            """The attributes that are made when they are asked for: most nodes never need them, and they take longer
            than all the rest.

            :param name: the name of the attribute.
            """
            make = _MADE_LATER.get(name)
            if make is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            made = make(self)
            object.__setattr__(self, name, made)
            return made

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy or pickle is a node alone, with all that is made later made."""
        return type(self), tuple(getattr(self, each.name) for each in fields(self) if each.init)

    def related(
        self, *, has_test: bool, has_non_detached_test: bool, downstream_of: Callable[[str], list[str]]
    ) -> DbtNode:
        """The node with what it is to the other selected nodes.

        :param has_test: whether a test of the selection depends on it.
        :param has_non_detached_test: whether such a test runs in the node's own test task.
        :param downstream_of: gives the ``downstream`` of a unique id, once it is asked for.
        """
        # dataclasses.replace takes ten times as long, and there are thousands of nodes.
        node = object.__new__(type(self))
        keep = object.__setattr__
        for name in _COPIED:
            keep(node, name, getattr(self, name))
        keep(node, "has_test", has_test)
        keep(node, "has_non_detached_test", has_non_detached_test)
        keep(node, "_downstream_of", downstream_of)
        return node

    @property
    def name(self) -> str:
        """The text that task and group ids are made of: the resource name with underscores for dots, spaces and what
        else Airflow does not take in an id.
        """
        return as_id(self.resource_name)

    @property
    def file_path(self) -> Path:
        """The file that declares the node."""
        return self.path_base / self.original_file_path

    @property
    def checksum(self) -> None:
        """Always None: no file is read while a DAG is built. A seed's content is looked at when its task runs."""
        return None

    @property
    def meta(self) -> dict[str, Any]:
        """``config.meta.cosmos``: the node's wishes for its task.

        :raises CosmosLoadDbtException: when it is no mapping.
        """
        if self._known_config.get("meta") in (None, {}):  # as of most nodes
            return {}
        return self._mapping(self._dbt_meta, "cosmos", within="config.meta")

    @property
    def owner(self) -> str:
        """``config.meta.owner`` as text; empty when there is none."""
        if self._known_config.get("meta") in (None, {}):
            return ""
        owner = self._dbt_meta.get("owner")
        return "" if owner is None else str(owner)

    @property
    def operator_kwargs_to_override(self) -> dict[str, Any]:
        """Arguments that the node gives to its own task.

        :raises CosmosLoadDbtException: when they are no mapping.
        """
        meta = self.meta
        return self._mapping(meta, "operator_kwargs", within="config.meta.cosmos") if meta else {}

    @property
    def profile_config_to_override(self) -> dict[str, Any]:
        """The changes that the node makes to the profile for its own task.

        :raises CosmosLoadDbtException: when it is no mapping.
        """
        meta = self.meta
        return self._mapping(meta, "profile_config", within="config.meta.cosmos") if meta else {}

    @property
    def materialized(self) -> str:
        """``config.materialized`` as text; empty when there is none."""
        return str(self._known_config.get("materialized") or "")

    @property
    def has_ephemeral_materialization(self) -> bool:
        """Whether dbt makes nothing of the model but a part of other queries."""
        return self.materialized.lower() == "ephemeral"

    @property
    def continues_on_error(self) -> bool:
        """Whether dbt runs the children of the node where it has failed: ``on_error: continue`` of a model (dbt 1.12).

        Of seeds and snapshots dbt takes the configuration and does not follow it.
        """
        return self._known_config.get("on_error") == "continue" and self.unique_id.startswith("model.")

    @property
    def _dbt_meta(self) -> dict[str, Any]:
        return self._mapping(self._known_config, "meta", within="config")

    def _mapping(self, mapping: Mapping[str, Any], key: str, *, within: str) -> dict[str, Any]:
        value = mapping.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise CosmosLoadDbtException(
                f"{self.unique_id}: {within}.{key} is {value!r}, a {type(value).__name__}. "
                f"Write a mapping there, in {self.original_file_path} or in dbt_project.yml."
            )
        return value


def as_id(name: str) -> str:
    """A name as a part of a task's id.

    :param name: the name of a node.
    """
    return _NOT_IN_AN_ID.sub("_", name)


def readers_of_each(nodes: Iterable[tuple[str, DbtNode]]) -> dict[str, list[str]]:
    """The unique ids of the nodes that read each node, each once, by the unique id of what is read.

    :param nodes: unique ids and nodes.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for unique_id, node in nodes:
        parents = node.depends_on
        for parent in parents if len(parents) == 1 else dict.fromkeys(parents):
            found[parent].append(unique_id)
    return found


def _resource_name(node: DbtNode) -> str:
    parts = node.unique_id.split(".", _MIN_ID_PARTS - 1)
    if len(parts) < _MIN_ID_PARTS or not all(parts):
        raise ValueError(f"unique_id {node.unique_id!r} is not <type>.<package>.<name>")
    return parts[-1]


def _context_dict(node: DbtNode) -> dict[str, Any]:
    file = str(node._file)
    return {
        "unique_id": node.unique_id,
        "resource_type": node.resource_type.value,
        "depends_on": node.depends_on,
        # As text: a Path costs more than all the rest, once per node.
        "file_path": os.path.join("" if node.path_base == _HERE else node.path_base, file),  # noqa: PTH118
        "original_file_path": file,
        "tags": node.tags,
        "config": node._known_config,  # a task's process has this node alone
        "has_test": node.has_test,
        "has_non_detached_test": node.has_non_detached_test,
        "resource_name": node.resource_name,
        "name": node.name,
        "checksum": node.checksum,
    }


def _own_config(node: DbtNode) -> dict[str, Any]:
    """A copy of the configuration that a node shares with others, for a caller that may change it."""
    own = copy.deepcopy(node._known_config)
    object.__setattr__(node, "_known_config", own)
    return own


def _nothing(_: str) -> list[str]:
    return []


_MADE_LATER: dict[str, Callable[[DbtNode], Any]] = {
    "original_file_path": lambda node: Path(node._file),
    "config": _own_config,
    "downstream": lambda node: node._downstream_of(node.unique_id),
    "_downstream_of": lambda _: _nothing,
    "resource_name": _resource_name,
    "context_dict": _context_dict,
}
_COPIED = tuple(
    name
    for name in (*_MadeOnce.__slots__, *DbtNode.__slots__)
    if name not in {*_MADE_LATER, "has_test", "has_non_detached_test"}
)
