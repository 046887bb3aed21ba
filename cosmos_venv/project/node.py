"""What is known of one dbt node, whichever way the project was loaded?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException

_MIN_ID_PARTS = 3
_HERE = Path()


@dataclass(frozen=True, init=False)
class DbtNode:
    """One node of a dbt project. The order of the parameters is Cosmos's, for code that builds nodes itself.

    :param unique_id: dbt's id: type, package and name, parted by dots.
    :param depends_on: unique ids of the nodes that this one reads, in dbt's order.
    :param path_base: folder of the project or package that the node belongs to.
    :param original_file_path: file that declares the node, relative to ``path_base``; a text becomes a path.
    :param config: dbt's configuration of the node, as dbt writes it.
    :param has_freshness: for a source: whether some age is warned of or refused.
    :param has_test: whether a test of the selection depends on this node; set after selection.
    :param has_non_detached_test: whether such a test runs in the node's own test task; set after selection.
    :param downstream: unique ids of the selected nodes, tests apart, that depend on this one; set after selection.
    :param fqn: dbt's fully qualified name in parts; empty or None where dbt gave none.
    :param description: what the project says of the node, in Markdown.
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
    ) -> None:
        # Written out: the constructor that dataclass makes takes three times as long, and there are thousands of nodes.
        fields = self.__dict__
        fields["unique_id"] = unique_id
        fields["resource_type"] = resource_type
        fields["depends_on"] = depends_on
        fields["path_base"] = path_base
        fields["_original_file_path"] = original_file_path
        fields["package_name"] = package_name
        fields["tags"] = [] if tags is None else tags
        fields["config"] = {} if config is None else config
        fields["has_freshness"] = has_freshness
        fields["has_test"] = has_test
        fields["has_non_detached_test"] = has_non_detached_test
        fields["downstream"] = [] if downstream is None else downstream
        fields["fqn"] = fqn
        fields["description"] = description

    if not TYPE_CHECKING:  # or no misspelt attribute would be found

        def __getattr__(self, name: str) -> Any:
            """What is made when it is asked for: of most nodes nobody does, and it takes longer than all the rest."""
            fields = self.__dict__
            if name == "original_file_path":
                fields[name] = Path(fields["_original_file_path"])
            elif name == "downstream":
                fields[name] = fields["_downstream_of"](fields["unique_id"])
            else:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            return fields[name]

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: a node alone, without what it would ask."""
        state = {**self.__dict__, "downstream": self.downstream}
        state.pop("_downstream_of", None)
        return state

    def related(
        self, *, has_test: bool, has_non_detached_test: bool, downstream_of: Callable[[str], list[str]]
    ) -> DbtNode:
        """The node with what it is to the other selected nodes.

        :param has_test, has_non_detached_test: as those of the class.
        :param downstream_of: gives the ``downstream`` of a unique id, once somebody wants to know.
        """
        # dataclasses.replace takes ten times as long, and there are thousands of nodes.
        fields = self.__dict__.copy()
        for known in ("downstream", "context_dict"):
            fields.pop(known, None)
        fields["has_test"], fields["has_non_detached_test"] = has_test, has_non_detached_test
        fields["_downstream_of"] = downstream_of
        node = object.__new__(type(self))
        object.__setattr__(node, "__dict__", fields)
        return node

    @cached_property
    def resource_name(self) -> str:
        """The id after its second dot: ``voyages.v1``, ``raw.orders``, a test's name with its hash.

        :raises ValueError: when the id has fewer than three parts.
        """
        parts = self.unique_id.split(".", _MIN_ID_PARTS - 1)
        if len(parts) < _MIN_ID_PARTS or not all(parts):
            raise ValueError(f"unique_id {self.unique_id!r} is not <type>.<package>.<name>")
        return parts[-1]

    @property
    def name(self) -> str:
        """What task and group ids are made of: the resource name, its dots turned into underscores."""
        return self.resource_name.replace(".", "_")

    @property
    def file_path(self) -> Path:
        return self.path_base / self.original_file_path

    @property
    def checksum(self) -> None:
        """Always None: no file is read while a DAG is built. A seed's content is looked at when its task runs."""
        return None

    @property
    def meta(self) -> dict[str, Any]:
        """``config.meta.cosmos``: what the node says to the DAG.

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
        """What the node changes of the profile for its own task.

        :raises CosmosLoadDbtException: when it is no mapping.
        """
        meta = self.meta
        return self._mapping(meta, "profile_config", within="config.meta.cosmos") if meta else {}

    @property
    def has_ephemeral_materialization(self) -> bool:
        return str(self.config.get("materialized", "")).lower() == "ephemeral"

    @cached_property
    def context_dict(self) -> dict[str, Any]:
        """The node as plain data, for the context of its tasks: one dict for all of them."""
        return {
            "unique_id": self.unique_id,
            "resource_type": self.resource_type.value,
            "depends_on": self.depends_on,
            # As text: a Path costs more than all the rest, once per node.
            "file_path": os.path.join("" if self.path_base == _HERE else self.path_base, self.original_file_path),  # noqa: PTH118
            "original_file_path": str(self.original_file_path),
            "tags": self.tags,
            "config": self.config,
            "has_test": self.has_test,
            "has_non_detached_test": self.has_non_detached_test,
            "resource_name": self.resource_name,
            "name": self.name,
            "checksum": self.checksum,
        }

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
