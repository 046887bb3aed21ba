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
    """Return a line for each node that has no task or several, and for each edge that is not that of the project.

    :param project: the project.
    :param tasks: the tasks of its DAG.
    """
    return [*_tasks_of_nodes(project, tasks), *_edges(project, tasks)]


def test_faults(project: Project, tasks: _Tasks) -> list[str]:
    """Return a line for each test of dbt that no task runs.

    :param project: the project.
    :param tasks: the tasks of its DAG.
    """
    ancestors = _ancestors(lambda name: project.nodes[name].depends_on if name in project.nodes else ())
    running = [
        (name, tasks[name]) for name in project.tasks if name in tasks and tasks[name].command in (_TEST, _BUILD)
    ]
    lost = []
    for test in _tests(project):
        if not any(_runs(project, test, name, task, ancestors) for name, task in running):
            parents = ", ".join(project.nodes[test].depends_on) or "no node"
            lost.append(f"{test}: a test of {parents}")
    return lost


def tests_of(project: Project) -> list[str]:
    """Return the unique ids of the tests that a DAG should run.

    :param project: the project.
    """
    return _tests(project)


def _tests(project: Project) -> list[str]:
    names = [*project.selected, *(project.nodes if project.is_whole else ())]
    return [name for name in dict.fromkeys(names) if name in project.nodes and project.nodes[name].kind in TESTS]


def _runs(project: Project, test: str, task_id: str, task: Task, ancestors: Callable[[str], frozenset[str]]) -> bool:
    """Whether a task of ``dbt test`` or ``dbt build`` runs a test."""
    node = project.nodes[test]
    if node.name in task.exclude:
        return False
    own = _nodes_of_task(project, task_id, task)
    if not own:  # of the whole project; the producer of WATCHER leaves tests to their own tasks when it says "empty"
        return task.indirect_selection != "empty"
    if test in own:
        return True
    parents = {*node.depends_on}
    if not parents & own:
        return False
    if task.indirect_selection == "cautious":
        return parents <= own
    if task.indirect_selection == "buildable":
        return parents <= own | {each for name in own for each in ancestors(name)}
    return task.indirect_selection != "empty"


def _tasks_of_nodes(project: Project, tasks: _Tasks) -> Iterator[str]:
    if project.is_whole:
        for name in project.nodes:
            if name not in project.selected and _has_task(project, name):
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
    main = {name: _main(project, name, tasks) for name in project.tasks_of}
    main = {name: task for name, task in main.items() if task is not None}
    before = _ancestors(lambda name: tasks[name].upstream if name in tasks else ())
    for name, task in main.items():
        for parent in project.nodes[name].depends_on if name in project.nodes else ():
            its = main.get(parent)
            if its is not None and its != task and its not in before(str(task)):
                yield f"{name} reads {parent}, and its task {task} does not wait for {its}"
    yield from _edges_too_many(project, tasks, {name: str(task) for name, task in main.items()})


def _edges_too_many(project: Project, tasks: _Tasks, main: Mapping[str, str]) -> Iterator[str]:
    own = frozenset(project.tasks)
    of_task: dict[str, set[str]] = {}
    for name, task in main.items():
        of_task.setdefault(task, set()).add(name)
    ancestors = _ancestors(lambda name: project.nodes[name].depends_on if name in project.nodes else ())
    for task, names in of_task.items():
        for upstream in sorted(_nearest(task, tasks, own, of_task)):
            known = {each for name in names for each in ancestors(name)}
            if not known & of_task[upstream]:
                yield f"{task} waits for {upstream}, and {_few(names)} reads nothing of {_few(of_task[upstream])}"


def _nearest(task: str, tasks: _Tasks, own: frozenset[str], of_task: Mapping[str, object]) -> set[str]:
    """Return the tasks of nodes that a task waits for, directly or behind tests and the like of the same project."""
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
    """Return the task that builds a node; None where the node is a test, or has none."""
    if name not in project.nodes or project.nodes[name].kind in TESTS:
        return None
    found = [each for each in project.tasks_of[name] if each in tasks and tasks[each].command != _TEST]
    return found[0] if found else None


def _nodes_of_task(project: Project, task_id: str, task: Task) -> set[str]:
    own = {name for name, ids in project.tasks_of.items() if task_id in ids and name in project.nodes}
    return own | ({task.node} if task.node is not None else set())


def _ancestors(parents_of: Callable[[str], Sequence[str]]) -> Callable[[str], frozenset[str]]:
    """Return a function that gives all that is above a name, without recursion: a project may be deep."""

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
