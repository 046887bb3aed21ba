"""Comparison of a DAG with its dbt project: nodes and tasks, edges, and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from pytest_cosmos_venv.dag_checks.record import Project, Task

BUILT = ("model", "seed", "snapshot")
"""Resource types of which each selected node has a task."""
TESTS = ("test", "unit_test")
_TEST, _BUILD = "test", "build"

_Tasks = Mapping[str, Task]


def node_faults(project: Project, tasks: _Tasks) -> list[str]:
    """Return a line for each node with no task or several, and for each edge that differs from the project's edges.

    :param project: the project.
    :param tasks: the tasks of its DAG.
    """
    return [*_tasks_of_nodes(project, tasks), *_edges(project, tasks)]


def test_faults(project: Project, tasks: _Tasks) -> list[str]:
    """Return a line for each test of dbt that no task runs.

    :param project: the project.
    :param tasks: the tasks of its DAG.
    """
    ancestors = _ancestors(_parents_in(project))
    running = [
        (name, tasks[name]) for name in project.tasks if name in tasks and tasks[name].command in (_TEST, _BUILD)
    ]
    nodes_of = _nodes_of_tasks(project, tasks)
    # A large project has as many tests as tasks, so each test is compared only with the few tasks that may run it.
    wholes = [task for name, task in running if not nodes_of.get(name) and not task.nodes]
    by_node: dict[str, list[tuple[set[str], Task]]] = {}
    for name, task in running:
        own = {*task.nodes} or nodes_of.get(name, set())
        for node in own:
            by_node.setdefault(node, []).append((own, task))
    lost = []
    for test in tests_of(project):
        near = [each for name in (test, *project.nodes[test].depends_on) for each in by_node.get(name, ())]
        # The producer of WATCHER leaves tests to their own tasks where its indirect selection is "empty".
        is_run = any(task.indirect_selection != "empty" and _may_run(project, test, task) for task in wholes)
        if not is_run and not any(_runs(project, test, own, task, ancestors) for own, task in near):
            parents = ", ".join(project.nodes[test].depends_on) or "no node"
            lost.append(f"{test}: a test of {parents}")
    return lost


def tests_of(project: Project) -> list[str]:
    """Return the unique ids of the tests that a DAG should run.

    :param project: the project.
    """
    if project.is_whole:
        return [name for name, node in project.nodes.items() if node.kind in TESTS]
    selected = {*project.selected}
    found = [name for name in project.selected if name in project.nodes and project.nodes[name].kind in TESTS]
    # Excluding nodes by name may leave their tests selected.
    parents = {name: project.nodes[name].depends_on for name in found}
    return [name for name in found if not parents[name] or selected.intersection(parents[name])]


def _may_run(project: Project, test: str, task: Task) -> bool:
    return project.nodes[test].name not in task.exclude


def _runs(project: Project, test: str, own: set[str], task: Task, ancestors: Callable[[str], frozenset[str]]) -> bool:
    """Whether a task of ``dbt test`` or ``dbt build`` for some nodes runs a test."""
    if task.nodes:
        return test in own
    if not _may_run(project, test, task):
        return False
    if test in own:
        return True
    parents = {*project.nodes[test].depends_on}
    if task.indirect_selection == "cautious":
        return parents <= own
    if task.indirect_selection == "buildable":
        return parents <= own | {each for name in own for each in ancestors(name)}
    return task.indirect_selection != "empty"


def _tasks_of_nodes(project: Project, tasks: _Tasks) -> Iterator[str]:
    if project.is_whole:
        selected = {*project.selected}
        for name in project.nodes:
            if name not in selected and _has_task(project, name):
                yield f"{name} is in the manifest, and not among the nodes that were loaded"
    by_node: dict[str, list[str]] = {}
    for task_id in project.tasks:
        task = tasks.get(task_id)
        if task is not None and task.node is not None and task.command != _TEST:
            by_node.setdefault(task.node, []).append(task_id)
    for name in project.selected:
        found = by_node.get(name, [])
        if len(found) > 1:
            yield f"{name} has {len(found)} tasks: {', '.join(found)}"
        elif not found and not project.tasks_of.get(name) and _has_task(project, name):
            yield f"{name} has no task"


def _has_task(project: Project, name: str) -> bool:
    """Whether a node has to have a task."""
    kind = project.nodes[name].kind if name in project.nodes else ""
    return kind in BUILT and kind not in (*project.converted, *project.hidden)


def _edges(project: Project, tasks: _Tasks) -> Iterator[str]:
    main = {name: task for name in project.tasks_of if (task := _main(project, name, tasks)) is not None}
    of_task: dict[str, set[str]] = {}
    for name, task in main.items():
        of_task.setdefault(task, set()).add(name)
    own = frozenset(project.tasks)
    nearest = {task: _nearest(task, tasks, own, of_task) for task in of_task}
    yield from _edges_too_few(project, tasks, main, nearest)
    yield from _edges_too_many(project, of_task, nearest)


def _edges_too_few(
    project: Project, tasks: _Tasks, main: Mapping[str, str], nearest: Mapping[str, set[str]]
) -> Iterator[str]:
    before = _ancestors(lambda name: tasks[name].upstream if name in tasks else ())
    for name, task in main.items():
        for parent in project.nodes[name].depends_on:
            its = main.get(parent)
            if its in (None, task) or its in nearest[task] or its in before(task):
                continue
            yield f"{name} reads {parent}, and its task {task} does not wait for {its}"


def _edges_too_many(
    project: Project, of_task: Mapping[str, set[str]], nearest: Mapping[str, set[str]]
) -> Iterator[str]:
    ancestors = _ancestors(_parents_in(project))
    for task, names in of_task.items():
        for upstream in sorted(nearest[task]):
            its = of_task[upstream]
            if any(ancestors(name) & its for name in names):
                continue
            yield f"{task} waits for {upstream}, and {_few(names)} reads nothing of {_few(its)}"


def _nearest(task: str, tasks: _Tasks, own: frozenset[str], of_task: Mapping[str, object]) -> set[str]:
    """Return the node tasks that a task waits for, directly or through other tasks of the project, such as tests."""
    found, seen, todo = set(), {task}, list(tasks[task].upstream)
    while todo:
        name = todo.pop()
        if name in seen or name not in own or name not in tasks:
            continue
        seen.add(name)
        if name in of_task:
            found.add(name)
        else:
            todo.extend(tasks[name].upstream)
    return found


def _main(project: Project, name: str, tasks: _Tasks) -> str | None:
    """Return the task that builds a node; None where the node is a test, or no task builds it."""
    if name not in project.nodes or project.nodes[name].kind in TESTS:
        return None
    found = [each for each in project.tasks_of[name] if each in tasks and tasks[each].command != _TEST]
    return found[0] if found else None


def _nodes_of_tasks(project: Project, tasks: _Tasks) -> dict[str, set[str]]:
    """Return the nodes of each task, including tasks of a single node."""
    found: dict[str, set[str]] = {}
    for name, ids in project.tasks_of.items():
        for task_id in ids if name in project.nodes else ():
            found.setdefault(task_id, set()).add(name)
    for task_id in project.tasks:
        node = tasks[task_id].node if task_id in tasks else None
        if node is not None:
            found.setdefault(task_id, set()).add(node)
    return found


def _parents_in(project: Project) -> Callable[[str], Sequence[str]]:
    return lambda name: project.nodes[name].depends_on if name in project.nodes else ()


def _ancestors(parents_of: Callable[[str], Sequence[str]]) -> Callable[[str], frozenset[str]]:
    """Return a function that returns all ancestors of a name, without recursion: a project may be deep."""

    @cache
    def above(name: str) -> frozenset[str]:
        found: set[str] = set()
        todo = list(parents_of(name))
        while todo:
            parent = todo.pop()
            if parent not in found:
                found.add(parent)
                todo.extend(parents_of(parent))
        return frozenset(found)

    return above


def _few(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
