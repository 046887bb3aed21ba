"""The arguments of ``dbt ls``, and the nodes in its output, of a run or of a file. Pure: ``dbt_ls_runner`` runs it.

The lines say less of a node than a manifest. A selection that needs what they do not say is refused: it would find
nothing, or too little.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from cosmos_venv import settings
from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.dbt import log_lines
from cosmos_venv.dbt.project_files import DEFAULT_PACKAGES_FOLDER
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.read_limits import decoded, read_text
from cosmos_venv.project.node import DbtNode
from cosmos_venv.project.node_entry import Folders, NodeEntry, PlainEntry, to_node, without_disabled
from cosmos_venv.project.selection import SelectionGraph, evaluate, from_lists
from cosmos_venv.project.selection.criterion import Criterion
from cosmos_venv.project.selection.evaluate import Part

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
"""The keys that dbt is to write of each node; without ``package_name`` the files of packages could not be found."""

_ENTRY = msgspec.json.Decoder(PlainEntry)
_SHOWN = 200
_WRITE_IT = f"dbt --quiet ls --output json --output-keys {' '.join(LS_OUTPUT_KEYS)}"
_WAY_OUT = f"Write it with `{_WRITE_IT}`, which may be given a selection."
# What a method asks of a node beyond what every line says or its id tells; any of these keys is enough.
_ASKS_FOR = {
    "access": ("access",),
    "config": ("config",),
    "fqn": ("fqn",),
    "group": ("config",),
    "tag": ("tags", "config"),
    "test_name": ("test_metadata",),
    "test_type": ("test_metadata",),
    "version": ("version",),
}
_WITHOUT_PARENTS = ("seed", "source")
_YAML = (".yml", ".yaml")


class _Head(msgspec.Struct):
    """The keys that tell a node from a line of dbt's JSON log, which keeps them further in."""

    unique_id: str | None = None
    resource_type: str | None = None


_HEAD = msgspec.json.Decoder(_Head)


def ls_arguments(
    render_config: RenderConfig,
    project_config: ProjectConfig,
    *,
    dbt_vars: Mapping[str, object] | None = None,
) -> list[str]:
    """The arguments after ``dbt``. Folders, profile and target are added when it runs.

    :param render_config: has the selection; where it has a ``selector``, the rest of it does not count.
    :param project_config: says whether dbt may parse in part.
    :param dbt_vars: values of ``--vars`` by name; None: there are none.
    """
    arguments = ["ls", "--output", "json", "--output-keys", *LS_OUTPUT_KEYS]
    if render_config.selector:
        # Alone: dbt 1 does not count the others beside it, dbt 2 refuses --select and counts --exclude.
        arguments += ["--selector", render_config.selector]
    else:
        if render_config.exclude:
            arguments += ["--exclude", *render_config.exclude]
        if render_config.select:
            arguments += ["--select", *render_config.select]
    if dbt_vars:
        arguments += ["--vars", json.dumps(dbt_vars, sort_keys=True)]
    if not project_config.partial_parse:
        arguments.append("--no-partial-parse")
    return arguments


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
            raise unreadable(line.number, line.text, line.where, error) from None
        if node is not None:
            nodes[node.unique_id] = node
    return nodes


class NodeLine(NamedTuple):
    """A line that is a node.

    :param number: its number, from 1.
    :param text: its text.
    :param where: what errors call its file or output.
    :param entry: what it says of the node.
    :param unique_id: the node's id.
    """

    number: int
    text: str
    where: str
    entry: NodeEntry
    unique_id: str


def unreadable(number: int, text: str, where: str, error: Exception) -> CosmosLoadDbtException:
    """The error for a line that is a node and cannot be read.

    :param number: the number of the line, from 1.
    :param text: the line.
    :param where: what errors call its file or output.
    :param error: what is wrong with it.
    """
    return CosmosLoadDbtException(
        f"Line {number} of {where} is a node that cannot be read: {error}. The line begins: {text.strip()[:_SHOWN]}"
    )


def node_lines(lines: Iterable[str], where: str = "the output of dbt ls") -> Iterator[NodeLine]:
    """The lines that are nodes; those of dbt's log are passed over.

    :param lines: all lines.
    :param where: what errors call their file or output.
    :raises CosmosLoadDbtException: for a node that cannot be read, with the line.
    """
    for number, each in enumerate(lines, start=1):
        text = log_lines.message(each)
        if not (text.lstrip().startswith("{") and '"unique_id"' in text):
            continue
        try:
            entry = _entry(text)
        except msgspec.DecodeError as error:
            raise unreadable(number, text, where, error) from None
        if entry is not None and entry.unique_id is not None:
            yield NodeLine(number, text, where, entry, entry.unique_id)


def _entry(line: str) -> NodeEntry | None:
    """The node of a line; None for a line that is something else. Raises what is wrong with an unreadable node."""
    try:
        return decoded(line, _ENTRY.decode)
    except msgspec.ValidationError:
        head = decoded(line, _HEAD.decode)
        if head.unique_id is None or head.resource_type is None:
            return None
        raise


@dataclass(frozen=True, kw_only=True)
class LsFile:
    """A file that a user has let ``dbt ls --output json`` write.

    :param path: the file.
    :param folders: the folders of the project; no file in them is looked at.
    """

    path: Path
    folders: Folders

    def nodes(self) -> dict[str, DbtNode]:
        """Every node, by unique id, in the order of the file.

        :raises CosmosLoadDbtException: when the file cannot be read or holds no node, a line is one that cannot be
            read, or no line says what its node depends on.
        """
        nodes = {}
        for line in self._lines:
            try:
                node = to_node(self._entries[line.unique_id], unique_id=line.unique_id, folders=self.folders)
            except ValueError as error:
                raise unreadable(line.number, line.text, line.where, error) from None
            if node is not None:
                nodes[line.unique_id] = node
        if not nodes:
            raise CosmosLoadDbtException(f"RenderConfig.dbt_ls_path {self.path} holds no node. {_WAY_OUT}")
        self._refuse_without_edges()
        return nodes

    def selected(self, select: Sequence[str], exclude: Sequence[str]) -> set[str]:
        """Ids of what dbt would select of these nodes, as far as the lines say what that takes.

        :param select: dbt's selection texts; none: everything.
        :param exclude: dbt's selection texts of what is left out.
        :raises CosmosValueError: when dbt would refuse an item, or the lines do not say what it asks for.
        :raises CosmosLoadDbtException: when the file cannot be read.
        """
        tree = from_lists(select, exclude)
        for criterion in _criteria(tree):
            self._refuse_unless_said(criterion)
        return evaluate(SelectionGraph(without_disabled(self._entries), project_name=self.folders.root_package), tree)

    @cached_property
    def _lines(self) -> list[NodeLine]:
        text = read_text(
            self.path, "RenderConfig.dbt_ls_path", limit=settings.limit("artifact_max_bytes"), way_out=_WAY_OUT
        )
        lines = text.split("\n")
        self._refuse_cut_off(lines)
        return list(node_lines(lines, where=str(self.path)))

    @cached_property
    def _entries(self) -> dict[str, NodeEntry]:
        entries = {}
        for line in self._lines:
            entries[line.unique_id] = line.entry
            _complete(entries[line.unique_id], line.unique_id)
        return entries

    @cached_property
    def _keys(self) -> frozenset[str]:
        lines = (msgspec.json.decode(line.text, type=dict[str, msgspec.Raw]) for line in self._lines)
        return frozenset(key for line in lines for key in line)

    def _refuse_cut_off(self, lines: list[str]) -> None:
        # A line that ends before its id would be a node less, and no fault.
        for number, text in enumerate(lines, start=1):
            if text.lstrip().startswith("{") and '"unique_id"' not in text:
                try:
                    decoded(text, msgspec.json.decode)
                except msgspec.DecodeError as error:
                    raise unreadable(number, text, str(self.path), error) from None

    def _refuse_without_edges(self) -> None:
        entries = [entry for entry in self._entries.values() if entry.resource_type not in _WITHOUT_PARENTS]
        if entries and all(entry.depends_on is None for entry in entries):
            raise CosmosLoadDbtException(
                f"RenderConfig.dbt_ls_path {self.path} does not say depends_on of any node: its tasks would have no "
                f"order. {_WAY_OUT}"
            )

    def _refuse_unless_said(self, criterion: Criterion) -> None:
        keys = _ASKS_FOR.get(criterion.method, ())
        if criterion.method == "path" and str(criterion.value).endswith(_YAML):
            keys = ("patch_path",)
        names_all = criterion.method == "fqn" and criterion.value == "*"
        if not keys or names_all or not self._keys.isdisjoint(keys):
            return
        raise CosmosValueError(
            f"selection item {criterion.shown} asks for {keys[0]}, which the lines of {self.path} do not say. Add "
            f"{keys[0]} to the --output-keys with which the file is written, or let dbt select when it is written."
        )


def _complete(entry: NodeEntry, unique_id: str) -> None:
    # A selection by name goes by these, and where the line lacks them only the id says them.
    name = unique_id.split(".", 2)[-1]
    if entry.package_name is None:
        entry.package_name = unique_id.split(".", 2)[1] if unique_id.count(".") > 1 else None
    if entry.resource_type == "source" and entry.source_name is None:
        entry.source_name, _, entry.name = name.partition(".")
    elif entry.name is None:
        entry.name = name.rpartition(".")[2]
    # The fully qualified name of a versioned model ends as its id does: orders.v2
    if entry.resource_type == "model" and entry.version is None and name == ".".join((entry.fqn or [])[-2:]):
        entry.version = name.rpartition(".v")[2]


def _criteria(part: Part) -> Iterator[Criterion]:
    if isinstance(part, Criterion):
        yield part
        return
    for each in part.parts:
        yield from _criteria(each)
