"""Which nodes does a selection come to? The tree's sets, and with them the tests, as dbt works them out."""

from __future__ import annotations

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.project.selection.criterion import Criterion
from cosmos_venv.project.selection.graph import SelectionGraph, parents_of
from cosmos_venv.project.selection.methods import find
from cosmos_venv.project.selection.tree import Part

_TESTS = ("test", "unit_test")


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
    perhaps = part.operation.join([sure | waiting for sure, waiting in both])
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
    return selected, perhaps


def _reached(graph: SelectionGraph, criterion: Criterion) -> set[str]:
    found = find(graph, criterion)
    reached = set(found)
    if criterion.childrens_parents:
        below = found | graph.descendants(found)
        reached |= below | graph.ancestors(below)
    return reached | graph.ancestors(found, criterion.parents) | graph.descendants(found, criterion.children)


def _with_tests(graph: SelectionGraph, selected: set[str], mode: TestIndirectSelection) -> tuple[set[str], set[str]]:
    if mode is TestIndirectSelection.EMPTY:
        return selected, set()
    tests = {
        child
        for node in selected
        for child in graph.children.get(node, ())
        if graph.entries[child].resource_type in _TESTS
    }
    if mode is TestIndirectSelection.EAGER:
        return selected | tests, set()
    there = selected
    if mode is TestIndirectSelection.BUILDABLE:
        sources = {unique_id for unique_id, _ in graph.of_type("source")}
        there = selected | graph.ancestors(selected) | sources
    sure = {test for test in tests if there.issuperset(parents_of(graph.entries[test]))}
    return selected | sure, tests - sure
