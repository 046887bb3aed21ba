"""Which nodes does a selection come to? The tree's sets, and with them the tests, as dbt works them out."""

from __future__ import annotations

from cosmos_venv.constants import TestIndirectSelection
from cosmos_venv.project.selection.criterion import Criterion
from cosmos_venv.project.selection.graph import SelectionGraph
from cosmos_venv.project.selection.methods import find
from cosmos_venv.project.selection.tree import Part


def evaluate(graph: SelectionGraph, tree: Part) -> set[str]:
    """Ids of all selected nodes, tests among them.

    :raises CosmosValueError: when dbt would refuse an item.
    """
    return graph.relations.ids_of(_evaluate(graph, tree)[0])


def _evaluate(graph: SelectionGraph, part: Part) -> tuple[set[int], set[int]]:
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
            there = selected | graph.relations.ancestors(selected)
        # dbt gives this second chance to data tests only: a unit test has but one parent.
        waited = {each for each in perhaps - selected if graph.relations.has_all_parents(each, there)}
        selected = selected | {each for each in waited if not graph.relations.is_unit_test(each)}
    return selected, perhaps if has_waiting else set()


def _reached(graph: SelectionGraph, criterion: Criterion) -> set[int]:
    relations = graph.relations
    found = relations.numbers_of(find(graph, criterion))
    reached = set(found)
    if criterion.childrens_parents:
        reached |= relations.descendants(found)
        relations.add_ancestors(reached)
    if criterion.parents != 0:
        reached |= relations.ancestors(found, criterion.parents)
    if criterion.children != 0:
        reached |= relations.descendants(found, criterion.children)
    return reached


def _with_tests(graph: SelectionGraph, selected: set[int], mode: TestIndirectSelection) -> tuple[set[int], set[int]]:
    """:param selected: gets the tests, for it may be large."""
    if mode is TestIndirectSelection.EMPTY:
        return selected, set()
    relations = graph.relations
    tests = relations.tests_of(selected)
    if mode is TestIndirectSelection.EAGER:
        selected |= tests
        return selected, set()
    there = selected
    if mode is TestIndirectSelection.BUILDABLE:
        sources = relations.numbers_of(unique_id for unique_id, _ in graph.of_type("source"))
        there = selected | relations.ancestors(selected) | sources
    sure = {test for test in tests if relations.has_all_parents(test, there)}
    return selected | sure, tests - sure
