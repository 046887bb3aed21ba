"""Which nodes does a selection come to? The tree's sets, and with them the tests, as dbt works them out."""

from __future__ import annotations

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.project.selection.criterion import Criterion
from cosmos_venv.project.selection.graph import SelectionGraph, parents_of
from cosmos_venv.project.selection.methods import find
from cosmos_venv.project.selection.tree import Part


def evaluate(graph: SelectionGraph, tree: Part) -> set[str]:
    """Ids of all selected nodes, tests among them.

    :raises CosmosValueError: when dbt would refuse an item.
    """
    return _evaluate(graph, tree)[0]


def _evaluate(graph: SelectionGraph, part: Part) -> tuple[set[str], set[str]]:
    """What is selected, and beside it the tests of which only some parents are: others may bring the rest."""
    if isinstance(part, Criterion):
        return _with_tests(graph, _reached(graph, part), part.indirect_selection)
    both = [_evaluate(graph, each) for each in part.parts]
    selected = part.operation.join([sure for sure, _ in both])
    # Nearly always nothing waits, and sets of all nodes need not be joined twice.
    has_waiting = any(waiting for _, waiting in both)
    perhaps = part.operation.join([sure | waiting for sure, waiting in both]) if has_waiting else selected
    if part.indirect_selection in (TestIndirectSelection.CAUTIOUS, TestIndirectSelection.BUILDABLE):
        there = selected
        if part.indirect_selection is TestIndirectSelection.BUILDABLE:
            there = selected | graph.ancestors(selected)
        # dbt gives this second chance to data tests only: a unit test has but one parent.
        selected = selected | {
            each
            for each in perhaps
            if graph.entries[each].resource_type != "unit_test" and there.issuperset(parents_of(graph.entries[each]))
        }
    return selected, perhaps if has_waiting else set()


def _reached(graph: SelectionGraph, criterion: Criterion) -> set[str]:
    found = find(graph, criterion)
    reached = graph.with_ancestors(found | graph.descendants(found)) if criterion.childrens_parents else found
    if criterion.parents != 0:
        reached = reached | graph.ancestors(found, criterion.parents)
    if criterion.children != 0:
        reached = reached | graph.descendants(found, criterion.children)
    return reached


def _with_tests(graph: SelectionGraph, selected: set[str], mode: TestIndirectSelection) -> tuple[set[str], set[str]]:
    if mode is TestIndirectSelection.EMPTY:
        return selected, set()
    tests = graph.tests_of(selected)
    if mode is TestIndirectSelection.EAGER:
        return selected | tests, set()
    there = selected
    if mode is TestIndirectSelection.BUILDABLE:
        sources = {unique_id for unique_id, _ in graph.of_type("source")}
        there = selected | graph.ancestors(selected) | sources
    sure = {test for test in tests if there.issuperset(parents_of(graph.entries[test]))}
    return selected | sure, tests - sure
