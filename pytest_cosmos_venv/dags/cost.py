"""The cost of building a DAG and of an equal plain DAG, in the same process at the same time.

The plain DAG has as many empty tasks, edges and groups, so its cost is Airflow's alone.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from statistics import median
from typing import Any

from pytest_cosmos_venv.dags.dag_files import import_first
from pytest_cosmos_venv.dags.shape import dag_shape
from pytest_cosmos_venv.projects.manifest import garbage_collection_paused

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of one or more DAGs together.

    :param dags: the number of DAGs.
    :param tasks: the number of tasks.
    :param edges: the number of edges.
    """

    dags: int
    tasks: int
    edges: int

    def __str__(self) -> str:
        dags = "an equal plain DAG" if self.dags == 1 else f"{self.dags} equal plain DAGs"
        return f"{dags} of {self.tasks} tasks and {self.edges} edges"


def plain_builder(dags: Sequence[Any]) -> tuple[Callable[[], list[Any]], Size]:
    """Return a function that builds equal plain DAGs, and their size.

    :param dags: the DAGs to be equal to.
    """
    shapes = [dag_shape(dag).data for dag in dags]
    size = Size(
        dags=len(dags),
        tasks=sum(len(shape["tasks"]) for shape in shapes),
        edges=sum(len(task["upstream"]) for shape in shapes for task in shape["tasks"].values()),
    )
    dag_class, group_class, operator = _airflow()

    def build() -> list[Any]:
        return [_build(shape, dag_class, group_class, operator) for shape in shapes]

    return build, size


def build_one_plain_dag() -> None:
    """Build a plain DAG, so that Airflow imports the modules that it imports with the first DAG of a process.

    One of these imports starts a process (croniter asks ``file`` what Python is built for), which must not count for
    the DAG that happens to be the first. Without Airflow nothing happens.
    """
    if find_spec("airflow") is not None:
        _build({"dag_id": "first", "groups": {}, "tasks": {"task": {"group": None, "upstream": []}}}, *_airflow())


def _build(shape: Mapping[str, Any], dag_class: Any, group_class: Any, operator: Any) -> Any:
    with dag_class(dag_id=f"plain_{shape['dag_id']}", schedule=None, start_date=_START) as dag:
        groups: dict[str | None, Any] = {None: None}
        for group in shape["groups"]:
            _add_group(group, shape["groups"], groups, group_class)
        tasks = {
            name: operator(task_id=f"task_{number}", task_group=groups[task["group"]])
            for number, (name, task) in enumerate(shape["tasks"].items())
        }
        for name, task in shape["tasks"].items():
            if task["upstream"]:
                tasks[name].set_upstream([tasks[upstream] for upstream in task["upstream"]])
    return dag


def _add_group(name: str, around: Mapping[str, str | None], groups: dict[str | None, Any], group_class: Any) -> None:
    if name in groups:
        return
    outer = around[name]
    if outer is not None:
        _add_group(outer, around, groups, group_class)
    groups[name] = group_class(group_id=f"group_{len(groups)}", parent_group=groups[outer], prefix_group_id=False)


def _airflow() -> tuple[Any, Any, Any]:
    """Return DAG, TaskGroup and EmptyOperator."""
    return (
        import_first("DAG", "airflow.sdk", "airflow.models.dag"),
        import_first("TaskGroup", "airflow.sdk", "airflow.utils.task_group"),
        import_first("EmptyOperator", "airflow.providers.standard.operators.empty", "airflow.operators.empty"),
    )


@dataclass(frozen=True, kw_only=True)
class ParseCost:
    """The cost of building DAGs repeatedly.

    :param dags: the DAGs that were built.
    :param size: the size of the equal plain DAGs.
    :param built: milliseconds of CPU time of each repeat, child processes that it waited for included.
    :param plain: the same of the plain DAGs, each built right before the measured DAGs.
    """

    dags: Sequence[Any]
    size: Size
    built: tuple[float, ...]
    plain: tuple[float, ...]

    @property
    def milliseconds(self) -> float:
        """Median of the CPU time that building took."""
        return median(self.built)

    @property
    def times_plain(self) -> float:
        """Median of the ratio of each repeat to the plain DAG beside it."""
        return median(self._ratios)

    @property
    def text(self) -> str:
        """The cost in a sentence, with the spread: differences from repeat to repeat are noise."""
        ratios = self._ratios
        return (
            f"{_spread(self.built)} of CPU time, {self.times_plain:.1f} ({min(ratios):.1f} to {max(ratios):.1f}) times "
            f"as much as {self.size}: {_spread(self.plain)}; medians of {len(self.built)} repeats"
        )

    @property
    def _ratios(self) -> list[float]:
        return [built / plain for built, plain in zip(self.built, self.plain, strict=True)]


def measure(
    build: Callable[[], object], plain: Callable[[], object], *, repeats: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the milliseconds of CPU time of both functions. They take turns, so a busy machine affects both alike.

    :param build: builds the DAGs.
    :param plain: builds the equal plain ones.
    :param repeats: how often each is called.
    """
    plain()
    with _older_objects_at_rest():
        pairs = [(_milliseconds(plain), _milliseconds(build)) for _ in range(repeats)]
    return tuple(built for _, built in pairs), tuple(plain for plain, _ in pairs)


@contextmanager
def _older_objects_at_rest() -> Iterator[None]:
    """Hide older objects from the garbage collector: it takes a quarter of a second to look through an imported
    Airflow.
    """
    gc.collect()
    is_ours = gc.get_freeze_count() == 0
    if is_ours:
        gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()


def _milliseconds(build: Callable[[], object]) -> float:
    gc.collect()
    with garbage_collection_paused():  # a garbage collection would fall into one of the two builds by chance
        started = _cpu_seconds()
        build()
        return (_cpu_seconds() - started) * 1000


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _spread(milliseconds: Sequence[float]) -> str:
    return f"{median(milliseconds):.1f} ms ({min(milliseconds):.1f} to {max(milliseconds):.1f})"
