"""The arguments of the dbt command of each task."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cosmos_venv.constants import TESTS, DbtResourceType, TestIndirectSelection
from cosmos_venv.dbt.selection_texts import known_to_dbt, selected_with
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.plan_request import PlanRequest
from cosmos_venv.rendering.selectors import selector_with_children
from cosmos_venv.rendering.task_arguments import NO_OTHER_TESTS, arguments_of, continuing

logger = logging.getLogger(__name__)


class NodeTests(NamedTuple):
    """The tests that run with one node.

    :param ids: their unique ids.
    :param apart: the unique ids of the tests of the node that run in tasks of their own.
    :param words: the selection texts of the tests; None where dbt itself selects the right tests with the node.
    """

    ids: list[str]
    apart: list[str]
    words: list[str] | None


class CommandArguments:
    """The arguments of the dbt command of each task.

    :param request: what is planned.
    """

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._render, self._selectors = request.render, request.selectors
        tests = (each for each, node in request.nodes.items() if node.resource_type in TESTS)
        self._shared_by_tests = {
            text for text, number in Counter(map(self._selectors.get, tests)).items() if number > 1
        }
        choice = request.indirect_selection
        self._mode = {} if choice is TestIndirectSelection.EAGER else {"indirect_selection": choice.value}
        shared: Any = request.operator_args.get("exclude") or []
        self._shared_exclude: list[str] = shared.split() if isinstance(shared, str) else list(shared)

    def of_node(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of ``dbt run``, ``seed`` and ``snapshot``, of ``dbt source freshness``, and of the ``dbt
        build`` of a function.

        :param node: the node.
        :param given: further arguments of the task, which the node's own arguments may replace.
        """
        if node.resource_type is DbtResourceType.SOURCE:
            return self._with_own({"select": self._selectors[node.unique_id], **given}, node)
        if node.resource_type is DbtResourceType.FUNCTION:
            # dbt build would also run the tests that call the function.
            given = {**NO_OTHER_TESTS, **given}
        return self._with_own({"select": self._selectors[node.unique_id], **given}, node)

    def of_build(self, node: DbtNode, given: Mapping[str, Any], tests: NodeTests) -> dict[str, Any]:
        """The arguments of ``dbt build``.

        :param node: the node.
        :param given: further arguments of the task, which the node's own arguments may replace.
        :param tests: the tests that run in this task.
        """
        text = self._selectors[node.unique_id]
        if tests.words is None:
            return self._with_own({"select": text, **self._exclude(tests.apart), **self._mode, **given}, node)
        words = " ".join((text, *tests.words))
        return self._with_own({"select": words, **self._exclude(()), **NO_OTHER_TESTS, **given}, node)

    def of_batch(self, members: Iterable[DbtNode], nodes: Mapping[str, str]) -> dict[str, Any]:
        """The arguments of the ``dbt build`` of several nodes.

        :param members: the nodes of the batch.
        :param nodes: unique id of each node for which dbt does something, and of each test that dbt does not choose, to
            the text by which dbt selects it.
        """
        owners = (
            {node.owner for node in members if node.unique_id in nodes}
            if self._render.enable_owner_inheritance
            else set()
        )
        owner = {"owner": owners.pop()} if len(owners) == 1 else {}
        # None, too, is given: shared arguments must not select for this task.
        shared: dict[str, Any] = {"select": None, "models": None, "selector": None}
        return {**shared, "nodes": nodes, **continuing(members), **NO_OTHER_TESTS, **owner}

    def of_tests(self, node: DbtNode, tests: NodeTests) -> dict[str, Any]:
        """Return the arguments of the ``dbt test`` of one node: arguments of the tests replace arguments of the node.

        :param node: the node that is tested; of tests that run apart, the test that stands for them.
        :param tests: the tests that run in this task.
        """
        text = self._selectors[node.unique_id]
        if tests.words is None:
            selected = {"select": text, **self._exclude(tests.apart), **self._mode}
        else:  # an empty selection would be everything
            selected = {"select": " ".join(tests.words) or text, **self._exclude(()), **NO_OTHER_TESTS}
        return {
            **selected,
            "emit_datasets": False,
            **arguments_of(node),
            **self._merged(node, tests.ids),
            **self.owner_of(node),
        }

    def of_one_fqn(self, test: DbtNode) -> NodeTests:
        """The tests that run in the task of a test that runs apart.

        :param test: the test that stands for all of its fqn.
        """
        ids = self._request.detached.of_one_task[test.unique_id]
        return NodeTests(ids, [], list(dict.fromkeys(self._selectors[each] for each in ids)))

    @property
    def names_all_tests(self) -> bool:
        """Whether the task of AFTER_ALL names each test: else dbt would also run tests that the plan does not know.

        Where a selection has another indirect selection than EAGER, dbt decides which tests run.
        """
        selection = [*self._render.select, *self._render.exclude]
        if self._request.ready_tasks is not None:  # no text selects a domain
            return True
        if known_to_dbt(selection) != selection:
            return True
        return self._request.may_hide and not (selection and self._mode)

    def of_all_tests(self, test_ids: Sequence[str]) -> dict[str, Any]:
        """The arguments of the one ``dbt test`` of AFTER_ALL.

        :param test_ids: unique ids of the selected tests.
        """
        # None, too, is given: shared arguments must not select for this task.
        if self.names_all_tests:
            first = next(iter(self._request.nodes))  # an empty selection would be everything
            words = dict.fromkeys(self._selectors[each] for each in test_ids or (first,))
            return {
                "select": " ".join(words),
                "exclude": None,
                "selector": None,
                **NO_OTHER_TESTS,
                "emit_datasets": False,
            }
        return {
            "select": " ".join(self._render.select) or None,
            "exclude": " ".join(self._render.exclude) or None,
            "selector": self._render.selector,
            **self._mode,
            "emit_datasets": False,
        }

    def of_placeholder(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a task that runs nothing: of the node's arguments, only the display name and owner count.

        :param node: the node.
        :param given: further arguments of the task, which the node's own arguments may replace.
        """
        shown = {key: value for key, value in arguments_of(node).items() if key == "task_display_name"}
        # A source has no owner in Cosmos; other placeholders have.
        owner = {} if node.resource_type is DbtResourceType.SOURCE else self.owner_of(node)
        return {**given, **shown, **owner}

    def owner_of(self, node: DbtNode) -> dict[str, str]:
        """The node's owner as an argument of its task; empty where it has none, or owners are not inherited.

        :param node: the node.
        """
        owner = node.owner if self._render.enable_owner_inheritance else ""
        return {"owner": owner} if owner else {}

    def tests_of(self, node: DbtNode) -> NodeTests:
        """The tests that run with a node.

        The command names them where dbt would run others: the selection has left some out, the project may have unknown
        tests, or a text has more than one criterion. dbt adds tests to the nodes of each criterion before it intersects
        the criteria.

        :param node: the node.
        """
        request, texts = self._request, self._selectors
        apart = [test.unique_id for test in request.detached.by_parent.get(node.unique_id, ())]
        attached = [each for each in request.tests_of.get(node.unique_id, ()) if each not in request.detached.ids]
        chosen = request.tests_with([node.unique_id], attached)
        if not request.may_hide and not any("," in texts[each] for each in (node.unique_id, *apart)):
            added = request.tests_with([node.unique_id], request.all_tests_of.get(node.unique_id, []))
            if {*added} - {*apart} == {*chosen}:
                return NodeTests(chosen, apart, None)
        ids = selected_with(chosen, {each: texts[each] for each in attached})
        # Tests of one text are told apart by the node that they read.
        reads_node = selector_with_children(texts[node.unique_id])
        words = dict.fromkeys(texts[each] for each in ids)
        return NodeTests(
            ids, apart, [f"{text},{reads_node}" if text in self._shared_by_tests else text for text in words]
        )

    def _with_own(self, given: Mapping[str, Any], node: DbtNode) -> dict[str, Any]:
        # The node's own arguments last: so they replace what the DAG gives, as in Cosmos.
        return {**given, **arguments_of(node), **self.owner_of(node)}

    def _exclude(self, apart: Iterable[str]) -> dict[str, str]:
        """The user's exclusions for all tasks, then those of the DAG: an excluded test must not run after all."""
        own = [*known_to_dbt(self._render.exclude), *(self._selectors[each] for each in apart)]
        return {"exclude": " ".join(dict.fromkeys([*self._shared_exclude, *own]))} if own else {}

    def _merged(self, node: DbtNode, test_ids: Iterable[str]) -> dict[str, Any]:
        """Return the arguments from the tests of one task, merged in order: the last test wins, as in Cosmos."""
        merged: dict[str, Any] = {}
        for test_id in test_ids:
            for key, value in arguments_of(self._request.nodes[test_id]).items():
                if merged.setdefault(key, value) != value:
                    logger.warning(
                        "The tests of %s run in one task but differ in operator_kwargs.%s: %r of %s replaces %r.",
                        node.unique_id,
                        key,
                        value,
                        test_id,
                        merged[key],
                    )
                merged[key] = value
        return merged
