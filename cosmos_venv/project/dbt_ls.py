"""The nodes in the output of ``dbt ls``, and in a file of ``LoadMode.DBT_LS_FILE``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt import log_lines
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.read_limits import decoded, read_text
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import NodeEntry, ProjectFolders, to_node

LS_OUTPUT_KEYS = (
    "name",
    "unique_id",
    "resource_type",
    "package_name",
    "depends_on",
    "original_file_path",
    "tags",
    "config",
    "freshness",
    "fqn",
    "description",
)
"""The keys that a file of ``DBT_LS_FILE`` has; without ``package_name`` the files of packages could not be found."""

_ENTRY = msgspec.json.Decoder(NodeEntry)
_SHOWN = 200
_WRITE_IT = f"dbt --quiet ls --output json --output-keys {' '.join(LS_OUTPUT_KEYS)}"
_WAY_OUT = f"Write it with `{_WRITE_IT}`, which may be given a selection."
_WITHOUT_PARENTS = ("seed", "source")


class _Listed(msgspec.Struct):
    """The keys of a node that dbt has listed. In dbt's JSON log they stand inside the message of a line."""

    unique_id: str | None = None
    resource_type: str | None = None


_LISTED = msgspec.json.Decoder(_Listed)


def listed_ids(lines: Iterable[str]) -> set[str]:
    """The unique ids of the nodes that dbt has listed. Lines of dbt's log are passed over.

    With ``DBT_LOG_FORMAT=json`` a node is the message of a log line.

    :param lines: the output of ``dbt ls --output json``, with or without line ends.
    """
    found = [decoded(text, _LISTED.decode) for text in map(log_lines.message, lines) if _may_be_node(text)]
    return {each.unique_id for each in found if each.unique_id is not None and each.resource_type is not None}


def nodes_of_file(path: Path, folders: ProjectFolders) -> dict[str, DbtNode]:
    """Every node of a file that ``dbt ls --output json`` has written, by unique id, in the order of the file.

    :param path: the file.
    :param folders: the folders of the project; no file in them is looked at.
    :raises CosmosLoadDbtException: when the file or a line cannot be read, the file holds no node, or no line says what
        its node depends on.
    """
    text = read_text(path, "RenderConfig.dbt_ls_path", limit=settings.limit("artifact_max_bytes"), way_out=_WAY_OUT)
    nodes: dict[str, DbtNode] = {}
    has_edges, needs_edges = False, False
    for number, line in enumerate(text.split("\n"), start=1):
        said = log_lines.message(line)
        if not said.lstrip().startswith("{"):
            continue
        try:
            # Every JSON line is decoded: else a node whose line ends before its id would be lost without an error.
            listed = decoded(said, _LISTED.decode)
            if listed.unique_id is None or listed.resource_type is None:
                continue
            entry = decoded(said, _ENTRY.decode)
            entry.read_config({})
            node = to_node(entry, unique_id=listed.unique_id, folders=folders)
        except ValueError as error:
            raise CosmosLoadDbtException(
                f"Line {number} of {path} is a node that cannot be read: {error}. The line begins: "
                f"{said.strip()[:_SHOWN]}"
            ) from None
        if node is not None:
            nodes[node.unique_id] = node
            needs_edges = needs_edges or entry.resource_type not in _WITHOUT_PARENTS
            has_edges = has_edges or entry.depends_on is not None
    if not nodes:
        raise CosmosLoadDbtException(f"RenderConfig.dbt_ls_path {path} holds no node. {_WAY_OUT}")
    if needs_edges and not has_edges:
        raise CosmosLoadDbtException(
            f"RenderConfig.dbt_ls_path {path} does not say depends_on of any node: its tasks would have no order. "
            f"{_WAY_OUT}"
        )
    return nodes


def _may_be_node(text: str) -> bool:
    return text.lstrip().startswith("{") and '"unique_id"' in text
