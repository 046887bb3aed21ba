"""The faults that a test can ask for: one function for each kind. Its keywords say where, how often and how long.

``from pytest_cosmos_venv.faults import worker_killed`` and ``@pytest.mark.cosmos_fault(worker_killed(after="ports"))``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, TypedDict

from pytest_cosmos_venv.errors import ToolkitMisuse, require_count, require_seconds

if TYPE_CHECKING:
    import pytest
    from typing_extensions import Unpack

Place = Literal["start", "end"]
MARK = "cosmos_fault"
"""The name of the mark."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a test, made by one of the functions of this module.

    :param kind: the name of the function, such as ``worker_killed``.
    :param at: ``start`` or ``end`` of a task; None: the fault is not tied to the start or end of a task.
    :param after: the dbt node after whose end the fault happens: the node's name, or its number among the nodes that
        dbt finishes in the run, from 1; None: the fault is not tied to a node.
    :param count: the number of connections that the fault hits; None: no limit.
    :param seconds: how long the fault lasts, in seconds; None: to the end of the test.
    :param in_task: the id of the only task in which the fault happens; None: the first task that reaches the place.
    :param times: how often the fault happens, at most once in each try of one task; None: in every try.
    :param is_optional: whether the test may pass although the fault has not happened.
    """

    kind: str
    at: Place | None = None
    after: int | str | None = None
    count: int | None = None
    seconds: float | None = None
    in_task: str | None = None
    times: int | None = 1
    is_optional: bool = False

    def __post_init__(self) -> None:
        if self.at not in (None, "start", "end"):
            raise ToolkitMisuse(f"{self.kind}(at={self.at!r}): give 'start' or 'end', or after= and a dbt node.")
        if isinstance(self.after, int):
            require_count(self.after, "after")
        for name in ("count", "times"):
            if getattr(self, name) is not None:
                require_count(getattr(self, name), name)
        if self.seconds is not None:
            require_seconds(self.seconds, "seconds", is_positive=True)

    @property
    def needs_child(self) -> bool:
        """Whether the task has to run in a process of its own."""
        return self.kind in ("worker_killed", "disk_full")

    def missing(self, struck: int) -> int:
        """Return how often the fault still has to happen before the test may pass.

        :param struck: how often the fault has happened.
        """
        return 0 if self.is_optional else max((self.times or 1) - struck, 0)

    def __str__(self) -> str:
        """The call that makes the fault, without keywords that have their default values."""
        given = {each.name: getattr(self, each.name) for each in fields(self)[1:]}
        usual = {each.name: each.default for each in fields(self)}
        return f"{self.kind}({', '.join(f'{name}={given[name]!r}' for name in given if given[name] != usual[name])})"


class Often(TypedDict, total=False):
    """Keywords of every fault in the work of a task.

    ``in_task`` is the id of the only task in which the fault happens; without ``in_task``, the fault happens in the
    first task that reaches the place. ``times`` says how often the fault happens: once by default, with None in every
    try of the task. With ``is_optional=True`` the test may pass although the fault has not happened.
    """

    in_task: str | None
    times: int | None
    is_optional: bool


def worker_killed(*, at: Place | None = None, after: int | str | None = None, **often: Unpack[Often]) -> Fault:
    """SIGKILL ends the process of the task. Child processes of the task, such as dbt, go on.

    :param at: ``start`` (the default): before the task executes; ``end``: after the task has executed and before
        Airflow stores its result.
    :param after: the dbt node after whose end the kill happens, in place of ``at``: the node's name, or its number
        among the nodes that dbt finishes in the run, from 1.
    :param **often: the keywords of ``Often``.
    """
    return _of_worker("worker_killed", at, after, often)


def disk_full(*, after: int | str | None = None, **often: Unpack[Often]) -> Fault:
    """Every write of the task and of its dbt fails with ENOSPC.

    :param after: the dbt node after whose end it happens, by name or number; None: from the start of the task.
    :param **often: the keywords of ``Often``.
    """
    return _of_worker("disk_full", None, after, often)


def dbt_killed(*, after: int | str = 1, **often: Unpack[Often]) -> Fault:
    """SIGKILL ends dbt.

    :param after: the dbt node after whose end it happens, by name or number.
    :param **often: the keywords of ``Often``.
    """
    return Fault(kind="dbt_killed", after=after, **often)


def dbt_hangs(*, after: int | str = 1, seconds: float | None = None, **often: Unpack[Often]) -> Fault:
    """dbt hangs.

    :param after: the dbt node after whose end dbt hangs, by name or number.
    :param seconds: how long dbt hangs, in seconds; None: until somebody ends dbt.
    :param **often: the keywords of ``Often``.
    """
    return Fault(kind="dbt_hangs", after=after, seconds=seconds, **often)


def warehouse_down(*, connections: int | None = None, seconds: float | None = None, is_optional: bool = False) -> Fault:
    """The warehouse behind ``cosmos_faults.warehouse(…)`` resets each new connection.

    :param connections: the number of connections that are reset; None: no limit.
    :param seconds: how long the outage lasts, by the clock of the code under test; None: to the end of the test.
    :param is_optional: whether the test may pass without the outage.
    """
    return Fault(kind="warehouse_down", count=connections, seconds=seconds, is_optional=is_optional)


def faults_of(marks: Iterable[pytest.Mark]) -> tuple[Fault, ...]:
    """Return the faults of all marks of a test, the nearest mark first.

    :param marks: the marks of the name ``cosmos_fault``.
    :raises ToolkitMisuse: a mark holds anything but faults.
    """
    found: list[Fault] = []
    for mark in marks:
        for given in mark.args or (None,):
            if not isinstance(given, Fault) or mark.kwargs:
                wrong = given if not isinstance(given, Fault) else mark.kwargs
                raise ToolkitMisuse(
                    f"@pytest.mark.{MARK}: {wrong!r} is no fault. Give {MARK}(worker_killed(after=3)), or another of "
                    f"pytest_cosmos_venv.faults: {', '.join(KINDS)}."
                )
            found.append(given)
    return tuple(found)


KINDS = {
    each.__name__: each
    for each in (
        dbt_hangs,
        dbt_killed,
        disk_full,
        warehouse_down,
        worker_killed,
    )
}
"""The functions of this module that return a fault, by name."""


def _of_worker(kind: str, at: Place | None, after: int | str | None, often: Often) -> Fault:
    if at is not None and after is not None:
        raise ToolkitMisuse(f"{kind}(at={at!r}, after={after!r}): it happens in one place; give one of them.")
    return Fault(kind=kind, at=at or ("start" if after is None else None), after=after, **often)
