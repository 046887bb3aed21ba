"""``DbtNode``: the facts about one dbt node, the same for every load mode."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException

_MIN_ID_PARTS = 3
_HERE = Path()
_NOT_IN_AN_ID = re.compile(r"[^\w-]")


class DbtNode(msgspec.Struct, frozen=True, dict=True):
    """One node of a dbt project. The order of the parameters is Cosmos's, for code that builds nodes itself.

    :param unique_id: dbt's id: type, package and name, separated by dots.
    :param resource_type: the kind of node: model, seed, test ...
    :param depends_on: unique ids of the nodes that this one reads, in dbt's order.
    :param path_base: folder of the project or package that the node belongs to.
    :param original_file_path: file that declares the node, relative to ``path_base``.
    :param package_name: the package that it belongs to; None: it is not known.
    :param tags: dbt's tags of it.
    :param config: dbt's configuration of the node, as dbt writes it. Nodes that are configured alike share it: copy it
        before you change it.
    :param has_freshness: for a source: whether it has a ``warn_after`` or an ``error_after``.
    :param has_test: whether a test of the selection depends on this node; set after selection.
    :param has_non_detached_test: whether such a test runs in the node's own test task; set after selection.
    :param downstream: unique ids of the selected nodes, tests apart, that depend on this one; set after selection.
    :param fqn: dbt's fully qualified name in parts; empty or None where dbt gave none.
    :param description: what the project says of the node, in Markdown.
    :param columns: the description of each column, by name; None: the project describes no column, or that is unknown.
    :param compiled_sql: the beginning of the SQL that dbt has compiled; empty: dbt has compiled none, or it is unknown.
    """

    unique_id: str
    resource_type: DbtResourceType
    depends_on: list[str]
    path_base: Path
    original_file_path: Path
    package_name: str | None = None
    tags: list[str] = []
    config: dict[str, Any] = {}
    has_freshness: bool = False
    has_test: bool = False
    has_non_detached_test: bool = False
    downstream: list[str] = []
    fqn: list[str] | None = None
    description: str = ""
    columns: Mapping[str, str] | None = None
    compiled_sql: str = ""

    @cached_property
    def resource_name(self) -> str:
        """The id after its second dot: ``voyages.v1``, ``raw.orders``, a test's name with its hash.

        :raises ValueError: when the id has fewer than three parts.
        """
        parts = self.unique_id.split(".", _MIN_ID_PARTS - 1)
        if len(parts) < _MIN_ID_PARTS or not all(parts):
            raise ValueError(f"unique_id {self.unique_id!r} is not <type>.<package>.<name>")
        return parts[-1]

    @cached_property
    def context_dict(self) -> dict[str, Any]:
        """The node as plain data, for the context of its tasks: one dict for all of them."""
        file = str(self.original_file_path)
        return {
            "unique_id": self.unique_id,
            "resource_type": self.resource_type.value,
            "depends_on": self.depends_on,
            # As text: a Path costs more than all the rest, once per node.
            "file_path": os.path.join("" if self.path_base == _HERE else self.path_base, file),  # noqa: PTH118
            "original_file_path": file,
            "tags": self.tags,
            "config": self.config,
            "has_test": self.has_test,
            "has_non_detached_test": self.has_non_detached_test,
            "resource_name": self.resource_name,
            "name": self.name,
            "checksum": self.checksum,
        }

    @property
    def name(self) -> str:
        """The resource name as a part of task and group ids. Dots, spaces and other characters that Airflow does not
        take in an id are replaced by underscores.
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
        """``config.meta.cosmos``: the node's own settings for its task.

        :raises CosmosLoadDbtException: when it is no mapping.
        """
        if self.config.get("meta") in (None, {}):  # as of most nodes
            return {}
        return self._mapping(self._dbt_meta, "cosmos", within="config.meta")

    @property
    def owner(self) -> str:
        """``config.meta.owner`` as text; empty when there is none."""
        if self.config.get("meta") in (None, {}):
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
        return str(self.config.get("materialized") or "")

    @property
    def has_ephemeral_materialization(self) -> bool:
        """Whether the model is ephemeral: dbt only puts its SQL into other queries."""
        return self.materialized.lower() == "ephemeral"

    @property
    def continues_on_error(self) -> bool:
        """Whether dbt runs the children of the node where it has failed: ``on_error: continue`` of a model (dbt 1.12).

        dbt accepts this configuration for seeds and snapshots too, and ignores it there.
        """
        return self.config.get("on_error") == "continue" and self.unique_id.startswith("model.")

    @property
    def _dbt_meta(self) -> dict[str, Any]:
        return self._mapping(self.config, "meta", within="config")

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


def children_by_parent(nodes: Iterable[tuple[str, DbtNode]]) -> dict[str, list[str]]:
    """For each node that is read, by its unique id: the unique ids of the nodes that read it, each once.

    :param nodes: unique ids and nodes.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for unique_id, node in nodes:
        parents = node.depends_on
        for parent in parents if len(parents) == 1 else dict.fromkeys(parents):
            found[parent].append(unique_id)
    return found
