"""The plan of a DAG: its tasks, groups, conversions and edges, as plain data that can be printed, compared and kept.

They are structs and not dataclasses: a worker creates these classes anew for each task, in a sixtieth of the time. A
plan of thousands of tasks is written and read without conversion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import msgspec

from cosmos_venv.constants import TEARDOWNS, DbtResourceType

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

EMPTY = "empty"
"""The operator of a task that runs nothing and only holds a place in the DAG."""

READY = "operators.domain_ready.DbtDomainReadyOperator"
"""The operator of a task for which the DAG of another domain waits."""

Edge = tuple[str, str]
"""The upstream key and the downstream key."""

# Airflow skips a task with this rule where the one task before it was skipped, or is upstream_failed.
_DONE_OR_FAILED = "one_done"


class PlannedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group of tasks: a folder, or a node with its tests.

    :param group_id: its id below the root: ``models.marts.port_calls``.
    :param label: its id within its parent: ``port_calls``.
    :param parent: id of the group that it stands in; None: at the root.
    """

    group_id: str
    label: str
    parent: str | None


class PlannedTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task.

    :param task_id: its id below the root, the group's id in front: ``port_calls.run``.
    :param group: id of the group that it stands in, below the root; None: at the root.
    :param folder: id of the folder's group that its node stands in, where nodes are grouped by folder: ``group``, or
        the group around it.
    :param node_id: dbt's unique id; None for the one test task of AFTER_ALL, and for a batch.
    :param operator: import path below the package, or ``empty``.
    :param arguments: the operator's own arguments, JSON-like; they replace the arguments that all tasks share.
    :param defaults: the operator's default arguments, JSON-like; the arguments that all tasks share replace them.
    :param profile: what the node changes of the profile configuration for this task.
    :param context: what the task's context says of the node, JSON-like.
    :param document: the text of the task's docs, unless the user writes docs for it.
    """

    task_id: str
    group: str | None = None
    folder: str | None = None
    node_id: str | None = None
    operator: str
    arguments: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    profile: dict[str, Any] = {}
    context: dict[str, Any] = {}
    document: str = ""

    @property
    def key(self) -> str:
        """The id of the task in edges."""
        return self.task_id

    @property
    def label(self) -> str:
        """The id within the group, as Airflow takes it for a task in a group."""
        return self.task_id[len(self.group) + 1 :] if self.group else self.task_id

    @property
    def is_placeholder(self) -> bool:
        """Whether the task runs nothing and only holds a place in the DAG."""
        return self.operator == EMPTY

    @property
    def is_passage(self) -> bool:
        """Whether ``passage_behind`` has made the task."""
        return self.is_placeholder and self.arguments.get("trigger_rule") == _DONE_OR_FAILED


def end_task(task_id: str) -> PlannedTask:
    """A task that runs nothing, and fails where a task right before it has failed.

    It is skipped if all tasks before it are: a skipped group must skip the tasks behind the group.

    :param task_id: its id.
    """
    return PlannedTask(task_id=task_id, operator=EMPTY, arguments={"trigger_rule": "none_failed_min_one_success"})


def passage_behind(task: PlannedTask) -> PlannedTask:
    """The task between a node with ``on_error: continue`` and the children of the node.

    It runs nothing, and succeeds where the node has succeeded or failed. So the children can have Airflow's rule
    ``all_success``: as in dbt, they need the success of the node's parents and of their own other parents.

    :param task: the task that runs the node.
    """
    return PlannedTask(
        task_id=f"{task.task_id}_on_error",
        group=task.group,
        folder=task.folder,
        operator=EMPTY,
        arguments={"trigger_rule": _DONE_OR_FAILED},
    )


class PlannedConversion(msgspec.Struct, frozen=True, kw_only=True):
    """One task or group that a converter of the user's makes, under an id that only the converter knows.

    :param key: its id in edges and in ``tasks_map``; no id of Airflow's.
    :param group: id of the group that it stands in, below the root; None: at the root.
    :param node_id: unique id of the node to convert, or of the node whose tests are converted; None for the one test
        task of AFTER_ALL.
    :param resource_type: the key in ``RenderConfig.node_converters``.
    :param task_id: the ``task_id`` that the converter gets.
    """

    key: str
    group: str | None = None
    node_id: str | None = None
    resource_type: str
    task_id: str

    @property
    def label(self) -> str:
        """The name that people read; it is no id."""
        return self.task_id


def conversion_of(node: DbtNode, kind: DbtResourceType, group: str | None, task_id: str) -> PlannedConversion:
    """The conversion of a node, or of its tests.

    :param node: the node.
    :param kind: the type that the converter is for.
    :param group: id of the group that it stands in, below the root; None: at the root.
    :param task_id: the ``task_id`` that the converter gets.
    """
    is_test_of_another = kind is DbtResourceType.TEST and node.resource_type is not DbtResourceType.TEST
    return PlannedConversion(
        key=f"{node.unique_id}:test" if is_test_of_another else node.unique_id,
        group=group,
        node_id=node.unique_id,
        resource_type=kind.value,
        task_id=task_id,
    )


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks of a dbt project and their order.

    :param tasks: in topological order.
    :param groups: sorted by id, so that each comes after its parent.
    :param conversions: what converters make, in topological order.
    :param edges: pairs of upstream and downstream keys, sorted: task ids, and keys of conversions.
    :param tasks_map: by the unique id of each node that has tasks: the id of its group, else of its task, else the key
        of its conversion. The one test task of AFTER_ALL is there too, under its default id.
    """

    tasks: tuple[PlannedTask, ...]
    groups: tuple[PlannedGroup, ...]
    conversions: tuple[PlannedConversion, ...] = ()
    edges: tuple[Edge, ...]
    tasks_map: dict[str, str]

    @property
    def outer(self) -> dict[str, str]:
        """By the key of each task and conversion: the id of its node's own group, else the key itself."""
        own_groups = {*self.tasks_map.values()}
        entries: tuple[Entry, ...] = (*self.tasks, *self.conversions)
        return {each.key: each.group if each.group and each.group in own_groups else each.key for each in entries}

    def between(self, first: PlannedTask | None, last: PlannedTask | None) -> Plan:
        """The plan with a task before all of its tasks, and a task behind all of them.

        A teardown task begins when all tasks have ended, so it comes right behind each task: Airflow marks a task
        upstream_failed as soon as one task before it has failed, while others run.

        :param first: the task before all others, conversions too; None: no task is added there.
        :param last: the task behind all others, conversions too; None: no task is added there.
        """
        edges = {*self.edges}
        if first is not None:
            edges |= {(first.task_id, each) for each in self._without_edge(1)}
        if last is not None:
            befores = self._keys() if last.task_id in TEARDOWNS else self._without_edge(0)
            edges |= {(each, last.task_id) for each in befores}
        if first is not None and last is not None:
            edges.add((first.task_id, last.task_id))
        return msgspec.structs.replace(
            self,
            tasks=(*([first] if first else []), *self.tasks, *([last] if last else [])),
            edges=tuple(sorted(edges)),
        )

    def _keys(self) -> list[str]:
        entries: tuple[Entry, ...] = (*self.tasks, *self.conversions)
        return [each.key for each in entries]

    def _without_edge(self, end: int) -> list[str]:
        """The keys of tasks that are the upstream end (0) or the downstream end (1) of no edge.

        An edge to a conversion does not count for a task: a converter may make nothing.
        """
        converted = {each.key for each in self.conversions}
        joined = {edge[end] for edge in self.edges if edge[1 - end] not in converted or edge[end] in converted}
        return [each for each in self._keys() if each not in joined]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-like data."""
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return data


Entry = Union[PlannedTask, PlannedConversion]  # noqa: UP007 - as Member


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A group and its members.

    :param group: the group.
    :param members: tasks, conversions and branches, in the order of the plan.
    """

    group: PlannedGroup
    members: tuple[Member, ...]

    @property
    def key(self) -> str:
        """The id of the group, as in the edges of conversions."""
        return self.group.group_id

    @property
    def label(self) -> str:
        """The id of the group within its parent."""
        return self.group.label


Member = Union[Branch, PlannedTask, PlannedConversion]  # noqa: UP007 - it is made while Python 3.10 reads the file


def outline(plan: Plan) -> list[Member]:
    """The root's tasks, conversions and branches, each where its first task stands.

    Conversions come after the tasks beside them; empty groups come last.

    :param plan: the plan.
    """
    entries: tuple[Entry, ...] = (*plan.tasks, *plan.conversions)
    inside: dict[str | None, list[tuple[int, Member]]] = {}
    for number, entry in enumerate(entries):
        inside.setdefault(entry.group, []).append((number, entry))
    for group in reversed(plan.groups):  # inner groups first, so the members of each group are known
        members = sorted(inside.pop(group.group_id, []), key=itemgetter(0))
        place = members[0][0] if members else len(entries)
        branch = Branch(group=group, members=tuple(member for _, member in members))
        inside.setdefault(group.parent, []).append((place, branch))
    return [member for _, member in sorted(inside.get(None, []), key=itemgetter(0))]


def upstream_of(plan: Plan) -> dict[str, list[str]]:
    """The keys of the direct upstream entries, by the key of each task or conversion that has any.

    :param plan: the plan.
    """
    found: dict[str, list[str]] = {}
    for before, after in plan.edges:
        found.setdefault(after, []).append(before)
    return found


def kind_of(entry: Entry) -> str:
    """The kind of an entry in a few words: the class of its operator, ``empty``, or the converter that makes it.

    :param entry: a task or a conversion.
    """
    if isinstance(entry, PlannedConversion):
        return f"by the converter of {entry.resource_type}" + (f" for {entry.node_id}" if entry.node_id else "")
    return entry.operator.rpartition(".")[2]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that one command builds.

    :param name: the text that the id of its task is made of.
    :param unit: its number among the units of the plan.
    :param members: unique ids in dbt's order.
    """

    name: str
    unit: int
    members: tuple[str, ...]


class Batches(msgspec.Struct, frozen=True, kw_only=True):
    """All batches of a plan, and the order of all nodes that have tasks.

    :param batches: in the order of their first nodes.
    :param unit_of: unique id of each rendered node to the number of its unit. A unit is a batch, or a node in no batch.
    :param before: for each unit a set of bits: all units upstream of it, direct or not.
    """

    batches: tuple[Batch, ...]
    unit_of: dict[str, int]
    before: tuple[int, ...]

    @property
    def members(self) -> frozenset[str]:
        """The unique ids of all nodes that are in a batch."""
        return frozenset(each for batch in self.batches for each in batch.members)

    def units_of(self, unique_ids: Iterable[str]) -> list[int]:
        """The units of nodes, each once; a node that is not rendered has none.

        :param unique_ids: ids of nodes, such as the parents of a test.
        """
        return list(dict.fromkeys(self.unit_of[each] for each in unique_ids if each in self.unit_of))

    def last_of(self, units: Collection[int]) -> int | None:
        """The unit that comes after all others; None where there is no such unit.

        :param units: numbers of units.
        """
        for each in units:
            if all(other == each or self.before[each] >> other & 1 for other in units):
                return each
        return None


class ReadyTask(NamedTuple):
    """A task that tells the DAG of another domain that nodes have been built.

    :param task_id: its id.
    :param uri: of the asset that it updates.
    :param nodes: unique ids of the nodes that must have been built.
    """

    task_id: str
    uri: str
    nodes: tuple[str, ...]


class PlannedNode(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that one node became, or the nodes of a batch.

    :param owner: its name in errors: the unique id of the node, or words.
    :param depends_on: unique ids of the nodes that it reads.
    :param entries: the tasks in a row, or what a converter makes of them: edges enter at the first one and leave at the
        last one.
    :param group: id of the node's own group; None: it has none.
    :param folder: id of the folder's group around that; None: it stands at the root.
    """

    owner: str
    depends_on: Iterable[str] = ()
    entries: tuple[Entry, ...]
    group: str | None = None
    folder: str | None = None

    @property
    def outer(self) -> str:
        """The node's group, else its first task."""
        return self.group or self.entries[0].key

    @property
    def ids(self) -> Iterator[str]:
        """Every id of Airflow's that it uses: those of converted tasks are not known."""
        if self.group is not None:
            yield self.group
        for each in self.entries:
            if isinstance(each, PlannedTask):
                yield each.task_id
