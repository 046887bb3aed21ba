"""A selection as a tree of criteria, joined by union, intersection and difference, and the nodes that it selects.

Trees are made of lists of items or of YAML. Tests come with their parents as in dbt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Union

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.dbt.selection_texts import refuse_words_of_cosmos
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.selection.criterion import Criterion
from cosmos_venv.project.selection.graph import SelectionGraph
from cosmos_venv.project.selection.methods import FINDERS, find

logger = logging.getLogger(__name__)

FITS_NOTHING = "%r in select or exclude fits no node of the project."
"""The warning about one word of a selection."""

# dbt's selection when none is given: everything.
_EVERYTHING = ("fqn:*", "source:*")


class Operation(Enum):
    """The way in which the sets of the parts become one."""

    UNION = "union"
    INTERSECTION = "intersection"
    DIFFERENCE = "difference"

    def join(self, sets: Sequence[set[str]]) -> set[str]:
        """The joined set, which may be one of the given sets and no copy; empty for no sets.

        :param sets: the sets of the parts.
        """
        if not sets:
            return set()
        first, *others = sets
        if not others or (self is not Operation.INTERSECTION and not any(others)):
            return first
        if self is Operation.UNION:
            return first.union(*others)
        return first.intersection(*others) if self is Operation.INTERSECTION else first.difference(*others)


@dataclass(frozen=True)
class Group:
    """Parts that are joined.

    :param operation: how the sets of the parts become one.
    :param parts: criteria and groups, at least one.
    :param word: the word of a list that the group was written as; None for any other group. Like dbt 1, the
        evaluation warns of a word that fits nothing.
    """

    operation: Operation
    parts: tuple[Part, ...]
    word: str | None = None


@dataclass(frozen=True)
class Named:
    """The YAML selectors that a word of a selection names, such as ``selector:nightly+`` (dbt 1.12).

    As in dbt, the word's ``+`` and ``@`` start from all nodes and tests of the selectors. No further tests come along.

    :param criterion: the word.
    :param parts: the selections of the selectors.
    """

    criterion: Criterion
    parts: tuple[Part, ...]


Part = Union[Criterion, Group, Named]  # noqa: UP007 - it is made while Python 3.10 reads the file


def from_lists(select: Iterable[str], exclude: Iterable[str], definitions: Definitions | None = None) -> Part:
    """The selection of ``--select`` and ``--exclude``: items, and the words of an item, are a union; commas intersect.

    :param select: dbt's selection texts; none: everything.
    :param exclude: dbt's selection texts of the nodes that are left out.
    :param definitions: the YAML selectors that ``selector:`` may name; None: dbt has no such method.
    :raises CosmosValueError: when dbt would refuse an item.
    """
    included = _union(list(select) or _EVERYTHING, definitions)
    return Group(Operation.DIFFERENCE, (included, _union(exclude, definitions)))


def _union(items: Iterable[str], definitions: Definitions | None) -> Group:
    words = [word for item in items for word in item.split(" ")]
    parts = tuple(
        Group(
            Operation.INTERSECTION,
            tuple(_item(part, definitions) for part in word.split(",")),
            word if word not in _EVERYTHING else None,
        )
        for word in words
    )
    return Group(Operation.UNION, parts)


def _item(text: str, definitions: Definitions | None) -> Part:
    criterion = _of_a_known_method(Criterion.from_text(text))
    if criterion.method != "selector":
        return criterion
    if definitions is None:
        raise CosmosValueError(
            f"selection item {text!r}: the method selector: is one of dbt 1.12, for --select and --exclude. With "
            "another dbt use RenderConfig.selector; in selectors.yml write method: selector and value: NAME."
        )
    return definitions.named(criterion)


def _of_a_known_method(criterion: Criterion) -> Criterion:
    known = sorted((*FINDERS, "selector"))
    if criterion.method not in known:
        raise CosmosValueError(
            f"selection item {criterion.shown}: {criterion.method!r} is none of dbt's methods. "
            f"Known are: {', '.join(known)}."
        )
    return criterion


class Definitions:
    """The YAML selectors of a manifest, by name.

    :param definitions: by name what stands below ``definition`` in ``selectors.yml`` or in the manifest.
    :param is_lax: whether wildcards leave out a selector whose definition cannot be used, with a warning.
    :param is_of_dbt_2: whether dbt 2 has written them. There the exclude of a group is a mapping, in an intersection
        with the rest of the group. An exclude beside a method belongs to that item alone.
    """

    def __init__(self, definitions: Mapping[str, Any], *, is_lax: bool = False, is_of_dbt_2: bool = False) -> None:
        self._definitions = definitions
        self._is_lax, self._is_of_dbt_2 = is_lax, is_of_dbt_2

    def named(self, criterion: Criterion) -> Named:
        """The selection of a word with the method ``selector:``.

        :param criterion: the word; its value may have wildcards.
        :raises CosmosValueError: when there is no such selector, or dbt would refuse its definition.
        """
        names = [name for name in self._definitions if fnmatchcase(name, criterion.value)] or [criterion.value]
        parts = []
        for name in names:
            try:
                parts.append(self.tree(name))
            except CosmosValueError as error:
                if not self._is_lax or name == criterion.value:
                    raise
                logger.warning("%s [cosmos] enable_lax_selector_parsing leaves it out.", error)
        return Named(criterion, tuple(parts))

    def tree(self, name: str, within: tuple[str, ...] = ()) -> Part:
        """The selection of a name.

        :param name: the name of the YAML selector.
        :param within: the names of the selectors that lead to it.
        :raises CosmosValueError: when there is no such selector, or dbt would refuse its definition; the text names it.
        """
        if name not in self._definitions:
            known = ", ".join(sorted(self._definitions)) or "none"
            raise CosmosValueError(f"selector {name!r} is not defined. The manifest has: {known}.")
        if name in within:
            raise CosmosValueError(f"selector {name!r} refers to itself: {' -> '.join((*within, name))}.")
        try:
            definition = self._definitions[name]
            if isinstance(definition, dict) and len(definition) > 1 and {"union", "intersection"} & set(definition):
                raise CosmosValueError(f"beside union or intersection nothing else may stand: {list(definition)}.")
            return self._part(definition, (*within, name))
        except CosmosValueError as error:
            if within:
                raise
            raise CosmosValueError(f"The definition of selector {name!r} cannot be used: {error}") from None

    def _part(self, definition: Any, within: tuple[str, ...]) -> Part:
        if isinstance(definition, str):
            refuse_words_of_cosmos("A YAML selector", [definition])
            return _item(definition, None)
        if not isinstance(definition, dict):
            raise CosmosValueError(f"{definition!r} is neither a text nor a mapping.")
        for operation in (Operation.UNION, Operation.INTERSECTION):
            if operation.value in definition:
                return self._group(operation, definition, within)
        if set(definition) == {"exclude"}:
            raise CosmosValueError(
                "exclude stands alone: dbt's manifest has lost the method and value beside it. Write method first in "
                "selectors.yml, then value, then exclude."
            )
        if len(definition) == 1:
            ((method, value),) = definition.items()
            definition = {"method": method, "value": value}
        if "method" not in definition or "value" not in definition:
            raise CosmosValueError(f"{definition} needs one key, or method and value.")
        if definition["method"] == "selector":
            return self.tree(str(definition["value"]), within)
        if definition["method"] == "config" and self._is_of_dbt_2:
            raise CosmosValueError(
                f"{definition} does not say which configuration is meant: dbt 2 leaves that out of manifest.json. "
                "Write the selection into RenderConfig.select, such as config.materialized:view, or load with "
                "LoadMode.DBT_LS, where dbt reads selectors.yml."
            )
        # The selector goes to dbt as it is, for the tasks of AFTER_ALL and AIRFLOW_ASYNC.
        refuse_words_of_cosmos("A YAML selector", [f"{definition['method']}:{definition['value']}"])
        criterion = _of_a_known_method(Criterion.from_mapping(definition))
        return self._without(criterion, definition, within) if "exclude" in definition else criterion

    def _group(self, operation: Operation, definition: dict[str, Any], within: tuple[str, ...]) -> Part:
        included: list[Any] = []
        excluding: list[Any] = []
        for each in _list_of(definition, operation.value):
            (excluding if self._is_exclude(each) else included).append(each)
        included = [each for each in included if each != {"exclude": []}]
        if len(excluding) > 1:
            raise CosmosValueError(f"{operation.value} has more than one exclude: join them in one list.")
        group = Group(operation, tuple(self._part(each, within) for each in included))
        # As in dbt 1 an item with an exclude is the group's exclude, whatever else the item says.
        return self._without(group, excluding[0], within) if excluding else group

    def _is_exclude(self, item: Any) -> bool:
        """Whether an item of a group says what the whole group leaves out."""
        if not isinstance(item, dict) or not item.get("exclude"):
            return False
        return len(item) == 1 if self._is_of_dbt_2 else not self._is_reference(item)

    def _is_reference(self, definition: dict[str, Any]) -> bool:
        """Whether an item refers to another selector: dbt writes that selector's definition in place of its name."""
        return "method" in definition and definition in self._definitions.values()

    def _without(self, part: Part, definition: dict[str, Any], within: tuple[str, ...]) -> Part:
        is_one = self._is_of_dbt_2 and isinstance(definition["exclude"], dict)
        given = [definition["exclude"]] if is_one else _list_of(definition, "exclude")
        excluded = tuple(self._part(each, within) for each in given)
        if not excluded:
            return part
        rest = excluded[0] if len(excluded) == 1 else Group(Operation.UNION, excluded)
        return Group(Operation.DIFFERENCE, (part, rest))


def _list_of(definition: Mapping[str, Any], key: str) -> list[Any]:
    value = definition[key]
    if not isinstance(value, list):
        raise CosmosValueError(f"{key} is {value!r}: write a list.")
    return value


def evaluate(graph: SelectionGraph, tree: Part) -> set[str]:
    """Ids of all selected nodes, tests among them.

    :param graph: the nodes.
    :param tree: the selection.
    :raises CosmosValueError: when dbt would refuse an item.
    """
    if isinstance(tree, Criterion):
        return _with_tests(graph, _reached(graph, tree, find(graph, tree)), tree.indirect_selection)
    if isinstance(tree, Named):
        of_selectors = Operation.UNION.join([evaluate(graph, each) for each in tree.parts])
        return _reached(graph, tree.criterion, of_selectors)
    selected = tree.operation.join([evaluate(graph, each) for each in tree.parts])
    if tree.word is not None and not selected:
        logger.warning(FITS_NOTHING, tree.word)
    return selected


def _reached(graph: SelectionGraph, criterion: Criterion, found: set[str]) -> set[str]:
    relations = graph.relations
    reached = set(found)
    if criterion.childrens_parents:
        reached |= relations.descendants(found)
        reached |= relations.ancestors(reached)
    if criterion.parents != 0:
        reached |= relations.ancestors(found, criterion.parents)
    if criterion.children != 0:
        reached |= relations.descendants(found, criterion.children)
    return reached


def _with_tests(graph: SelectionGraph, selected: set[str], mode: TestIndirectSelection) -> set[str]:
    # The tests are added to the set that is given, which its caller has just made: a copy of a large set is a megabyte.
    if mode is TestIndirectSelection.EMPTY:
        return selected
    relations = graph.relations
    tests = relations.tests_of(selected)
    if mode is TestIndirectSelection.EAGER:
        selected |= tests
        return selected
    there = selected
    if mode is TestIndirectSelection.BUILDABLE:
        there = selected | relations.ancestors(selected) | {unique_id for unique_id, _ in graph.of_type("source")}
    return selected | {test for test in tests if relations.has_all_parents(test, there)}
