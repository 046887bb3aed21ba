"""What is ``dbt ls`` asked, and which nodes does its output hold? Pure: who runs it is ``ls_process``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.dbt import log_line
from cosmos_venv.dbt.project_file import DEFAULT_PACKAGES_FOLDER
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.limits import decoded
from cosmos_venv.project.entry import Folders, NodeEntry, PlainEntry, to_node
from cosmos_venv.project.node import DbtNode
from cosmos_venv.yaml_text import load_yaml

if TYPE_CHECKING:
    from cosmos_venv.project.load import DbtGraph

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
"""What dbt is to write of each node; without ``package_name`` the files of packages could not be found."""


class _Head(msgspec.Struct):
    """What tells a node from a line of dbt's JSON log, which keeps these keys further in."""

    unique_id: str | None = None
    resource_type: str | None = None


_HEAD = msgspec.json.Decoder(_Head)
_ENTRY = msgspec.json.Decoder(PlainEntry)
_SHOWN = 200


def ls_arguments(
    render_config: RenderConfig,
    project_config: ProjectConfig,
    *,
    dbt_vars: Mapping[str, object] | None = None,
) -> list[str]:
    """The arguments after ``dbt``. Folders, profile and target are added by who runs it.

    :param dbt_vars: stand in for ``ProjectConfig.dbt_vars`` when given and not empty.
    """
    arguments = ["ls", "--output", "json", "--output-keys", *LS_OUTPUT_KEYS]
    if render_config.exclude:
        arguments += ["--exclude", *render_config.exclude]
    if render_config.select:
        arguments += ["--select", *render_config.select]
    if render_config.selector:
        arguments += ["--selector", render_config.selector]
    if variables := dbt_vars or project_config.dbt_vars:
        arguments += ["--vars", json.dumps(variables, sort_keys=True)]
    if not project_config.partial_parse:
        arguments.append("--no-partial-parse")
    return arguments


def variables_of(graph: DbtGraph) -> Mapping[str, object] | None:
    """What the tasks get too: ``operator_args["vars"]``, a dict or YAML text, before ``ProjectConfig.dbt_vars``."""
    given = graph.operator_args.get("vars")
    if isinstance(given, str):
        given = load_yaml(given)
    return given if isinstance(given, Mapping) and given else graph.project.dbt_vars or None


def parse_dbt_ls_output(
    lines: Iterable[str],
    *,
    project_path: Path,
    root_package: str | None = None,
    packages_folder: str = DEFAULT_PACKAGES_FOLDER,
) -> dict[str, DbtNode]:
    """Every node that dbt listed, by unique id, in dbt's order. Lines of dbt's log are passed over.

    With ``DBT_LOG_FORMAT=json`` a node is the message of such a line.

    :param lines: the output of ``dbt ls --output json``, with or without line ends.
    :param project_path: folder of the project; no file in it is looked at.
    :param root_package: the project's name in dbt; None: every node counts as the project's own.
    :param packages_folder: where dbt installs packages, relative to the project.
    :raises CosmosLoadDbtException: when a line is a node that cannot be read, with the line.
    """
    folders = Folders(project=project_path, root_package=root_package, packages=packages_folder)
    nodes = {}
    for line in node_lines(lines):
        try:
            node = to_node(line.entry, unique_id=line.unique_id, folders=folders)
        except ValueError as error:
            raise unreadable(line.number, line.text, line.where, error) from error
        if node is not None:
            nodes[node.unique_id] = node
    return nodes


class NodeLine(NamedTuple):
    """A line that is a node.

    :param where: what it is a line of, for errors.
    :param entry: what it says of the node.
    """

    number: int
    text: str
    where: str
    entry: NodeEntry
    unique_id: str


def unreadable(number: int, text: str, where: str, error: Exception) -> CosmosLoadDbtException:
    """The error for a line that is a node and cannot be read."""
    return CosmosLoadDbtException(
        f"Line {number} of {where} is a node that cannot be read: {error}. The line begins: {text.strip()[:_SHOWN]}"
    )


def node_lines(lines: Iterable[str], where: str = "the output of dbt ls") -> Iterator[NodeLine]:
    """The lines that are nodes; those of dbt's log are passed over.

    :raises CosmosLoadDbtException: for a node that cannot be read, with the line.
    """
    for number, each in enumerate(lines, start=1):
        text = log_line.message(each)
        if not (text.lstrip().startswith("{") and '"unique_id"' in text):
            continue
        try:
            entry = _entry(text)
        except msgspec.DecodeError as error:
            raise unreadable(number, text, where, error) from error
        if entry is not None and entry.unique_id is not None:
            yield NodeLine(number, text, where, entry, entry.unique_id)


def _entry(line: str) -> NodeEntry | None:
    """None where it is something else; raises what is wrong with one that cannot be read."""
    try:
        return decoded(line, _ENTRY.decode)
    except msgspec.ValidationError:
        head = decoded(line, _HEAD.decode)
        if head.unique_id is None or head.resource_type is None:
            return None
        raise
