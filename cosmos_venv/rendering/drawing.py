"""Which tasks does one node become?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cosmos_venv.config import ExecutionConfig, RenderConfig
from cosmos_venv.constants import DbtResourceType, TestBehavior
from cosmos_venv.project.node import DbtNode
from cosmos_venv.rendering.described import context_of_node, context_of_tests, document_of_node
from cosmos_venv.rendering.detached import DetachedTests, selector_of
from cosmos_venv.rendering.folders import Folders
from cosmos_venv.rendering.look import VERBS, Look, Looks
from cosmos_venv.rendering.names import LONGEST_ID, TaskName, name_of
from cosmos_venv.rendering.own_arguments import OwnArguments
from cosmos_venv.rendering.planned import EMPTY, PlannedConversion, PlannedTask

logger = logging.getLogger(__name__)

# They run with the nodes that they read and are missed by nobody.
_TESTS = (DbtResourceType.TEST, DbtResourceType.UNIT_TEST)

Entry = PlannedTask | PlannedConversion


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What one node became.

    :param node: None for the one test task of AFTER_ALL.
    :param first: where edges enter, a task or something converted; ``last``: where they leave.
    :param group: id of the node's own group; None: it has none.
    :param folder: id of the folder's group around that; None: it stands at the root.
    """

    node: DbtNode | None
    first: Entry
    last: Entry
    group: str | None = None
    folder: str | None = None

    @property
    def outer(self) -> str:
        """The node's group, else its task."""
        return self.group or id_of(self.first)

    @property
    def depends_on(self) -> Iterable[str]:
        return dict.fromkeys(self.node.depends_on) if self.node is not None else ()

    @property
    def ids(self) -> Iterator[str]:
        """Every id of Airflow's that it uses: those of converted tasks are not known."""
        if self.group is not None:
            yield self.group
        for each in self.entries:
            if isinstance(each, PlannedTask):
                yield each.task_id

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (self.first,) if self.first is self.last else (self.first, self.last)


def id_of(entry: Entry) -> str:
    """What edges call it."""
    return entry.key if isinstance(entry, PlannedConversion) else entry.task_id


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a node's own task stands: ``group`` is its own group if it has one, else that of its folder."""

    folder: str | None
    group: str | None

    def id_of(self, label: str) -> str:
        return f"{self.group}.{label}" if self.group else label


class Drawing:
    """Draws the nodes of one selection under one configuration.

    :ivar folders: the groups of the folders; None where nodes are not grouped by folder.
    :ivar left_out: how many nodes of each type have no task because this type never has one.
    """

    def __init__(
        self,
        nodes: Mapping[str, DbtNode],
        *,
        tests_per_model: Mapping[str, list[str]],
        render: RenderConfig,
        execution: ExecutionConfig,
        arguments: OwnArguments,
        folders: Folders | None,
    ) -> None:
        self.folders = folders
        self.left_out: Counter[DbtResourceType] = Counter()
        self.detached = DetachedTests(nodes, render)
        self._tests_per_model = tests_per_model
        self._render = render
        self._arguments = arguments
        self._looks = Looks(render, nodes)
        self._converters = {DbtResourceType(kind) for kind in render.node_converters or ()}
        mode = execution.execution_mode.value
        self._operator = f"operators.{mode}.Dbt{{}}{mode.title().replace('_', '')}Operator"

    def draw(self, node: DbtNode) -> Drawn | None:
        """The node's tasks; None when it has none. Tests are not drawn one by one but for detached ones."""
        kind = node.resource_type
        if kind is DbtResourceType.TEST:
            return None
        look = self._looks.of(node)
        if look is Look.NOTHING:
            return self._draw_hidden(node)
        folder = self._folder_of(node)
        if self._render.test_behavior is TestBehavior.AFTER_EACH and node.has_non_detached_test:
            place = _Place(folder=folder, group=f"{folder}.{node.name}" if folder else node.name)
            return self._draw_group(node, place, look)
        entry = self._single(node, _Place(folder=folder, group=folder), look)
        return Drawn(node=node, first=entry, last=entry)

    def draw_detached(self) -> dict[str, Drawn]:
        """The tests that run apart, by unique id. Names that are too long are counted, in this order."""
        drawn, shortened = {}, 0
        for test in self.detached.tests:
            place = _Place(folder=(folder := self._folder_of(test)), group=folder)
            label = f"{selector_of(test)}_test"
            if len(place.id_of(label)) >= LONGEST_ID:
                label, shortened = f"detached_{shortened}_test", shortened + 1
            entry = self._detached_test(test, place, label)
            drawn[test.unique_id] = Drawn(node=test, first=entry, last=entry)
        return drawn

    def draw_test_after_all(self, project_name: str) -> Drawn:
        """The one task of all tests, at the root."""
        task_id = f"{project_name}_test"
        entry: Entry
        if DbtResourceType.TEST in self._converters:
            entry = PlannedConversion(key=task_id, resource_type=DbtResourceType.TEST.value, task_id=task_id)
        else:
            operator, arguments = self._operator.format("Test"), self._arguments.of_all_tests()
            entry = PlannedTask(task_id=task_id, operator=operator, arguments=arguments)
        return Drawn(node=None, first=entry, last=entry)

    def _folder_of(self, node: DbtNode) -> str | None:
        return self.folders.group_of(node.original_file_path.parent) if self.folders else None

    def _draw_hidden(self, node: DbtNode) -> Drawn | None:
        """A converter is asked for what would have no task, too."""
        kind = node.resource_type
        if kind in self._converters:
            entry = _converted(node, kind, self._folder_of(node), f"{node.name}_{kind.value}")
            return Drawn(node=node, first=entry, last=entry)
        if kind not in VERBS and kind not in _TESTS:
            self.left_out[kind] += 1
        return None

    def _draw_group(self, node: DbtNode, place: _Place, look: Look) -> Drawn:
        verb, is_converted = VERBS[node.resource_type][1], node.resource_type in self._converters
        if is_converted and self._render.node_conversion_by_task_group:
            entry = _converted(node, node.resource_type, place.folder, verb)
            return Drawn(node=node, first=entry, last=entry)
        first: Entry
        if is_converted:
            first = _converted(node, node.resource_type, place.group, verb)
        else:
            first = self._task(node, place, look, TaskName(label=verb))
        return Drawn(node=node, first=first, last=self._tests(node, place), group=place.group, folder=place.folder)

    def _single(self, node: DbtNode, place: _Place, look: Look) -> Entry:
        suffix = VERBS[node.resource_type][1]
        if self._is_build(node, look):
            suffix = f"{node.resource_type.value}_build"
        name = name_of(node, f"{node.name}_{suffix}", self._render)
        if node.resource_type in self._converters:
            return _converted(node, node.resource_type, place.group, name.label)
        return self._task(node, place, look, name)

    def _is_build(self, node: DbtNode, look: Look) -> bool:
        if self._render.test_behavior is not TestBehavior.BUILD or node.resource_type is DbtResourceType.SOURCE:
            return False
        return look is Look.TASK or node.resource_type is not DbtResourceType.SEED

    def _task(self, node: DbtNode, place: _Place, look: Look, name: TaskName) -> PlannedTask:
        given = {"task_display_name": name.display} if name.display is not None else {}
        task_id = place.id_of(name.label)
        if look is Look.PLACEHOLDER:
            return PlannedTask(
                task_id=task_id,
                group=place.group,
                folder=place.folder,
                node_id=node.unique_id,
                operator=EMPTY,
                arguments=self._arguments.of_placeholder(node, given),
            )
        prefix = VERBS[node.resource_type][0]
        if self._is_build(node, look):
            prefix, arguments = "Build", self._arguments.of_build(node, given, self.detached.names_of(node))
        elif node.resource_type is DbtResourceType.SOURCE:
            arguments = self._arguments.of_source(node, given)
        else:
            arguments = self._arguments.of_node(node, given)
        return PlannedTask(
            task_id=task_id,
            group=place.group,
            folder=place.folder,
            node_id=node.unique_id,
            operator=self._operator.format(prefix),
            arguments=arguments,
            profile=node.profile_config_to_override,
            context=context_of_node(node, runs_only_changed=self._arguments.runs_only_changed(node)),
            document=document_of_node(node),
        )

    def _tests(self, node: DbtNode, place: _Place) -> Entry:
        if DbtResourceType.TEST in self._converters:
            return _converted(node, DbtResourceType.TEST, place.group, "test")
        test_ids = self.detached.without(self._tests_per_model.get(node.unique_id, ()))
        return PlannedTask(
            task_id=place.id_of("test"),
            group=place.group,
            folder=place.folder,
            node_id=node.unique_id,
            operator=self._operator.format("Test"),
            arguments=self._arguments.of_tests(node, test_ids, self.detached.names_of(node)),
            profile=node.profile_config_to_override,
            context=context_of_tests(node),
        )

    def _detached_test(self, test: DbtNode, place: _Place, label: str) -> Entry:
        if DbtResourceType.TEST in self._converters:
            return _converted(test, DbtResourceType.TEST, place.group, label)
        return PlannedTask(
            task_id=place.id_of(label),
            group=place.group,
            folder=place.folder,
            node_id=test.unique_id,
            operator=self._operator.format("Test"),
            arguments=self._arguments.of_detached(test),
            profile=test.profile_config_to_override,
            context=context_of_tests(test),
        )


def _converted(node: DbtNode, kind: DbtResourceType, group: str | None, task_id: str) -> PlannedConversion:
    is_test_of_another = kind is DbtResourceType.TEST and node.resource_type is not DbtResourceType.TEST
    return PlannedConversion(
        key=f"{node.unique_id}:test" if is_test_of_another else node.unique_id,
        group=group,
        node_id=node.unique_id,
        resource_type=kind.value,
        task_id=task_id,
    )
