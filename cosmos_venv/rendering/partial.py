"""How is it noticed that somebody wants more of a DAG than the one task that was made of it?

While a worker parses a DAG file for one task, the tasks of a DAG and of a dbt group stand in dicts that ask for the
rest when they are looked through, or for a task that is not there. Airflow's own looking does not count, as far as it
has been seen to need only the tasks that are there; nor does what happens while tasks are made and put in order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

_DEFINITIONS = ("airflow.sdk.definitions", "airflow.sdk.bases", "airflow.models", "cosmos_venv")
"""Where methods of DAGs, groups and tasks are written: whoever calls them is who looks."""
_MAKING = frozenset({"add_task", "_convert__dag", "add", "_check_for_group_id_collisions"})
"""What looks for a task only to see whether its id is free."""
_NAMING = "get_unique_task_id"
"""Looks whether the id of a decorated function is free, and gives it another one if not."""
PUTTING_IN_ORDER = frozenset({"_set_relatives", "__hash__", "__eq__"})
"""``a >> b`` looks at all ids of the DAG, to find out that both stand in the same one."""
_BAG, _RUNNER = ("airflow.dag_processing", "airflow.utils.dag_cycle_tester"), "airflow.sdk.execution_time.task_runner"
_RUNNING = frozenset({"parse", "_register_deserialization_allowed_classes", "_push_xcom_if_needed"})
"""What of Airflow's task runner looks through a DAG, each on the way to the task that it runs or to mapped ones."""


class Looker(NamedTuple):
    """Who called into a DAG, a group or a task."""

    module: str
    function: str

    @property
    def only_looks(self) -> bool:
        """Whether it is what of Airflow needs no more than the task that runs."""
        return _is_one_of(self.module, _BAG) or (self.module == _RUNNER and self.function in _RUNNING)


class NotMade:
    """In place of a task that is not there, for who follows tasks to find circles: none comes after it."""

    def get_direct_relative_ids(self) -> set[str]:
        """As a task's."""
        return set()


class AskingDict(dict[str, Any]):
    """A dict of tasks, or of tasks and groups, that lacks some and can have them made.

    :param running: id of the task that this process runs.
    :param but_for: functions of Airflow that look and do not count.
    """

    def __init__(self, there: dict[str, Any], running: str, but_for: Collection[str] = ()) -> None:
        super().__init__(there)
        self.running = running
        self.is_claimed = False
        self._but_for = _MAKING | {*but_for}
        self._asks: list[tuple[str, Callable[[], object]]] = []
        self._is_asking = False

    def ask(self, prefix: str, make: Callable[[], object], *, claims: bool) -> None:
        """Have these made, too, when somebody looks.

        :param prefix: with which the ids of all that it makes begin.
        :param make: makes them; who asks while they are made gets what is there.
        :param claims: whether the running task is one of these: of another project it needs nothing then, while a task
            of the user's own may look at all that comes after it.
        """
        self._asks.append((prefix, make))
        self.is_claimed |= claims

    def _look_through(self) -> None:
        if not self._asks or self._is_asking:
            return
        looker = who_looks(self._but_for, self._may_be_taken)
        if looker is not None and not looker.only_looks:
            self._have_made()

    def _look_for(self, key: object) -> None:
        if not self._asks or self._is_asking:
            return
        is_there = dict.__contains__(self, key)
        if is_there and (self.is_claimed or key != self.running):
            return
        looker = who_looks(self._but_for, self._may_be_taken)
        if looker is not None and (not is_there or looker.module == _RUNNER):
            self._have_made()

    def _may_be_taken(self, task_id: str) -> bool:
        return any(task_id.startswith(prefix) for prefix, _ in self._asks)

    def _have_made(self) -> None:
        self._is_asking = True
        try:
            for _, make in self._asks:
                make()
            self._asks = []
        finally:  # what has failed is asked for once more
            self._is_asking = False

    def __contains__(self, key: object) -> bool:
        self._look_for(key)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        if self._asks and sys._getframe(1).f_code.co_name == "check_cycle" and not dict.__contains__(self, key):
            return NotMade()
        self._look_for(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._look_for(key)
        return super().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._look_for(key)
        return super().setdefault(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self._look_for(key)
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self._look_through()
        return super().popitem()

    def __iter__(self) -> Iterator[str]:
        self._look_through()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._look_through()
        return super().__reversed__()

    def __len__(self) -> int:
        self._look_through()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._look_through()
        return super().__eq__(other)

    __hash__ = None  # as of any dict

    def keys(self) -> Any:
        self._look_through()
        return super().keys()

    def values(self) -> Any:
        self._look_through()
        return super().values()

    def items(self) -> Any:
        self._look_through()
        return super().items()

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)


def who_looks(but_for: Collection[str], may_be_taken: Callable[[str], bool] = bool) -> Looker | None:
    """Who called into a DAG, a group or a task; None where one of these functions of theirs did.

    :param may_be_taken: whether a task that is not there may have this id.
    """
    frame = sys._getframe(2)
    while frame is not None:
        module, function = str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
        if not _is_one_of(module, _DEFINITIONS):
            return Looker(module, function)
        if function in but_for:
            return None
        if function == _NAMING and not may_be_taken(str(frame.f_locals.get("tg_task_id", ""))):
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return Looker("", "")


def _is_one_of(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
