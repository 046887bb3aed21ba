"""Batches: which nodes of a plan run together in one ``dbt build``.

Each node that may be in a batch gets a label, and nodes of one label make a batch. Where that would make a cycle (a
batch that comes before and after another task), the batch is split, in dbt's order of the nodes. Pure: nodes in,
batches out, the same in every process.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cosmos_venv.constants import BatchBy
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.rendering.model import Batch, Batches
from cosmos_venv.rendering.plan_graph import in_order
from cosmos_venv.rendering.task_arguments import is_airflow_id

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

logger = logging.getLogger(__name__)

_NOT_IN_AN_ID = re.compile(r"[^\w-]+")
_LONGEST_KEY = 150  # of the 250 characters of an id: a group and the word "batch" go with it
_DIGITS = 8

Labels = Callable[[Mapping[str, "DbtNode"]], Mapping[str, str]]


class _Label(NamedTuple):
    """The label that all nodes of a batch have.

    :param key: differs from the key of each other label. Two folders, tags or first nodes may have one ``name``.
    :param name: the text that the name of the batch is made of.
    """

    key: str
    name: str


def batches_of(rendered: Mapping[str, DbtNode], together: Collection[str], batch_by: BatchBy | Labels) -> Batches:
    """The batches of a plan.

    :param rendered: the nodes that have tasks, by unique id, without tests.
    :param together: unique ids of the nodes that may run in a batch; the others have tasks of their own.
    :param batch_by: gives a label to each node, or to some; a node without one has a task of its own.
    :raises CosmosValueError: when a callable gives what cannot be a label.
    :raises CosmosLoadDbtException: when nodes depend on each other in a circle.
    """
    parents = {
        each: [parent for parent in dict.fromkeys(node.depends_on) if parent in rendered]
        for each, node in rendered.items()
    }
    ordered = in_order(rendered, ((parent, each) for each, found in parents.items() for parent in found))
    nodes = {each: rendered[each] for each in ordered if each in together}
    label = _LABELS[batch_by] if isinstance(batch_by, BatchBy) else partial(_given_labels, batch_by)
    return _merged(ordered, parents, label(nodes, parents, ordered))


def _merged(ordered: list[str], parents: Mapping[str, list[str]], labels: Mapping[str, _Label]) -> Batches:
    """Put nodes of one label into one unit, unless this unit would come before and after another unit."""
    unit_of: dict[str, int] = {}
    before: list[int] = []  # bits
    after: list[set[int]] = []  # the units right behind
    members: dict[int, list[str]] = {}
    of_label: dict[_Label, list[int]] = {}
    for each in ordered:
        above = {unit_of[parent] for parent in parents[each]}
        label = labels.get(each)
        candidates = of_label.setdefault(label, []) if label is not None else []
        # A unit that comes before one of the node's parents would make a cycle with this node in it.
        unit = next((one for one in candidates if not any(before[other] >> one & 1 for other in above)), len(before))
        if unit == len(before):
            before.append(0)
            after.append(set())
            if label is not None:
                candidates.append(unit)
        unit_of[each] = unit
        if label is not None:
            members.setdefault(unit, []).append(each)
        _come_before(before, after, unit, above - {unit})
    names = _names(of_label)
    for units in of_label.values():
        if len(units) > 1:
            first, *more = (names[unit] for unit in units)
            logger.info(
                "The batch %r is split into %s: together they would come before and after another task.",
                first,
                ", ".join((first, *more)),
            )
    made = tuple(Batch(name=names[unit], unit=unit, members=tuple(found)) for unit, found in members.items())
    return Batches(batches=made, unit_of=unit_of, before=tuple(before))


def _come_before(before: list[int], after: list[set[int]], unit: int, above: Iterable[int]) -> None:
    """Note that the units ``above``, and all before them, come before ``unit`` and all units after it."""
    more = 0
    for other in above:
        more |= before[other] | 1 << other
        after[other].add(unit)
    # Only units behind this one can change. A search of all units for each new unit took 1.7 s with 10,000 nodes, and
    # this takes 0.07 s: a new unit has no units behind it.
    changed = [unit]
    while changed:
        each = changed.pop()
        if more & ~before[each]:
            before[each] |= more
            changed += after[each]


def _names(of_label: Mapping[_Label, list[int]]) -> dict[int, str]:
    """The name of each batch: the name of its label; if another label has the same name, a name made of the key.

    Where a label is split, the further batches get numbers. A name that another label has is passed over.
    """
    shared = Counter(label.name for label in of_label)
    first = {label: label.name if shared[label.name] == 1 else _name_of_key(label.key) for label in of_label}
    names: dict[int, str] = {}
    taken = {*first.values()}
    for label, units in of_label.items():
        number = 1
        for unit in units:
            name = first[label]
            while unit != units[0] and name in taken:
                number += 1
                name = f"{first[label]}_{number}"
            taken.add(name)
            names[unit] = name
    return names


def _name_of_key(key: str) -> str:
    """The key as a name, with a digest: two keys may differ only in characters that an id cannot have."""
    return f"{_as_id(key)[:_LONGEST_KEY]}_{hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]}"


def _label(key: str, name: object) -> _Label:
    plain = _as_id(name)
    return _Label(key, plain if 0 < len(plain) <= _LONGEST_KEY else _name_of_key(key))


def _by_folder(nodes: Mapping[str, DbtNode], *_: object) -> dict[str, _Label]:
    """The folder of the file, with its parents, in its package."""
    return {
        each: _label(f"{node.package_name or ''}/{folder.as_posix()}", folder)
        for each, node in nodes.items()
        if (folder := node.original_file_path.parent) != Path()
    }


def _by_tag(nodes: Mapping[str, DbtNode], *_: object) -> dict[str, _Label]:
    """The alphabetically first tag of each node."""
    first = {each: min(filter(None, node.tags), default=None) for each, node in nodes.items()}
    return {each: _label(tag, tag) for each, tag in first.items() if tag is not None}


def _by_wave(
    nodes: Mapping[str, DbtNode], parents: Mapping[str, list[str]], ordered: Iterable[str]
) -> dict[str, _Label]:
    """One more than the highest wave of the parents; a node with a task of its own has a wave too."""
    waves: dict[str, int] = {}
    for each in ordered:
        waves[each] = 1 + max((waves[parent] for parent in parents[each]), default=0)
    return {each: _Label(f"wave_{waves[each]}", f"wave_{waves[each]}") for each in nodes}


def _by_chain(
    nodes: Mapping[str, DbtNode], parents: Mapping[str, list[str]], ordered: Iterable[str]
) -> dict[str, _Label]:
    """The first node of each chain. A node continues a chain if it has one parent and is that parent's only child."""
    children = Counter(parent for found in parents.values() for parent in found)
    heads: dict[str, str] = {}
    for each in ordered:
        found = parents[each]
        if each in nodes:
            goes_on = len(found) == 1 and children[found[0]] == 1 and found[0] in heads
            heads[each] = heads[found[0]] if goes_on else each
    return {each: _label(head, nodes[head].name) for each, head in heads.items()}


_LABELS: Mapping[BatchBy, Callable[..., dict[str, _Label]]] = {
    BatchBy.FOLDER: _by_folder,
    BatchBy.TAG: _by_tag,
    BatchBy.WAVE: _by_wave,
    BatchBy.CHAIN: _by_chain,
    BatchBy.ALL: lambda nodes, *_: dict.fromkeys(nodes, _Label("all", "all")),
}


def _as_id(text: object) -> str:
    return _NOT_IN_AN_ID.sub("_", str(text)).strip("_")


def _given_labels(batch_by: Labels, nodes: Mapping[str, DbtNode], *_: object) -> dict[str, _Label]:
    given: object = batch_by(dict(nodes))
    if not isinstance(given, Mapping):
        raise CosmosValueError(
            f"RenderConfig.batch_by gave {given!r}. It must return a mapping of unique ids to names of batches; a node "
            "that is not in it has a task of its own."
        )
    return {each: _Label(label, label) for each, label in _checked(given, nodes)}


def _checked(given: Mapping[object, object], nodes: Mapping[str, DbtNode]) -> Iterator[tuple[str, str]]:
    for each, label in given.items():
        if each not in nodes:
            raise CosmosValueError(
                f"RenderConfig.batch_by gave a batch to {each!r}, which is none of the {len(nodes)} nodes that it was "
                "called with. Return the unique ids of these."
            )
        if not isinstance(label, str) or not is_airflow_id(label):
            raise CosmosValueError(
                f"RenderConfig.batch_by gave the batch {label!r} to {each}. Give a text of letters, digits, dots, "
                "dashes and underscores, as Airflow takes them in an id."
            )
        yield str(each), label
