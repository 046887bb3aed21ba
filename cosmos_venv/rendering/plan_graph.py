"""The groups, edges and order of a plan. Tasks stand in the same order in every process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.config import RenderConfig
from cosmos_venv.constants import (
    BATCH_CONFIG,
    ON_ERROR_DONE_TASK_ID,
    ON_RUN_END,
    ON_RUN_END_DONE_TASK_ID,
    ON_RUN_START,
    RUN_SUMMARY_TASK_ID,
    SELECT_TASK_ID,
    TESTS,
)
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.project.node import as_id
from cosmos_venv.rendering.model import (
    READY,
    Edge,
    Plan,
    PlannedConversion,
    PlannedGroup,
    PlannedNode,
    PlannedTask,
    end_task,
)
from cosmos_venv.rendering.task_arguments import LONGEST_ID, NOTHING_ELSE, is_airflow_id

if TYPE_CHECKING:
    from cosmos_venv.project.node import DbtNode

_NAMING = (
    "RenderConfig.normalize_task_id names the tasks of nodes without a group, and a callable batch_by names batches"
)

# dbt run-operation knows no flags of commands that run nodes. A hook updates none of the assets of the shared outlets.
_OF_HOOKS = {
    **NOTHING_ELSE,
    **dict.fromkeys(("indirect_selection", "state", "dbt_cmd_flags", "run_artifacts", "outlets")),
    **dict.fromkeys(("defer_to_state", "favor_state", "push_node_rows"), False),
}


class FolderGroups:
    """A group for each folder that a node's file lies in.

    :param folders: the folders, relative to the project or to their package.
    :param by_path: whether a folder is identified by its whole path; else by its bare name, as in Cosmos. Then all
        folders of one name share the group of the first of them, in the order of paths.
    """

    def __init__(self, folders: Iterable[Path], *, by_path: bool) -> None:
        self.parents: dict[str, str | None] = {}
        """By the id of each group: the id of the group around it. Each group comes after its parent."""
        self._by_path = by_path
        self._known: dict[str, str] = {}
        # In the order of paths and not of nodes: dbt writes the same project in more than one order.
        self._groups = {folder: self._make(folder) for folder in sorted(set(folders))}

    def group_of(self, folder: Path) -> str | None:
        """Id of the group of a folder; None for the project's own folder.

        :param folder: one of the folders that the groups were made of.
        """
        return self._groups[folder]

    def _make(self, folder: Path) -> str | None:
        parent: str | None = None
        for part in folder.parts:
            label = as_id(part)
            group_id = f"{parent}.{label}" if parent else label
            known = self._known.setdefault(group_id if self._by_path else label, group_id)
            if known == group_id:
                self.parents.setdefault(group_id, parent)
            parent = known
        return parent


def in_order(ids: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """Ids in topological order. Ids that become free in the same step are sorted by name.

    :param ids: the ids, each once.
    :param edges: pairs of upstream and downstream id.
    :raises CosmosLoadDbtException: when there is a cycle; the text names its ids. A hand-made manifest may have one.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(ids, ()))
    for before, after in edges:
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists each id before the one that needs it, the first one again at the end.
        raise CosmosLoadDbtException(
            f"The nodes depend on each other in a circle: {' -> '.join(error.args[1])}. Write the manifest anew."
        ) from error
    ordered: list[str] = []
    while sorter.is_active():
        free = sorted(sorter.get_ready())
        ordered += free
        sorter.done(*free)
    return ordered


class Assembly:
    """The plan of one project, edge by edge.

    :param planned: the tasks of each node, by its unique id.
    :param end: the one test task of AFTER_ALL, behind all leaves; None: there is none.
    :param folders: the groups of folders; None: nodes are not grouped by folder.
    """

    def __init__(
        self, planned: Mapping[str, PlannedNode], *, end: PlannedNode | None, folders: FolderGroups | None
    ) -> None:
        self._planned = planned
        # All nodes of a batch share one PlannedNode.
        self._each_once = list({id(each): each for each in planned.values()}.values())
        self._everything = [*self._each_once, *([end] if end is not None else [])]
        self._end = end
        self._folders = folders
        self._edges: set[Edge] = set()

    def plan(self) -> Plan:
        """The plan.

        :raises CosmosLoadDbtException: when two nodes would have one id, or nodes depend on each other in a circle.
        :raises CosmosValueError: when an id is too long for Airflow.
        """
        self._refuse_bad_ids()
        self._join_all()
        entries = {entry.key: entry for each in self._everything for entry in each.entries}
        ordered = [entries[each] for each in in_order(entries, self._edges)]
        outers = {unique_id: each.outer for unique_id, each in self._planned.items()}
        if self._end is not None:
            outers[self._end.outer] = self._end.outer
        return Plan(
            tasks=tuple(each for each in ordered if isinstance(each, PlannedTask)),
            groups=self._groups(),
            conversions=tuple(each for each in ordered if isinstance(each, PlannedConversion)),
            edges=tuple(sorted(self._edges)),
            tasks_map=dict(sorted(outers.items())),
        )

    def _join_all(self) -> None:
        """Draw the edges between parents and children that both have tasks. A node without a task connects nothing."""
        parents = set()
        ready = [each for each in self._each_once if _is_ready(each)]
        for child in self._each_once:
            for before, after in pairwise(child.entries):
                self._edges.add((before.key, after.key))
            for parent in dict.fromkeys(child.depends_on):
                if parent in self._planned:
                    parents |= set() if child in ready else {parent}
                    self._join_nodes(self._planned[parent], child)
        if self._end is not None:
            for unique_id, each in self._planned.items():
                if unique_id not in parents and each not in ready:
                    self._join_nodes(each, self._end)
            for each in ready:  # the tests of all nodes come before the DAG of another domain
                self._join_nodes(self._end, each)

    def _join_nodes(self, parent: PlannedNode, child: PlannedNode) -> None:
        if parent is child:  # two nodes of a batch
            return
        lasts = parent.entries[-1:]
        if _is_ready(child) and any(isinstance(each, PlannedTask) and each.is_passage for each in parent.entries):
            # Nodes of another domain that read this node do not run where it has failed.
            lasts = tuple(each for each in parent.entries if not (isinstance(each, PlannedTask) and each.is_passage))
        self._edges |= {(last.key, child.entries[0].key) for last in lasts}

    def _groups(self) -> tuple[PlannedGroup, ...]:
        parents = dict(self._folders.parents) if self._folders is not None else {}
        for each in self._each_once:
            if each.group is not None:
                parents[each.group] = each.folder
        return tuple(
            PlannedGroup(
                group_id=group_id,
                label=group_id[len(parent) + 1 :] if (parent := parents[group_id]) else group_id,
                parent=parent,
            )
            for group_id in sorted(parents)
        )

    def _refuse_bad_ids(self) -> None:
        """Refuse equal ids, and ids that Airflow refuses: its tasks and groups have one name space. Here the error can
        still name the nodes.
        """
        owners = {group_id: f"the folder {group_id}" for group_id in (self._folders.parents if self._folders else ())}
        for each in self._everything:
            for used in each.ids:
                other = owners.setdefault(used, each.owner)
                if other != each.owner:
                    raise CosmosLoadDbtException(
                        f"{other} and {each.owner} would both become {used!r}. Leave one out with "
                        "RenderConfig.exclude, give each package a DbtTaskGroup of its own with RenderConfig.select, "
                        f"or rename one of them: {_NAMING}."
                    )
                _refuse_bad_id(used, each.owner)


def _is_ready(node: PlannedNode) -> bool:
    """Whether it is the task for which the DAG of another domain waits."""
    entry = node.entries[0]
    return isinstance(entry, PlannedTask) and entry.operator == READY


def with_end_of_failed(plan: Plan) -> Plan:
    """A plan with a task behind all others that fails the run where a node has failed and its children have succeeded.

    :param plan: of nodes; a plan without ``on_error: continue`` stays as it is.
    """
    passages = {task.task_id for task in plan.tasks if task.is_passage}
    if not passages:
        return plan
    done = end_task(ON_ERROR_DONE_TASK_ID)
    edges = {(before, done.task_id) for before, after in plan.edges if after in passages}
    ended = plan.between(None, done)
    return msgspec.structs.replace(ended, edges=tuple(sorted({*ended.edges, *edges})))


def with_tasks_of_run(plan: Plan, nodes: Mapping[str, DbtNode], render: RenderConfig, operator: str) -> Plan:
    """A plan with the tasks around all other tasks: the tasks of hooks, and a task that reports the results.

    :param plan: a whole plan; a plan without tasks that run dbt stays as it is.
    :param nodes: the selected nodes by unique id, tests among them.
    :param render: which of these tasks there are, and whether owners are notified.
    :param operator: as ``PlanRequest.operator_pattern``.
    """
    # Neither the task that evaluates the selection of a run, nor one for which another DAG waits, builds anything.
    running = {
        task.task_id: _what_runs(task)
        for task in plan.tasks
        if not task.is_placeholder and task.task_id != SELECT_TASK_ID and task.operator != READY
    }
    if not running:
        return plan
    if render.run_hooks_once:
        hooks = [
            PlannedTask(
                task_id=each, operator=operator.format("Hooks"), arguments={"macro_name": each, **_OF_HOOKS, **own}
            )
            for each, own in ((ON_RUN_START, {}), (ON_RUN_END, {"task_nodes": running}))
        ]
        done = end_task(ON_RUN_END_DONE_TASK_ID)
        ended = plan.between(None, done)
        edges = {*ended.edges, *plan.between(*hooks).edges, (ON_RUN_END, done.task_id)}
        plan = msgspec.structs.replace(ended, tasks=(hooks[0], *plan.tasks, hooks[1], done), edges=tuple(sorted(edges)))
    if not render.has_last_task:
        return plan
    arguments: dict[str, Any] = {"task_nodes": running}
    if render.notify_owners:
        arguments["owners"] = {each: owner for each in nodes if (owner := _owner_of(each, nodes))}
    reporting = "operators.run_summary.DbtRunSummaryOperator"
    return plan.between(None, PlannedTask(task_id=RUN_SUMMARY_TASK_ID, operator=reporting, arguments=arguments))


def _owner_of(unique_id: str, nodes: Mapping[str, DbtNode]) -> str:
    """The owner of a node; of a test without one, the owner of the first node that it tests and that has one."""
    node = nodes[unique_id]
    if node.owner or node.resource_type not in TESTS:
        return node.owner
    return next((nodes[each].owner for each in node.depends_on if each in nodes and nodes[each].owner), "")


def _what_runs(task: PlannedTask) -> str | list[str]:
    if BATCH_CONFIG in task.context:
        return [*task.context[BATCH_CONFIG]["nodes"]]
    if task.node_id is None:
        return "all tests" if ".DbtTest" in task.operator else f"all nodes of {task.task_id}"
    is_test_of_another = ".DbtTest" in task.operator and not task.node_id.startswith(("test.", "unit_test."))
    return f"tests of {task.node_id}" if is_test_of_another else task.node_id


def _refuse_bad_id(used: str, owner: str) -> None:
    """Refuse an id that Airflow refuses."""
    if len(used) > LONGEST_ID:
        raise CosmosValueError(
            f"{owner} would become {used!r}, an id of {len(used)} characters. Airflow takes {LONGEST_ID}. "
            f"Rename it: {_NAMING}."
        )
    if not is_airflow_id(used):
        raise CosmosValueError(
            f"{owner} would become {used!r}. Airflow takes letters, digits, dots, dashes and underscores in an id: "
            f"rename it (the project's folder, for the test task of AFTER_ALL). {_NAMING}."
        )
