"""Airflow's tasks, groups and edges, made of a plan.

The constructor of an operator makes its first task. Similar tasks are copies of that task with other ids. They differ
only in what they select and in what they say of their node. Airflow wraps each constructor of an operator and checks
each attribute: that takes most of the time of a dbt project's DAG.

Edges are the same as after Airflow's ``>>``, but all are drawn at once, in linear time. ``a >> b`` hashes the DAG with
all its task ids twice, to find out that both tasks stand in the same DAG, which is known here.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
from collections.abc import Hashable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.compat import (
    DAG,
    TASKS_START_AS_TRIGGERS,
    BaseOperator,
    TaskCopier,
    TaskGroup,
    can_be_copied,
)
from cosmos_venv.config import ProfileConfig
from cosmos_venv.config.validation import refuse_unknown_names
from cosmos_venv.constants import PRODUCER_WATCHER_TASK_ID, SETUPS, TEARDOWNS
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.parameters import OF_SOME_OPERATORS, parameters
from cosmos_venv.rendering.model import Edge, Plan, PlannedGroup, PlannedTask
from cosmos_venv.rendering.task_arguments import DOCUMENTS, IDENTIFIER, SETUP_OPERATOR_ARGS

if TYPE_CHECKING:
    from cosmos_venv.config.profile import ProfileMapping
    from cosmos_venv.profiles import DbtProfileConfigVars
    from cosmos_venv.rendering.converters import Converters
    from cosmos_venv.rendering.one_task.plan_cache import KeptTask


logger = logging.getLogger(__name__)

TaskOrGroup = BaseOperator | TaskGroup

_ROOT = __name__.partition(".")[0]
_SKIPPED_WITH = "skipped_with"
# Arguments that differ from task to task; the constructor keeps each as it is given, under its own name.
_OWN = frozenset({"select", "extra_context", "doc_md", "node_ids", "model_unique_id", _SKIPPED_WITH})
_PRODUCER = "producer_task_id"
_QUERY = "operators.airflow_async.DbtRunAirflowAsyncOperator"
_RULE = "trigger_rule"


class TaskMaker(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the tasks of one project.

    :param shared: the arguments of all of them; each operator gets those that it takes.
    :param dag: the DAG that they stand in.
    :param default_args: Airflow's ``default_args`` of these tasks, which the groups of the project do not change.
    :param watching_queues: the queues of watching tasks: of tasks that start in the triggerer, and of tasks that start
        on a worker.
    """

    shared: Mapping[str, Any]
    dag: DAG
    default_args: Mapping[str, Any] = MappingProxyType({})
    # Read once: to read both settings for each task took half of the time to make a DAG of ExecutionMode.WATCHER.
    watching_queues: tuple[str, str] = msgspec.field(
        default_factory=lambda: (settings.watcher_dbt_retry_queue, settings.watcher_dbt_consumer_queue)
    )
    _copiers: dict[Hashable, TaskCopier] = msgspec.field(default_factory=dict)

    def make(
        self, cls: type[BaseOperator], label: str, task_group: TaskGroup | None, arguments: Mapping[str, Any]
    ) -> BaseOperator:
        """A task of an operator, made by its constructor or as a copy of a similar task.

        :param cls: the class of the operator.
        :param label: the id of the task within its group.
        :param task_group: the group; None: the DAG itself.
        :param arguments: the arguments of this task, which replace shared ones of the same name.
        """
        accepted = parameters(cls)
        own = {name: value for name, value in arguments.items() if name in accepted}
        key = _key(cls, own)
        copier = None if key is None else self._copiers.get(key)
        if copier is not None:
            return copier.copy(label, task_group, {name: own[name] for name in _OWN if name in own})
        shared = {name: value for name, value in self.shared.items() if name in accepted}
        task = cls(**{**shared, **own}, task_id=label, task_group=task_group, dag=self.dag)
        if key is not None and can_be_copied(task):
            self._copiers[key] = TaskCopier(task)
        return task


def _key(cls: type[BaseOperator], arguments: Mapping[str, Any]) -> Hashable | None:
    """The facts that are equal in tasks that can be copies of each other; None where the facts cannot be compared."""
    common = [value for name, value in arguments.items() if name not in _OWN]
    # The names of all arguments count: an argument that is not given may come from default_args.
    key = (cls, *arguments, *common, *map(type, common))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def refuse_unknown_arguments(where: str, names: Iterable[str]) -> None:
    """Refuse a name that no operator of any mode takes: the arguments of one DAG may serve several modes.

    :param where: the place of the arguments, for errors: ``operator_args``.
    :param names: names of arguments.
    :raises CosmosValueError: as ``refuse_unknown_names``.
    """
    refuse_unknown_names(f"{where}: no dbt operator", names, _of_any_operator(), verb="takes")


@functools.cache
def _of_any_operator() -> frozenset[str]:
    from cosmos_venv.operators.local_base import DbtLocalBaseOperator  # not needed to import cosmos_venv

    return parameters(DbtLocalBaseOperator) | OF_SOME_OPERATORS


def draw_edges(edges: Iterable[tuple[BaseOperator, BaseOperator]]) -> None:
    """Put the first task of each pair before the second.

    :param edges: pairs of tasks, all in one DAG.
    """
    # The same as after >>, which would hash the whole DAG for each edge.
    for before, after in edges:
        before.downstream_task_ids.add(after.task_id)
        after.upstream_task_ids.add(before.task_id)


def draw_outer_edges(edges: Iterable[tuple[Any, Any]]) -> None:
    """Write into groups what is before and after them, so that the graph view shows one edge.

    ``>>`` does this, and also draws the edges between tasks. Here the edges between tasks must be drawn before.

    :param edges: pairs of tasks or groups, the first before the second.
    """
    leaves: dict[int, set[str]] = {}
    for before, after in edges:
        if before is after:
            continue
        are_groups = isinstance(before, TaskGroup), isinstance(after, TaskGroup)
        if are_groups[0]:
            (before.downstream_group_ids if are_groups[1] else before.downstream_task_ids).add(after.node_id)
        if are_groups[1]:
            (after.upstream_group_ids if are_groups[0] else after.upstream_task_ids).add(before.node_id)
        if all(are_groups):
            # As in Airflow: the second group notes the leaves of the first. The first does not note the roots.
            if id(before) not in leaves:
                leaves[id(before)] = {task.task_id for task in before.get_leaves()}
            after.upstream_task_ids |= leaves[id(before)]


def make_tasks(
    plan: Plan,
    shared: Mapping[str, Any],
    *,
    dag: DAG,
    task_group: TaskGroup | None,
    converters: Converters,
    there: Mapping[str, TaskOrGroup] = MappingProxyType({}),
) -> dict[str, TaskOrGroup]:
    """Make the tasks and groups of a plan and put them in order.

    :param plan: the plan of the project.
    :param shared: arguments of every dbt task; the task's own arguments replace them.
    :param dag: the DAG that they stand in.
    :param task_group: the group that they stand in; None: the DAG itself.
    :param converters: make the tasks and groups of the plan's conversions.
    :param there: what ``make_one_task`` has made of the same plan, by its id in the plan.
    :returns: the task or group of each rendered node, by its unique id.
    :raises CosmosValueError: for an argument of a node that no operator takes, and for what a converter cannot make.
    """
    groups = _make_groups(plan.groups, dag, task_group, there)
    maker = TaskMaker(shared=shared, dag=dag, default_args=_default_args(dag, task_group))
    tasks: dict[str, Any] = {}
    for task in plan.tasks:
        is_there = task.task_id in there
        tasks[task.task_id] = there[task.task_id] if is_there else _make(task, maker, groups=groups)
        if is_there:  # the running task was made first: move it to its place in the plan
            _put_last(tasks[task.task_id], dag)
    made: dict[str, TaskOrGroup] = {**tasks, **{key: each for key, each in groups.items() if key and each}}
    outer = plan.outer
    inner_edges = [edge for edge in plan.edges if edge[0] in tasks and edge[1] in tasks]
    # Of each edge only its ids are kept: tuples of tasks and groups took a twentieth of the memory of 10,000 tasks.
    draw_edges((tasks[before], tasks[after]) for before, after in inner_edges)
    draw_outer_edges((made[outer[before]], made[outer[after]]) for before, after in inner_edges)
    for planned in plan.conversions:
        if (result := converters.convert(planned, dag=dag, task_group=groups[planned.group])) is not None:
            made[planned.key] = result
    # By Airflow's >>: a converter may have made a group, whose first and last tasks only Airflow knows.
    for before, after in _edges_of_converted(plan, tasks, outer) if plan.conversions else ():
        if before in made and after in made:  # a converter may have made nothing
            made[before] >> made[after]
    if not SETUPS.isdisjoint(tasks):
        _refuse_rules_behind_setup_tasks(plan.edges, {**made, **tasks})
    return {node_id: made[key] for node_id, key in plan.tasks_map.items() if key in made}


def _edges_of_converted(plan: Plan, tasks: Mapping[str, Any], outer: Mapping[str, str]) -> list[tuple[str, str]]:
    """The edges of what converters make.

    Edges within a group come first: ``>>`` between groups needs the first and last tasks of both.
    """
    within, across = set(), set()
    for edge in plan.edges:
        before, after = edge
        if before in tasks and after in tasks:
            continue
        if outer[before] != outer[after]:
            across.add((outer[before], outer[after]))
        else:
            within.add(edge)
    return [*sorted(within), *sorted(across)]


def make_one_task(
    kept: KeptTask, shared: Mapping[str, Any], *, dag: DAG, task_group: TaskGroup | None, prefix: str
) -> dict[str, TaskOrGroup]:
    """Make one task of a plan and the groups that it stands in.

    The task has the ids of the tasks right before and after it, although these are not made.

    :param kept: the task as the plan has it, with its groups and neighbours.
    :param shared: arguments of every dbt task; the task's own arguments replace them.
    :param dag: the DAG that it stands in.
    :param task_group: the group of the project; None: the DAG itself.
    :param prefix: with which the ids of all tasks of the plan begin.
    :returns: what was made, by its id in the plan.
    """
    groups = _make_groups(kept.groups, dag, task_group, {})
    task = kept.task
    maker = TaskMaker(shared=shared, dag=dag, default_args=_default_args(dag, task_group))
    made = _make(task, maker, groups=groups)
    # Airflow's check of a DAG asks for all tasks behind a setup task, and no worker asks whether it is one.
    made.is_setup = False
    made.upstream_task_ids |= {f"{prefix}{task_id}" for task_id in kept.upstream}
    made.downstream_task_ids |= {f"{prefix}{task_id}" for task_id in kept.downstream}
    return {task.task_id: made, **{key: group for key, group in groups.items() if key and group}}


def _make_groups(
    planned: Iterable[PlannedGroup], dag: DAG, task_group: TaskGroup | None, there: Mapping[str, TaskOrGroup]
) -> dict[str | None, Any]:
    """The groups by id. Under None stands the group of the whole project, or None for the DAG itself."""
    groups: dict[str | None, Any] = {None: task_group}
    for group in planned:  # each after its parent
        if group.group_id in there:
            groups[group.group_id] = there[group.group_id]
            _put_last(there[group.group_id], dag)
            continue
        groups[group.group_id] = TaskGroup(group_id=group.label, dag=dag, parent_group=groups[group.parent])
    return groups


def _put_last(made: Any, dag: DAG) -> None:
    """Move a task or group to the end of its DAG and of the group around it."""
    parent = made.parent_group if isinstance(made, TaskGroup) else made.task_group
    for siblings in (dag.task_dict, parent.children if parent is not None else {}):
        if dict.__contains__(siblings, made.node_id):
            dict.__setitem__(siblings, made.node_id, dict.pop(siblings, made.node_id))


def _make(task: PlannedTask, maker: TaskMaker, *, groups: Mapping[str | None, TaskGroup | None]) -> BaseOperator:
    """The task of a plan, in its group."""
    # host: the group around the node's own group, which is the group of a folder or of the whole project.
    task_group, host = groups[task.group], groups[task.folder]
    default_args = maker.default_args
    arguments = {**_defaults(task, maker), **task.arguments}
    if task.is_placeholder:
        from cosmos_venv.compat import EmptyOperator  # a worker's task is hardly ever a placeholder

        docs = _document(task, arguments, default_args)
        return EmptyOperator(task_id=task.label, task_group=task_group, dag=maker.dag, **arguments, **docs)
    _refuse_arguments(task)
    if producer := arguments.get(_PRODUCER):
        if project := groups[None]:
            arguments[_PRODUCER] = project.child_id(producer)  # type: ignore[no-untyped-call]
        is_watching = producer == PRODUCER_WATCHER_TASK_ID
        if is_watching and (queue := _watching_queue(maker, arguments)):
            arguments.setdefault("queue", queue)
    if task.task_id == PRODUCER_WATCHER_TASK_ID:
        arguments |= maker.shared.get(SETUP_OPERATOR_ARGS) or {}
    arguments["extra_context"] = {
        **(maker.shared.get("extra_context") or {}),
        **(task.arguments.get("extra_context") or {}),
        **_with_identifier(task.context, maker.dag, host),
    }
    arguments |= _document(task, maker.shared, arguments, default_args)
    if task.profile:
        arguments["profile_config"] = _with_changes(maker.shared["profile_config"], task.profile, task.node_id)
    try:
        return _placed_around_all(maker.make(_operator_class(task.operator), task.label, task_group, arguments), task)
    except (TypeError, ValueError) as error:
        if task.node_id is None or isinstance(error, CosmosValueError):
            raise
        raise CosmosValueError(f"{task.node_id} cannot become the task {task.task_id!r}: {error}") from None


def _refuse_arguments(task: PlannedTask) -> None:
    """Refuse an argument of a node that no operator takes; for a query, also an argument that only dbt tasks take."""
    refuse_unknown_arguments(f"operator_kwargs of {task.node_id}", task.arguments)
    if task.operator != _QUERY:
        return
    for name in sorted(task.arguments.keys() - parameters(_operator_class(task.operator))):
        raise CosmosValueError(
            f"{task.node_id}: meta.cosmos.operator_kwargs sets {name}, and its task runs no dbt in "
            "ExecutionMode.AIRFLOW_ASYNC. Drop it, or give it to all tasks by operator_args."
        )


def _placed_around_all(made: BaseOperator, task: PlannedTask) -> BaseOperator:
    """Make the tasks around a project setup and teardown tasks."""
    if task.task_id in SETUPS:
        made.as_setup()  # type: ignore[no-untyped-call]
    elif task.task_id in TEARDOWNS:
        made.as_teardown()
    return made


def _refuse_rules_behind_setup_tasks(edges: Iterable[Edge], made: Mapping[str, Any]) -> None:
    """Refuse another trigger rule than ``all_success`` there, as Airflow does, whose error names no task."""
    for before, after in edges:
        if before not in SETUPS or after in TEARDOWNS or after not in made:  # a converter may have made nothing
            continue
        task = made[after]
        if getattr(task, "trigger_rule", "all_success") != "all_success":
            raise CosmosValueError(
                f"{task.task_id} has the trigger rule {task.trigger_rule.value!r}, and is right behind the setup task "
                f"{made[before].task_id}, where Airflow wants all_success. Leave the trigger rule out."
            )


def _defaults(task: PlannedTask, maker: TaskMaker) -> dict[str, Any]:
    """The task's default arguments, except arguments that a shared argument replaces."""
    if not task.defaults:
        return {}
    given = set() if task.is_placeholder else {*maker.shared}
    # The user's own trigger rule counts, wherever it is given.
    if _RULE in {*given, *maker.default_args, *task.arguments}:
        given |= {_RULE, _SKIPPED_WITH}
    return {name: each for name, each in task.defaults.items() if name not in given}


def _document(task: PlannedTask, *given: Mapping[str, Any]) -> dict[str, Any]:
    """The page of a task, where the user does not document it himself."""
    return {"doc_md": task.document} if task.document and all(map(DOCUMENTS.isdisjoint, given)) else {}


def _with_identifier(context: Mapping[str, Any], dag: DAG, host: TaskGroup | None) -> dict[str, Any]:
    """The context of a node's task, with the ids of the DAG and the group around the node."""
    if IDENTIFIER not in context:
        return dict(context)
    place = (dag.dag_id, host.group_id if host else None)
    return {**context, IDENTIFIER: "__".join(part for part in place if part)}


def _watching_queue(maker: TaskMaker, arguments: Mapping[str, Any]) -> str:
    """The queue for a watching task, from the settings; a task has one queue for all its work on workers.

    Both arguments that decide it may come from the node, all tasks of the project, or Airflow's ``default_args``.
    """
    deferred, on_worker = maker.watching_queues
    if deferred == on_worker:
        return deferred

    def given(name: str, default: bool) -> Any:
        return next((each[name] for each in (arguments, maker.shared, maker.default_args) if name in each), default)

    starts_in_triggerer = given("deferrable", True) and not given("starts_on_worker", False)
    return deferred if TASKS_START_AS_TRIGGERS and starts_in_triggerer else on_worker


def _default_args(dag: DAG, task_group: TaskGroup | None) -> dict[str, Any]:
    """Airflow's ``default_args`` of a task: an inner group's replace an outer group's."""
    found: dict[str, Any] = {}
    while task_group is not None:
        found = {**task_group.default_args, **found}
        task_group = task_group.parent_group
    return {**dag.default_args, **found}


@functools.cache
def _operator_class(path: str) -> type[BaseOperator]:
    module, _, name = f"{_ROOT}.{path}".rpartition(".")
    cls: type[BaseOperator] = getattr(import_module(module), name)
    return cls


def _with_changes(profile: ProfileConfig, changes: Mapping[str, Any], node_id: str | None) -> ProfileConfig:
    """The profile configuration for the tasks of a node, with the changes of its ``meta.cosmos.profile_config``."""
    fields = {name: value for name, value in changes.items() if name != "profile_mapping"}
    names = {field.name for field in dataclasses.fields(profile)}
    for name in fields:
        if name not in names:
            raise CosmosValueError(
                f"{node_id}: meta.cosmos.profile_config names {name!r}; it can name {', '.join(sorted(names))}."
            )
    mapping = profile.profile_mapping
    if mapping_changes := changes.get("profile_mapping"):
        mapping = _with_mapping_changes(mapping, mapping_changes, node_id)
    if fields.get("profiles_yml_filepath"):
        mapping = None
    return dataclasses.replace(profile, **fields, profile_mapping=mapping)


def _with_mapping_changes(
    mapping: ProfileMapping | None, changes: object, node_id: str | None
) -> ProfileMapping | None:
    """A copy of the mapping with the changes. A name that is no attribute is a profile field, such as ``threads``.

    Cosmos makes an attribute of such a name, which nothing reads. Without a mapping it does nothing.
    """
    where = f"{node_id}: meta.cosmos.profile_config.profile_mapping"
    if not isinstance(changes, Mapping):
        raise CosmosValueError(f"{where}={changes!r} must be a mapping of fields to values.")
    if mapping is None:
        return None
    changed = copy.copy(mapping)
    attributes = vars(changed)
    fields = {}
    for name, value in changes.items():
        if name in attributes:
            attributes[name] = value
        elif hasattr(type(mapping), name):
            raise CosmosValueError(
                f"{where} names {name!r}, which belongs to the class {type(mapping).__name__}. Name a field of the "
                f"profile, or one of {', '.join(sorted(attributes))}."
            )
        else:
            fields[name] = value
    if isinstance(settings := attributes.get("dbt_config_vars"), Mapping):  # YAML has no other way to write them
        attributes["dbt_config_vars"] = _config_vars(where, settings)
    if fields:
        attributes["profile_args"] = {**(attributes.get("profile_args") or {}), **fields}
    return changed


def _config_vars(where: str, settings: Mapping[str, Any]) -> DbtProfileConfigVars:
    from cosmos_venv.profiles import DbtProfileConfigVars  # hardly any node sets them

    try:
        return DbtProfileConfigVars(**settings)
    except TypeError as error:
        raise CosmosValueError(f"{where}.dbt_config_vars={settings!r}: {error}.") from None
