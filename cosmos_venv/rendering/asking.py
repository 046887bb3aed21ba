"""How is it noticed that somebody wants more of a DAG than the one task that was made of it?

While a worker parses a DAG file for one task, the tasks of a DAG and of a dbt group stand in dicts that ask for the
rest when they are looked through, or for a task that is not there. Airflow's own looking does not count, as far as it
has been seen to need only the tasks that are there; nor does what happens while tasks are made and put in order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

_DEFINITIONS = ("airflow.sdk.definitions", "airflow.sdk.bases", "airflow.models", "cosmos_venv")
"""Where methods of DAGs, groups and tasks are written: whoever calls them is who looks."""
_MAKING = frozenset({"add_task", "_convert__dag", "add", "_check_for_group_id_collisions", "get_unique_task_id"})
"""What looks for a task only to see whether its id is free."""
PUTTING_IN_ORDER = frozenset({"_set_relatives", "__hash__", "__eq__"})
"""``a >> b`` looks at all ids of the DAG, to find out that both stand in the same one."""
_ONLY_LOOKING = ("airflow.dag_processing", "airflow.utils.dag_cycle_tester", "airflow.sdk.execution_time")
"""What of Airflow looks through the tasks of a DAG on the way to the one that it runs."""


class AskingDict(dict[str, Any]):
    """A dict of tasks, or of tasks and groups, that lacks some and can have them made.

    :param ask: makes the rest; called at most once.
    :param but_for: functions of Airflow that look and do not count.
    """

    def __init__(self, there: dict[str, Any], ask: Callable[[], object], but_for: frozenset[str] = frozenset()) -> None:
        super().__init__(there)
        self._asks = [ask]
        self._but_for = _MAKING | but_for

    def also_ask(self, ask: Callable[[], object]) -> None:
        """Let more be made, too: a DAG may have several dbt groups."""
        self._asks.append(ask)

    def _look_through(self) -> None:
        if self._asks and (caller := who_looks(self._but_for)) is not None and not _is_one_of(caller, _ONLY_LOOKING):
            self._have_made()

    def _look_for(self, key: object) -> None:
        if self._asks and not dict.__contains__(self, key) and who_looks(self._but_for) is not None:
            self._have_made()

    def _have_made(self) -> None:
        asks, self._asks = self._asks, []
        for ask in asks:
            ask()

    def __contains__(self, key: object) -> bool:
        self._look_for(key)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self._look_for(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._look_for(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        self._look_through()
        return super().__iter__()

    def __len__(self) -> int:
        self._look_through()
        return super().__len__()

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


def who_looks(but_for: frozenset[str]) -> str | None:
    """The module that called into a DAG, a group or a task; None where one of these functions of theirs did."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not _is_one_of(module, _DEFINITIONS):
            return module
        if frame.f_code.co_name in but_for:
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _is_one_of(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
