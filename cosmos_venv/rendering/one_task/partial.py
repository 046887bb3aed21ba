"""A project of which only the task that this process runs is made. The rest is made on demand.

While a worker parses a DAG file for one task, the tasks of a DAG and of a dbt group stand in lazy dicts. Such a dict
makes the rest when code iterates over it, or asks for a missing task. Accesses by Airflow do not count where Airflow is
known to need only the tasks that are there (``compat.FrameNames``). Accesses while tasks are made and edges are drawn
do not count either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from cosmos_venv.compat import ARE_FRAME_NAMES_SEEN, DAG, FrameNames, TaskGroup, is_mapped, running_task
from cosmos_venv.constants import TEARDOWNS
from cosmos_venv.managed import caches
from cosmos_venv.rendering.airflow_tasks import TaskOrGroup, make_one_task
from cosmos_venv.rendering.one_task.plan_cache import KeptTask, find, plan_key

if TYPE_CHECKING:
    from cosmos_venv.compat import BaseOperator
    from cosmos_venv.files.file_cache import FileCache
    from cosmos_venv.project.graph import DbtGraph
    from cosmos_venv.rendering.configuration import Configuration
    from cosmos_venv.rendering.project_split import DomainGraph


@dataclass(kw_only=True, eq=False, repr=False)  # to be imported faster, for each task
class ProjectInDag:
    """A project in its DAG.

    :param configuration: what the user says about the project.
    :param dag: the DAG.
    :param task_group: the group of its tasks; None: they stand in the DAG itself.
    :param domain: the nodes of one domain; None: the whole project is shown.
    """

    configuration: Configuration
    dag: DAG
    task_group: TaskGroup | None
    domain: DomainGraph | None

    @cached_property
    def graph(self) -> DbtGraph:
        """The graph of its nodes, not loaded yet."""
        if self.domain is not None:
            return self.domain
        from cosmos_venv.project.graph import DbtGraph  # a worker whose task is of another project loads nothing

        return DbtGraph(**self.configuration.graph_arguments())

    @cached_property
    def prefix(self) -> str:
        """The beginning of the ids of all its tasks."""
        if self.task_group is None:
            return ""
        prefix: str = self.task_group.child_id("")  # type: ignore[no-untyped-call]
        return prefix


@dataclass(kw_only=True, eq=False, repr=False)
class PartialProject:
    """A project in a DAG. Only the part that the running task needs is made.

    :param running: id of the running task; empty if that task is in another DAG of the file.
    :param make_rest: makes the rest; gets what is made already, by planned id.
    :ivar made: the task and its groups, by planned id; empty if the running task is not of this project.
    :ivar first: the task, if no task of the project comes before it; else empty.
    :ivar last: the task, if no task of the project comes after it; else empty.
    :ivar is_making: whether the rest is being made; an access to the DAG then finds the tasks that exist already.
    :ivar postponed: draw the edges of a group, by Airflow's own methods, when all tasks of the group are made.
    """

    running: str
    make_rest: Callable[[Mapping[str, TaskOrGroup]], object]
    made: Mapping[str, TaskOrGroup] = field(init=False, default_factory=dict)
    first: tuple[BaseOperator, ...] = field(init=False, default=())
    last: tuple[BaseOperator, ...] = field(init=False, default=())
    is_making: bool = field(init=False, default=False)
    postponed: list[Callable[[], object]] = field(init=False, default_factory=list)
    _places: list[tuple[LazyTaskDict, int]] = field(init=False, default_factory=list)

    @classmethod
    def of_running_task(
        cls,
        project: ProjectInDag,
        make_rest: Callable[[Mapping[str, TaskOrGroup]], object],
        make_all: Callable[[], object],
    ) -> PartialProject | None:
        """The part of a project that the task of this process needs, made; None where all of it must be made.

        The rest is made when code asks for tasks of the DAG or of the group that are not there.

        :param project: the project in its DAG, whose dict of tasks is replaced.
        :param make_rest: makes the rest; gets what is made already, by planned id.
        :param make_all: called when more is looked for; it ends with ``complete``.
        """
        running = running_task() if ARE_FRAME_NAMES_SEEN else None
        if running is None or is_mapped(project.task_group) or (kept := caches.kept_plans()) is None:
            return None
        dag_id, task_id = running
        # The running task may be of another dbt group or of the user. Then this project is made only when Airflow
        # iterates over the DAG.
        part = cls(running=task_id if dag_id == project.dag.dag_id else "", make_rest=make_rest)
        if part.running and task_id.startswith(project.prefix):
            found = _find(kept, project, task_id.removeprefix(project.prefix))
            if found is None:
                return None
            part._make_task(found, project)
        part._watch(project, make_all)
        return part

    def _make_task(self, found: KeptTask, project: ProjectInDag) -> None:
        shared = project.configuration.shared_arguments(project.prefix)
        self.made = make_one_task(found, shared, dag=project.dag, task_group=project.task_group, prefix=project.prefix)
        task: Any = self.made[found.task.task_id]
        # Tasks behind the group depend on the tasks before teardown tasks.
        is_last = TEARDOWNS.issuperset(found.downstream) and found.task.task_id not in TEARDOWNS
        self.first = () if found.upstream else (task,)
        self.last = (task,) if is_last else ()

    def _watch(self, project: ProjectInDag, make_all: Callable[[], object]) -> None:
        dag = project.dag
        # A DAG may have several dbt groups, and its one dict lacks tasks of each of them.
        if not isinstance(dag.task_dict, LazyTaskDict):
            dag.task_dict = LazyTaskDict(dag.task_dict, self.running, FrameNames.ordering)
        host = project.task_group or dag.task_group
        host.children = LazyTaskDict(host.children, self.running)
        for tasks in (dag.task_dict, host.children):
            self._places.append((tasks, tasks.add_missing(project.prefix, make_all, claims=bool(self.made))))

    def complete(self) -> None:
        """Make the rest. The tasks then have the order that they have in a process that makes all at once."""
        self.is_making = True
        for tasks, place in self._places:
            tasks.note_places(place, self.made.values())
        try:
            self.make_rest(self.made)
            for tasks, place in self._places:
                tasks.put_in_place(place)
        finally:
            self.is_making = False


def _find(kept: FileCache, project: ProjectInDag, planned_id: str) -> KeptTask | None:
    key = plan_key(project.configuration, project.graph.version)
    if key is None:
        return None
    kept.fetch(key)
    return find(kept, key, planned_id, project.graph.project_path)


def is_put_in_order() -> bool:
    """Whether the calling method was called to draw an edge, for which the running task is enough."""
    return _calling_function(FrameNames.ordering) is None


_FOLLOWING = (*FrameNames.definitions, *FrameNames.importers)
_LOOKING_FOR_CIRCLES = frozenset({FrameNames.group_circles})


class _Looker(NamedTuple):
    """The function that has called into a DAG, a group or a task."""

    module: str
    function: str

    @property
    def only_looks(self) -> bool:
        """Whether it is a function of Airflow that needs no more than the running task."""
        is_runner = self.module == FrameNames.runner and self.function in FrameNames.running
        return is_runner or _is_one_of(self.module, FrameNames.importers)


class NotMade:
    """The value in place of a missing task, for a function of Airflow that follows tasks to find cycles."""

    task_group = None

    def get_direct_relative_ids(self) -> set[str]:
        """The ids of the tasks after it: none, so that it is part of no cycle."""
        return set()


class LazyTaskDict(dict[str, Any]):
    """A dict of tasks, or of tasks and groups, that makes missing tasks on demand.

    :param there: what is there, by id.
    :param running: id of the task that this process runs.
    :param uncounted: names of further functions of Airflow whose accesses do not count.
    """

    def __init__(self, there: dict[str, Any], running: str, uncounted: Collection[str] = ()) -> None:
        super().__init__(there)
        self.running = running
        self.is_claimed = False
        self._uncounted = FrameNames.adding | _LOOKING_FOR_CIRCLES | {*uncounted}
        self._missing: list[tuple[str, Callable[[], object]]] = []
        self._is_making = False
        self._places: dict[str, float] = {}
        self._number_of_projects = 0

    def add_missing(self, prefix: str, make: Callable[[], object], *, claims: bool) -> int:
        """Let further tasks be made on demand.

        :param prefix: the text with which the ids of all these tasks begin.
        :param make: makes these tasks; an access while it runs finds the tasks that exist already.
        :param claims: whether the running task is one of these. Then it needs no task of other projects. A task of the
            user's own may look at all tasks after it.
        :returns: the number of the project in this dict, from 0.
        """
        self._missing.append((prefix, make))
        self.is_claimed |= claims
        self._note(self._number_of_projects)
        self._number_of_projects += 1
        return self._number_of_projects - 1

    def note_places(self, project: int, made: Iterable[TaskOrGroup]) -> None:
        """Note the place of each existing task in the DAG file, before the rest of a project is made.

        :param project: of ``add_missing``.
        :param made: what is made of the project.
        """
        self._note(self._number_of_projects)
        self._places.update({each.node_id: project + 0.5 for each in made if dict.__contains__(self, each.node_id)})

    def put_in_place(self, project: int) -> None:
        """Move the tasks of a project, which were made last, to the place of the project in the DAG file.

        :param project: of ``add_missing``.
        """
        self._note(project + 0.5)
        tasks = sorted(dict.items(self), key=lambda item: self._places[item[0]])
        dict.clear(self)
        dict.update(self, tasks)

    def _note(self, place: float) -> None:
        for key in dict.keys(self):
            self._places.setdefault(key, place)

    def make_for_iteration(self, *_: object) -> None:
        """Make all missing tasks, unless Airflow iterates and needs no more than the running task."""
        if not self._missing or self._is_making:
            return
        looker = _calling_function(self._uncounted, self._may_be_taken)
        if looker is not None and not looker.only_looks:
            self._make_missing()

    def make_for_key(self, key: object, *_: object) -> None:
        """Make all missing tasks if this task is missing, or if the caller may look at all tasks after it.

        :param key: the id of the task.
        """
        if not self._missing or self._is_making:
            return
        is_there = dict.__contains__(self, key)
        if is_there and (self.is_claimed or key != self.running):
            return
        looker = _calling_function(self._uncounted, self._may_be_taken)
        if looker is not None and (not is_there or looker.module == FrameNames.runner):
            self._make_missing()

    def _may_be_taken(self, task_id: str) -> bool:
        return any(task_id.startswith(prefix) for prefix, _ in self._missing)

    def _make_missing(self) -> None:
        self._is_making = True
        try:
            for _, make in self._missing:
                make()
            self._missing = []
        finally:  # after a failure the next access tries again
            self._is_making = False

    def __contains__(self, key: object) -> bool:
        self.make_for_key(key)
        return super().__contains__(key) or (bool(self._missing) and _calling_function(_LOOKING_FOR_CIRCLES) is None)

    def __getitem__(self, key: str) -> Any:
        if self._missing and not dict.__contains__(self, key):
            frame = sys._getframe(1)
            module = str(frame.f_globals.get("__name__", ""))
            if frame.f_code.co_name == FrameNames.circles and _is_one_of(module, _FOLLOWING):
                return NotMade()
            if _calling_function(_LOOKING_FOR_CIRCLES) is None:
                return NotMade()
        self.make_for_key(key)
        return super().__getitem__(key)

    def __ne__(self, other: object) -> bool:  # dict.__ne__ does not call __eq__
        return not self == other

    __hash__ = None  # as of any dict

    def copy(self) -> dict[str, Any]:
        """A plain dict of everything."""
        return dict(self.items())

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)


def _after(look: Callable[..., None], name: str) -> Callable[..., Any]:
    """A method of dict that first makes the missing tasks, if they are needed."""
    method = getattr(dict, name)

    def looking(self: LazyTaskDict, *arguments: Any) -> Any:
        look(self, *arguments)
        return method(self, *arguments)

    return looking


for _name in ("get", "setdefault", "pop"):
    setattr(LazyTaskDict, _name, _after(LazyTaskDict.make_for_key, _name))
for _name in ("__iter__", "__reversed__", "__len__", "__eq__", "keys", "values", "items", "popitem"):
    setattr(LazyTaskDict, _name, _after(LazyTaskDict.make_for_iteration, _name))


def _calling_function(uncounted: Collection[str], may_be_taken: Callable[[str], bool] = bool) -> _Looker | None:
    """The first function on the stack outside Airflow's definitions. None when the call passed through a function in
    ``uncounted``.

    :param uncounted: names of functions of Airflow's definitions.
    :param may_be_taken: whether a task that is not there may have this id.
    """
    frame = sys._getframe(2)
    while frame is not None:
        module, function = str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
        if not _is_one_of(module, FrameNames.definitions):
            return _Looker(module, function)
        # An __eq__ of this module belongs to the access itself; an __eq__ of Airflow puts tasks in order.
        if function in uncounted and module != __name__:
            return None
        if function == FrameNames.naming and not may_be_taken(str(frame.f_locals.get(FrameNames.named, ""))):
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return _Looker("", "")


def _is_one_of(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
