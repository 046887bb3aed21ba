"""The name, arguments, context, docs and tests of the task of one node, beside what all tasks share."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos_venv.config.validation import folder_name
from cosmos_venv.constants import (
    BATCH_CONFIG,
    NODE_CONFIG,
    ONLY_IF_CHANGED,
    TESTS,
    DbtResourceType,
    SeedRenderingBehavior,
    TestBehavior,
    TestIndirectSelection,
)
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.rendering.selectors import readers_of

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode
    from cosmos_venv.rendering.model import Batches


IDENTIFIER = "dbt_dag_task_group_identifier"
"""In the context of a node's own task: the DAG, and the group in it that the project or the node's folder is. It is
known when the task is made."""

DOCUMENTS = frozenset({"doc", "doc_md", "doc_json", "doc_yaml", "doc_rst"})
"""Airflow's arguments with which a user documents a task himself."""

logger = logging.getLogger(__name__)

_WITH_NODES = (TestBehavior.AFTER_EACH, TestBehavior.BUILD)
BUILT = (DbtResourceType.MODEL, DbtResourceType.SEED, DbtResourceType.SNAPSHOT, DbtResourceType.FUNCTION)
"""The types of nodes that ``dbt build`` makes in the database."""

LONGEST_ID = 250
"""Characters that Airflow takes in the id of a task."""

LONGEST_GROUP_LABEL = 200
"""Characters that Airflow takes in the id of a group within its parent."""

_AIRFLOW_ID = r"[\w.-]+"

SETUP_OPERATOR_ARGS = "setup_operator_args"
"""Among what all tasks share: arguments of the producer of ExecutionMode.WATCHER, which go over all others."""

NO_OTHER_TESTS = {"indirect_selection": TestIndirectSelection.EMPTY.value}
"""dbt runs the tests that it is told, and none that come with nodes."""

OF_THE_PLAN = frozenset({"dag", "task_group", "task_id"})
"""Arguments of an operator that no user gives: they say where the task stands."""


class IndirectTests:
    """The tests that run with nodes, by ``ExecutionConfig.test_indirect_selection``, as dbt adds them.

    :param choice: the mode.
    :param known: all nodes of the project that are known, tests among them, by unique id.
    """

    def __init__(self, choice: TestIndirectSelection, known: Mapping[str, DbtNode]) -> None:
        self.choice = choice
        self._known = known

    def of(self, members: Iterable[str], test_ids: Sequence[str]) -> list[str]:
        """Those of some tests that run with nodes.

        :param members: unique ids of the nodes that one command selects.
        :param test_ids: unique ids of tests, each of which reads one of the nodes.
        """
        if self.choice is TestIndirectSelection.EAGER:
            return list(test_ids)
        if self.choice is TestIndirectSelection.EMPTY:
            return []
        within = {*members}
        if self.choice is TestIndirectSelection.BUILDABLE:
            within |= self._ancestors(within)
        return [each for each in test_ids if within.issuperset(self._known[each].depends_on)]

    def _ancestors(self, members: Iterable[str]) -> set[str]:
        """The nodes above some nodes, and all sources: dbt counts these as built."""
        found = {each for each, node in self._known.items() if node.resource_type is DbtResourceType.SOURCE}
        left = [*members]
        while left:
            node = self._known.get(left.pop())
            above = {*node.depends_on} - found if node else set()
            found |= above
            left += above
        return found


def context_of_node(node: DbtNode, *, runs_only_changed: bool = False) -> dict[str, Any]:
    """The context of the task that runs a node.

    :param node: the node.
    :param runs_only_changed: whether the node is a seed that is to be loaded only when its content has changed.
    """
    context: dict[str, Any] = {NODE_CONFIG: node.context_dict, "package_name": node.package_name, IDENTIFIER: ""}
    if runs_only_changed:
        context[ONLY_IF_CHANGED] = True
    return context


def context_of_batch(name: str, nodes: Mapping[str, str]) -> dict[str, Any]:
    """The context of the task of a batch.

    :param name: of the batch.
    :param nodes: unique id of each node and test that it runs to the text by which dbt selects it.
    """
    return {BATCH_CONFIG: {"name": name, "nodes": list(nodes)}, IDENTIFIER: ""}


class DetachedTests:
    """The tests that do not run with each node that they test.

    Where RenderConfig wants that, each test with more than one parent has a task of its own. In a plan of batches a
    test runs in the batch of its parents; where they lie in several, in the last one, or in a task of its own where
    none of them is the last. Tests of one fqn count as one test: dbt cannot be told them one by one.

    :param nodes: the selected nodes; a test counts when one of its parents is among them.
    :param render: whether tests are wanted apart, and how tests run.
    :param batches: the batches of the plan; None: there are none.
    """

    def __init__(self, nodes: Mapping[str, DbtNode], render: RenderConfig, batches: Batches | None = None) -> None:
        self.by_parent: dict[str, list[DbtNode]] = {}
        """The tests that a selected node's own test task must leave out, in the project's order."""
        self.tests: list[DbtNode] = []
        """Those with a task of their own, sorted by unique id: one of each fqn, which reads what all of these read."""
        self.of_one_task: dict[str, list[str]] = {}
        """The unique ids of all tests that run in the task of such a test, by its unique id."""
        self.of_unit: dict[int, list[DbtNode]] = {}
        """Those that run in a batch, by its number."""
        self.ids: set[str] = set()
        """The unique ids of all of them."""
        wants_apart = render.should_detach_multiple_parents_tests
        if render.test_behavior in _WITH_NODES and (wants_apart or batches):
            self._find(nodes, batches, wants_apart=wants_apart)

    def without(self, test_ids: Iterable[str]) -> list[str]:
        """The tests that run with their parents.

        :param test_ids: unique ids of tests.
        """
        return [test_id for test_id in test_ids if test_id not in self.ids]

    def _find(self, nodes: Mapping[str, DbtNode], batches: Batches | None, *, wants_apart: bool) -> None:
        in_batches = {each.unit for each in batches.batches} if batches else set()
        tests = [node for node in nodes.values() if node.resource_type in TESTS]
        for alike in _of_one_fqn(tests):
            parents = [
                each for each in dict.fromkeys(each for test in alike for each in test.depends_on) if each in nodes
            ]
            units = batches.units_of(parents) if batches else []
            is_apart = parents and wants_apart and any(map(_is_detachable, alike))
            # A batch has no place for arguments of one test.
            if is_apart or (units and any(map(arguments_of, alike))):
                self._join(alike)
            elif batches and units and (last := batches.last_of(units)) in in_batches:
                self.of_unit.setdefault(last, []).extend(alike)
            elif len(units) > 1:
                self._join(alike)
            else:
                continue
            for test in alike:
                self.ids.add(test.unique_id)
                for parent in dict.fromkeys(test.depends_on):
                    if parent in nodes:
                        self.by_parent.setdefault(parent, []).append(test)
        self.tests.sort(key=lambda test: test.unique_id)

    def _join(self, tests: list[DbtNode]) -> None:
        joined = _joined(tests)
        self.tests.append(joined)
        self.of_one_task[joined.unique_id] = [test.unique_id for test in tests]


def _of_one_fqn(tests: Iterable[DbtNode]) -> Iterable[list[DbtNode]]:
    """Tests that dbt cannot be told apart, together: generic ones of one ``name`` in one folder, and the unit tests of
    the versions of a model.
    """
    found: dict[tuple[DbtResourceType, str], list[DbtNode]] = {}
    for test in tests:
        name = ".".join(test.fqn) if test.fqn else test.unique_id
        found.setdefault((test.resource_type, name), []).append(test)
    return found.values()


def _joined(tests: list[DbtNode]) -> DbtNode:
    """The first test that has arguments of its own, else the first one, as one that reads what all of them read."""
    first = next(
        (test for test in tests if test.operator_kwargs_to_override or test.profile_config_to_override), tests[0]
    )
    reads = list(dict.fromkeys(each for test in tests for each in test.depends_on))
    return first if len(tests) == 1 else replace(first, depends_on=reads)


def _is_detachable(node: DbtNode) -> bool:
    """Whether it is a test of more than one node, selected or not."""
    return node.resource_type is DbtResourceType.TEST and len(set(node.depends_on)) > 1


class TaskName(msgspec.Struct, frozen=True, kw_only=True):
    """The name of one task.

    :param label: its id within its group.
    :param display: what Airflow shows instead; None: nothing else.
    """

    label: str
    display: str | None = None


def name_of(node: DbtNode, default: str, render: RenderConfig) -> TaskName:
    """The name of the task of a node that has no group of its own.

    :param node: the node.
    :param default: the id that it has without hooks, which is shown where a hook gives another id.
    :param render: has the hooks.
    :raises CosmosValueError: when a hook gives no text, or an id that Airflow refuses; names the hook and the node.
    """
    id_hook, display_hook = render.normalize_task_id, render.normalize_task_display_name
    label, display = default, None
    if id_hook is not None:
        label, display = _answer_of("normalize_task_id", id_hook, node), default
        _refuse_bad_id(label, node)
    if display_hook is not None:
        display = _answer_of("normalize_task_display_name", display_hook, node)
    return TaskName(label=label, display=display)


def project_name(render: RenderConfig, execution: ExecutionConfig, project: ProjectConfig) -> str:
    """The name of a project's folder where the parser sees one, whatever ``project_name`` says: so it is in Cosmos.

    :param render: names the folder as the parser sees it.
    :param execution: names it as tasks see it, which counts where nothing else names the project.
    :param project: names it for both, or gives the name.
    """
    parsed = render.project_path or project.dbt_project_path
    if parsed is not None:
        return folder_name(parsed)
    return project.project_name or (folder_name(execution.project_path) if execution.project_path else "dbt")


def _answer_of(hook: str, function: Callable[..., object], node: DbtNode) -> str:
    answer = function(node)
    if not isinstance(answer, str) or not answer.strip():
        raise CosmosValueError(
            f"RenderConfig.{hook} gave {answer!r} for {node.unique_id}. It must return a text that is not empty; "
            "node.name is what ids are made of without it."
        )
    return answer


def is_airflow_id(text: str) -> bool:
    """Whether Airflow takes the characters of an id.

    :param text: the id.
    """
    return re.fullmatch(_AIRFLOW_ID, text) is not None


def _refuse_bad_id(label: str, node: DbtNode) -> None:
    if not is_airflow_id(label):
        raise CosmosValueError(
            f"RenderConfig.normalize_task_id gave {label!r} for {node.unique_id}. Airflow takes letters, digits, dots, "
            "dashes and underscores in an id; normalize_task_display_name may show anything."
        )
    if len(label) > LONGEST_ID:
        raise CosmosValueError(
            f"RenderConfig.normalize_task_id gave an id of {len(label)} characters for {node.unique_id}, {label!r}. "
            f"Airflow takes {LONGEST_ID}."
        )


class PlanningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of Airflow's configuration and of the DAG for a plan; the planner itself reads none.

    :param groups_by_path: ``enable_hierarchical_naming_for_group_nodes_by_folder``.
    :param uses_models_flag: ``pre_dbt_fusion``: nodes are named by ``--models`` instead of ``--select``.
    :param most_watching: ``watcher_max_tasks``: how many tasks may watch one producer; 0: any number.
    :param is_choosable: whether runs may choose nodes, by params of the DAG.
    :param longest_page: ``task_docs_max_chars``: about how many characters the documentation of a task may have.
    :param has_sql_pages: ``task_docs_compiled_sql``: whether this documentation has the compiled SQL of a model.
    :param docs_base: the URL of the published dbt docs; empty: there are none.
    :param query_adapter: ExecutionMode.AIRFLOW_ASYNC: dbt's name of the adapter; empty in other modes.
    :param has_setup: ``enable_setup_async_task``.
    :param has_teardown: ``enable_teardown_async_task``.
    :param has_sql_store: whether compiled SQL has a place to go to: ``upload_sql_to_xcom`` or ``remote_target_path``.
    """

    groups_by_path: bool = False
    uses_models_flag: bool = False
    most_watching: int = 0
    is_choosable: bool = False
    longest_page: int = 3_000
    has_sql_pages: bool = False
    docs_base: str = ""
    query_adapter: str = ""
    has_setup: bool = True
    has_teardown: bool = True
    has_sql_store: bool = True


class TaskArguments:
    """The arguments of single tasks under one configuration.

    :param nodes: the selected nodes by unique id, tests among them.
    :param render: what is excluded, and how tests and seeds run.
    :param indirect: which tests come with their parents.
    :param operator_args: what the user gives to all tasks; only its ``exclude`` is read.
    :param settings: what Airflow's configuration says of it.
    :param selectors: unique id of each node and test to the text by which dbt selects it alone.
    :param tests_of: unique id of a node to the ids of the tests that dbt would run with it; None: the project may have
        tests that are not known.
    :ivar dropped: names of the arguments that seeds which are only shown have given to their tasks in vain.
    """

    def __init__(
        self,
        nodes: Mapping[str, DbtNode],
        *,
        render: RenderConfig,
        indirect: IndirectTests,
        operator_args: Mapping[str, object],
        settings: PlanningSettings,
        selectors: Mapping[str, str],
        tests_of: Mapping[str, Sequence[str]] | None,
    ) -> None:
        self.dropped: set[str] = set()
        self._tests_of = tests_of
        self._selectors = selectors
        self._nodes = nodes
        texts = Counter(selectors[each] for each, node in nodes.items() if node.resource_type in TESTS)
        self._shared_by_tests = {text for text, number in texts.items() if number > 1}
        self._render = render
        self._selecting = "models" if settings.uses_models_flag else "select"
        self._indirect = indirect
        choice = indirect.choice
        self._mode = {} if choice is TestIndirectSelection.EAGER else {"indirect_selection": choice.value}
        shared: Any = operator_args.get("exclude") or []
        self._shared_exclude: list[str] = shared.split() if isinstance(shared, str) else list(shared)

    def of_node(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of ``dbt run``, ``seed`` and ``snapshot``, of ``dbt source freshness``, and of the ``dbt
        build`` of a function.

        :param node: the node.
        :param given: further arguments of the task, which the node's own ones may replace.
        """
        if node.resource_type is DbtResourceType.SOURCE:
            return self._with_own({"select": self._selectors[node.unique_id], **given}, node)
        if node.resource_type is DbtResourceType.FUNCTION:
            # dbt build would run the tests that call it too.
            given = {**NO_OTHER_TESTS, **given}
        return self._selecting_node(node, given)

    def of_build(
        self, node: DbtNode, given: Mapping[str, Any], test_ids: Sequence[str], apart: Sequence[str]
    ) -> dict[str, Any]:
        """The arguments of ``dbt build``.

        :param node: the node.
        :param given: further arguments of the task, which the node's own ones may replace.
        :param test_ids: unique ids of the tests that run in this task.
        :param apart: unique ids of the tests of the node that run in tasks of their own.
        """
        tests = self._tests_by_name(node, test_ids, apart)
        if tests is None:
            return self._selecting_node(node, {**self._exclude(apart), **self._mode, **given})
        words = " ".join((self._selectors[node.unique_id], *tests))
        return self._with_own({self._selecting: words, **self._exclude(()), **NO_OTHER_TESTS, **given}, node)

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
        # Also where they are None: what all tasks share must not select for this one.
        shared: dict[str, Any] = {"select": None, "models": None, "selector": None}
        return {**shared, "nodes": nodes, **NO_OTHER_TESTS, **owner}

    def of_tests(self, node: DbtNode, test_ids: Sequence[str], apart: Sequence[str]) -> dict[str, Any]:
        """The arguments of the ``dbt test`` behind one node: what its tests say goes over what the node says.

        :param node: the node that is tested.
        :param test_ids: unique ids of the tests that run in this task.
        :param apart: unique ids of the tests of the node that run in tasks of their own.
        """
        tests = self._tests_by_name(node, test_ids, apart)
        if tests is None:
            selected = {"select": self._selectors[node.unique_id], **self._exclude(apart), **self._mode}
        elif not tests:  # an empty selection would be everything
            selected = {"select": self._selectors[node.unique_id], **self._exclude(()), **NO_OTHER_TESTS}
        else:
            selected = {"select": " ".join(tests), **self._exclude(()), **NO_OTHER_TESTS}
        return {
            **selected,
            "emit_datasets": False,
            **arguments_of(node),
            **self._merged(node, test_ids),
            **self.owner_of(node),
        }

    def of_detached(self, test: DbtNode, test_ids: Iterable[str]) -> dict[str, Any]:
        """The arguments of the ``dbt test`` of one test alone, or of the tests of one fqn.

        :param test: the test, or the first of them.
        :param test_ids: unique ids of all of them.
        """
        return {
            "select": " ".join(dict.fromkeys(self._selectors[each] for each in test_ids)),
            **self._exclude(()),
            **NO_OTHER_TESTS,
            "emit_datasets": False,
            **arguments_of(test),
            **self.owner_of(test),
        }

    @property
    def names_all_tests(self) -> bool:
        """Whether the task of AFTER_ALL names each test: dbt would also run tests that are not known.

        Where a selection takes tests in another mode than EAGER, dbt decides which.
        """
        has_selection = self._render.select or self._render.exclude
        return self._tests_of is None and not (has_selection and self._mode)

    def of_all_tests(self, test_ids: Sequence[str]) -> dict[str, Any]:
        """The arguments of the one ``dbt test`` of AFTER_ALL.

        :param test_ids: unique ids of the selected tests.
        """
        # Also where they are None: what all tasks share must not select for this one.
        if self.names_all_tests:
            first = next(iter(self._nodes))  # an empty selection would be everything
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
        """The arguments of a task that runs nothing: of what the node says, only how it is shown is of use.

        :param node: the node.
        :param given: further arguments of the task, which the node's own ones may replace.
        """
        said = arguments_of(node)
        shown = {key: value for key, value in said.items() if key == "task_display_name"}
        if node.resource_type is DbtResourceType.SEED:
            self.dropped |= said.keys() - shown.keys()
        # A source has no owner in Cosmos; other placeholders have.
        owner = {} if node.resource_type is DbtResourceType.SOURCE else self.owner_of(node)
        return {**given, **shown, **owner}

    def owner_of(self, node: DbtNode) -> dict[str, str]:
        """The node's owner as an argument of its task; empty where none counts.

        :param node: the node.
        """
        owner = node.owner if self._render.enable_owner_inheritance else ""
        return {"owner": owner} if owner else {}

    def _selecting_node(self, node: DbtNode, given: Mapping[str, Any]) -> dict[str, Any]:
        return self._with_own({self._selecting: self._selectors[node.unique_id], **given}, node)

    def _with_own(self, given: Mapping[str, Any], node: DbtNode) -> dict[str, Any]:
        # The node's own arguments last: so they replace what the DAG gives, as in Cosmos.
        return {**given, **arguments_of(node), **self.owner_of(node)}

    def dbt_adds(self, node: DbtNode, test_ids: Sequence[str], apart: Sequence[str]) -> bool:
        """Whether dbt itself takes the right tests with a node; else it is told their names.

        dbt would run other tests than planned where the selection has left some out, where the project may have tests
        that are not known, and where a text has more than one criterion: dbt adds the tests to the nodes of each
        criterion before it intersects them.

        :param node: the node.
        :param test_ids: unique ids of the tests that run in the task.
        :param apart: unique ids of the tests of the node that do not.
        """
        if self._tests_of is None or any("," in self._selectors[each] for each in (node.unique_id, *apart)):
            return False
        added = self._indirect.of([node.unique_id], self._tests_of.get(node.unique_id, []))
        return {*added} - {*apart} == {*test_ids}

    def _tests_by_name(self, node: DbtNode, test_ids: Sequence[str], apart: Sequence[str]) -> list[str] | None:
        """The texts by which dbt is told the tests of a task; None where dbt itself takes the right ones with the node.

        Tests of one text are told apart by the node that they read.
        """
        if self.dbt_adds(node, test_ids, apart):
            return None
        reads_node = readers_of(self._selectors[node.unique_id])
        texts = dict.fromkeys(self._selectors[each] for each in test_ids)
        return [f"{text},{reads_node}" if text in self._shared_by_tests else text for text in texts]

    def runs_only_changed(self, node: DbtNode) -> bool:
        """Whether the task is told to run only if its seed has changed.

        :param node: the node.
        """
        return (
            node.resource_type is DbtResourceType.SEED
            and self._render.seed_rendering_behavior is SeedRenderingBehavior.WHEN_SEED_CHANGES
        )

    def _exclude(self, apart: Iterable[str]) -> dict[str, str]:
        """The user's exclusions for all tasks, then those of the DAG: an excluded test must not run after all."""
        own = [*self._render.exclude, *(self._selectors[each] for each in apart)]
        return {"exclude": " ".join(dict.fromkeys([*self._shared_exclude, *own]))} if own else {}

    def _merged(self, node: DbtNode, test_ids: Iterable[str]) -> dict[str, Any]:
        """The arguments that the tests of one task give to it; the last one wins, as in Cosmos."""
        merged: dict[str, Any] = {}
        for test_id in test_ids:
            for key, value in arguments_of(self._nodes[test_id]).items():
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


def arguments_of(node: DbtNode) -> dict[str, Any]:
    """The arguments that ``config.meta.cosmos.operator_kwargs`` of a node gives to its task.

    :param node: the node.
    :raises CosmosLoadDbtException: when it is no mapping, or sets what a node cannot.
    """
    arguments = node.operator_kwargs_to_override
    for name in OF_THE_PLAN & arguments.keys():
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets {name}, which is decided for each task by the "
            "project. Drop it; task_display_name changes what is shown."
        )
    if "profile_config" in arguments:
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs sets profile_config. Write it beside "
            "operator_kwargs, as config.meta.cosmos.profile_config."
        )
    if not isinstance(arguments.get("extra_context") or {}, Mapping):
        raise CosmosLoadDbtException(
            f"{node.unique_id}: config.meta.cosmos.operator_kwargs.extra_context={arguments['extra_context']!r} must "
            "be a mapping."
        )
    return arguments
