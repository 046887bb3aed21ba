"""The nodes of a project as selection sees them: names, tags, paths, parents and children.

A name means ``package.folder.model``, the fully qualified name of dbt, any beginning of it, or its end.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import translate
from functools import cached_property
from itertools import chain

from cosmos_venv.project.node_entry import NodeEntry

_TESTS = ("test", "unit_test")

Labels = Callable[[NodeEntry], Iterable[str]]


def is_wild(value: str) -> bool:
    """Whether dbt takes a value for a pattern.

    :param value: the value of a selection item.
    """
    return any(character in value for character in "*?[]")


class Names:
    """All fully qualified names of a project.

    :param entries: nodes by unique id; sources have no such names.
    """

    def __init__(self, entries: Mapping[str, NodeEntry]) -> None:
        self._names: dict[str, list[str]] = {}
        self._by_end: defaultdict[str, list[str]] = defaultdict(list)
        self._versioned: defaultdict[str, list[str]] = defaultdict(list)
        # The first two parts of each name: a value that begins with neither is not searched in all names.
        self._heads: set[str] = set()
        # One loop for all: the entries are scattered in memory, and to reach them takes most of the time.
        for unique_id, entry in entries.items():
            if entry.resource_type == "source":
                continue
            self._names[unique_id] = name = entry.fqn or unique_id.split(".")[1:]
            self._heads.update(name[:2])
            if entry.version is not None and entry.resource_type == "model" and len(name) > 1:
                # Here the last part is the version, the one before it the name.
                self._by_end[name[-2]].append(unique_id)
                self._versioned["_".join(name[-2:])].append(unique_id)
            else:
                self._by_end[name[-1]].append(unique_id)

    def meant_by(self, value: str) -> Iterator[str]:
        """Ids of the nodes, some of them twice.

        :param value: a name, or a pattern.
        """
        yield from self._by_end.get(value, ())
        # For a versioned model the last two parts are enough, joined by a dot or an underscore, whatever precedes them.
        yield from self._versioned.get("_".join(value.split(".")[-2:]), ())
        if is_wild(value):
            yield from self._fitting(value)
        elif any(f"{value}.".startswith(f"{head}.") or head.startswith(f"{value}.") for head in self._heads):
            yield from self._beginning_with(value)

    def _beginning_with(self, value: str) -> Iterator[str]:
        begin = f"{value}."
        for unique_id, name in self._names.items():
            dotted = f"{'.'.join(name)}."
            # With the package in front and without it.
            if dotted.startswith(begin) or dotted.startswith(begin, len(name[0]) + 1):
                yield unique_id

    def _fitting(self, pattern: str) -> Iterator[str]:
        """The nodes whose names fit a pattern.

        The parts before the first wildcard must be equal. The other parts must fit all the rest of the name. A pattern
        without dots is compared with the last part of the name too.
        """
        if "." not in pattern:
            fits_whole = re.compile(translate(pattern)).match
            yield from (each for end, ids in self._by_end.items() if fits_whole(end) for each in ids)
        parts = pattern.split(".")
        plain = next(index for index, part in enumerate(parts) if is_wild(part))
        begin, fits = (
            "".join(f"{part}." for part in parts[:plain]),
            re.compile(translate(".".join(parts[plain:]))).match,
        )
        dots = len(parts) - 1
        for unique_id, name in self._names.items():
            dotted = ".".join(name)
            # With the package in front and without it.
            for start in (0, len(name[0]) + 1)[: len(name)]:
                if (
                    dotted.startswith(begin, start)
                    and fits(dotted, start + len(begin))
                    and dotted.count(".", start) >= dots
                ):
                    yield unique_id
                    break


class Relations:
    """Parents and children of nodes.

    :param entries: every node by unique id, in the project's order.
    """

    def __init__(self, entries: Mapping[str, NodeEntry]) -> None:
        self._tests: list[str] = []
        self._parents: dict[str, list[str]] = {}
        self._lacking: set[str] = set()
        for unique_id, entry in entries.items():
            read = (entry.depends_on and entry.depends_on.nodes) or []
            if not all(map(entries.__contains__, read)):  # what is disabled or of another project is passed over
                self._lacking.add(unique_id)
                read = [each for each in read if each in entries]
            self._parents[unique_id] = read
            if entry.resource_type in _TESTS:
                self._tests.append(unique_id)

    def tests_of(self, nodes: set[str]) -> set[str]:
        """The tests that depend on one of some nodes.

        :param nodes: their unique ids.
        """
        return {test for test in self._tests if not nodes.isdisjoint(self._parents[test])}

    def has_all_parents(self, node: str, nodes: set[str]) -> bool:
        """Whether all parents of a node are among ``nodes``; False when a parent is disabled or of another project.

        :param node: the unique id of the node.
        :param nodes: unique ids.
        """
        return node not in self._lacking and nodes.issuperset(self._parents[node])

    def ancestors(self, nodes: Iterable[str], steps: int | None = None) -> set[str]:
        """All ancestors of ``nodes``. A node of ``nodes`` is included only if it is an ancestor of another one.

        :param nodes: unique ids.
        :param steps: how many steps to go up; None: no limit.
        """
        return _walk(self._parents, nodes, steps)

    def descendants(self, nodes: Iterable[str], steps: int | None = None) -> set[str]:
        """All descendants of ``nodes``. A node of ``nodes`` is included only if it is a descendant of another one.

        :param nodes: unique ids.
        :param steps: how many steps to go down; None: no limit.
        """
        return _walk(self._children, nodes, steps)

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: defaultdict[str, list[str]] = defaultdict(list)
        for child, parents in self._parents.items():
            for parent in parents:
                children[parent].append(child)
        return children


def _walk(neighbours: Mapping[str, list[str]], nodes: Iterable[str], steps: int | None) -> set[str]:
    found: set[str] = set()
    layer = set(nodes)
    while layer and (steps is None or steps > 0):
        layer = set(chain.from_iterable(filter(None, map(neighbours.get, layer))))
        layer -= found
        found |= layer
        steps = None if steps is None else steps - 1
    return found


class SelectionGraph:
    """The nodes that a selection is evaluated on.

    :param entries: every node of the manifest that is not disabled, by unique id, in the project's order.
    :param project_name: the root project's name in dbt.
    """

    def __init__(
        self,
        entries: Mapping[str, NodeEntry],
        *,
        project_name: str | None = None,
    ) -> None:
        self.entries = entries
        self.project_name = project_name
        self._labelled: dict[Labels, dict[str, list[str]]] = {}

    def labelled(self, labels: Labels) -> dict[str, list[str]]:
        """The ids of the nodes that carry each label. Gathered once.

        :param labels: gives the labels of a node.
        """
        index = self._labelled.get(labels)
        if index is None:
            index = self._labelled[labels] = {}
            for unique_id, entry in self.entries.items():
                for label in labels(entry):
                    ids = index.setdefault(label, [])
                    if not ids or ids[-1] is not unique_id:  # a node may carry a label twice
                        ids.append(unique_id)
        return index

    def of_type(self, *types: str) -> Iterator[tuple[str, NodeEntry]]:
        """Unique ids and nodes of resource types.

        :param *types: dbt's names of them: ``model``.
        """
        by_type = self.labelled(_resource_type)
        return ((unique_id, self.entries[unique_id]) for each in types for unique_id in by_type.get(each, ()))

    @cached_property
    def names(self) -> Names:
        """The fully qualified names of the nodes."""
        return Names(self.entries)

    @cached_property
    def relations(self) -> Relations:
        """The parents and children of the nodes."""
        return Relations(self.entries)


def path_of(entry: NodeEntry) -> str:
    """The path of a node's file, relative to the project or the package; dbt on Windows writes backslashes.

    :param entry: the node.
    """
    return (entry.original_file_path or "").replace("\\", "/")


def _resource_type(entry: NodeEntry) -> Iterable[str]:
    return (entry.resource_type,)
