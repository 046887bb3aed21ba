"""The domains of a project: the nodes of each DAG of ``DbtProjectDags``, and the nodes that it reads of other DAGs.

- A node that dbt builds belongs to one domain.
- A test belongs to the last of the domains that it reads, so that it runs after all of these.
- Sources, ephemeral models and seeds that no task loads come along with each domain that reads them. No DAG waits for
  them: an ephemeral model is a part of its readers, which wait for its parents.

Pure: nodes in, domains out, the same in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv.constants import TESTS, DbtResourceType
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.node import as_id
from cosmos_venv.rendering.plan_request import Visibility, visibility
from cosmos_venv.rendering.task_arguments import BUILT

if TYPE_CHECKING:
    from cosmos_venv.config import RenderConfig
    from cosmos_venv.project.node import DbtNode

Label = Callable[["DbtNode"], str]
"""Gives the name of a node's domain."""

_Reads = dict[str, dict[str, dict[str, str]]]
"""Domain -> another domain that it reads -> unique id of a node read there -> one of the readers of this node."""

_MOST_NAMED = 3


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a project.

    :param nodes: unique ids of its nodes and tests, and of what comes along with them.
    :param reads: unique ids of the nodes that it reads in other domains, by the name of the other domain.
    """

    nodes: frozenset[str]
    reads: dict[str, tuple[str, ...]]


def domains_of(nodes: Mapping[str, DbtNode], render: RenderConfig, label: Label) -> dict[str, Domain]:
    """The domains by name, each behind the domains that it reads.

    :param nodes: the selected nodes by unique id, tests among them.
    :param render: which of them have tasks.
    :param label: gives the name of the domain of a node that dbt builds.
    :raises CosmosValueError: when a node has no domain, and where domains read each other in a circle.
    :raises CosmosLoadDbtException: when there is no node that dbt builds.
    """
    homes = {each: label(node) for each, node in nodes.items() if _has_home(node, render)}
    if not homes and render.allow_empty_selection:
        return {}
    if not homes:
        raise CosmosLoadDbtException(
            f"None of the {len(nodes)} selected nodes is built by a task. Correct RenderConfig."
        )
    order = _in_order(_reads(nodes, homes))
    shown: dict[str, set[str]] = {each: set() for each in order}
    for unique_id, home in homes.items():
        shown[home] |= {unique_id, *_above(nodes[unique_id], nodes, homes)[1]}
    converted = {DbtResourceType(kind) for kind in render.node_converters or ()}
    following = {*TESTS, *converted} - {*BUILT, DbtResourceType.SOURCE}
    for unique_id, node in nodes.items():
        if unique_id in homes or node.resource_type not in following:
            continue
        built, along = _above(node, nodes, homes)
        # A test that reads only sources belongs to the first domain that reads one of these sources.
        first = next((each for each in order if along & shown[each]), order[0])
        home = homes[unique_id] = max((homes[each] for each in built), key=order.index, default=first)
        shown[home] |= {unique_id, *along}
    reads = _reads(nodes, homes)
    return {
        each: Domain(
            nodes=frozenset(shown[each]),
            reads={above: tuple(sorted(reads[each][above])) for above in order if above in reads[each]},
        )
        for each in order
    }


def _has_home(node: DbtNode, render: RenderConfig) -> bool:
    """Whether dbt builds the node in a task."""
    if node.resource_type not in BUILT or node.has_ephemeral_materialization:
        return False
    is_converted = node.resource_type in (render.node_converters or {})
    return is_converted or visibility(node, render, ()) is Visibility.TASK


def _above(node: DbtNode, nodes: Mapping[str, DbtNode], homes: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """The nodes with a domain that a node reads, also through ephemeral models; and the nodes that come along."""
    built: set[str] = set()
    along: set[str] = set()
    left = [*node.depends_on]
    while left:
        each = left.pop()
        if each in homes:
            built.add(each)
        elif each in nodes and each not in along:
            along.add(each)
            left += nodes[each].depends_on
    return built, along


def _reads(nodes: Mapping[str, DbtNode], homes: Mapping[str, str]) -> _Reads:
    found: _Reads = {home: {} for home in homes.values()}
    for unique_id, home in homes.items():
        for each in _above(nodes[unique_id], nodes, homes)[0]:
            if homes[each] != home:
                found[home].setdefault(homes[each], {}).setdefault(each, unique_id)
    return found


def _in_order(reads: _Reads) -> list[str]:
    """The domains, each behind the domains that it reads; the same order in every process."""
    try:
        return [*TopologicalSorter({each: sorted(reads[each]) for each in sorted(reads)}).static_order()]
    except CycleError as error:
        # graphlib lists each domain before one that reads it, the first one again at the end.
        steps = [_step(after, before, reads[after][before]) for before, after in pairwise(error.args[1])]
        raise CosmosValueError(
            f"Domains read each other in a circle, so that none could run first: {'; '.join(steps)}. Move one of these "
            "models to another domain, or choose another split_by."
        ) from None


def _step(domain: str, above: str, pairs: Mapping[str, str]) -> str:
    named = [f"{pairs[each]} reads {each}" for each in sorted(pairs)]
    more = [f"{len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    return f"{domain!r} reads {above!r} ({', '.join(named[:_MOST_NAMED] + more)})"


def label_of(split_by: str | Callable[[DbtNode], object], project_dir: Path) -> Label:
    """The function that gives the name of a node's domain.

    Characters that an Airflow id cannot have become underscores.

    :param split_by: ``folder``, ``tag`` or ``group``, or a function of the user's.
    :param project_dir: folder of the project: the nodes of an installed package lie elsewhere, and are one domain with
        the package's name where folders count.
    :raises CosmosValueError: for another text. The returned function raises it for a node with no name or with several.
    """
    known: dict[object, Callable[[DbtNode], object]] = {
        "folder": lambda node: _folder(node, project_dir),
        "tag": _tag,
        "group": lambda node: node.config.get("group") or "ungrouped",
    }
    label = split_by if callable(split_by) else known.get(split_by)
    if label is None:
        raise CosmosValueError(
            f"DbtProjectDags.split_by={split_by!r} must be 'folder', 'tag' or 'group', or a function that is called "
            "with a node and returns the name of its domain."
        )
    return lambda node: _name(label(node), node)


def _folder(node: DbtNode, project_dir: Path) -> str:
    """The first folder below ``models``, ``seeds`` or ``snapshots``; for a file directly in one of these, its name."""
    folders = node.original_file_path.parent.parts
    if node.path_base != project_dir or not folders:
        return node.package_name or "dbt"
    return folders[min(1, len(folders) - 1)]


def _tag(node: DbtNode) -> str:
    tags = sorted(filter(None, {*node.tags}))
    if len(tags) > 1:
        raise CosmosValueError(
            f"DbtProjectDags.split_by='tag': {node.unique_id} has the tags {', '.join(tags)}, and belongs to one "
            "domain. Give split_by a function instead, which is called with a node and returns the name of its domain."
        )
    return tags[0] if tags else "untagged"


def _name(given: object, node: DbtNode) -> str:
    if not isinstance(given, str) or not given.strip():
        raise CosmosValueError(
            f"DbtProjectDags.split_by gave {given!r} for {node.unique_id}. It must return the name of a domain, a text."
        )
    return as_id(given)
