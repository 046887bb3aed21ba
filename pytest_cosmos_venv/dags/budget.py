"""The budget for building a DAG: Airflow builds each DAG again every few seconds, on a machine with other work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.dags.cost import ParseCost, build_one_plain_dag, measure, plain_builder
from pytest_cosmos_venv.dags.dag_files import file_builder, is_dag
from pytest_cosmos_venv.dags.side_effects import FILE, SideEffect, Watch, watching
from pytest_cosmos_venv.errors import ToolkitMisuse

_Build = Callable[[], Any]
_FEWEST_REPEATS = 3


class OverBudget(AssertionError):
    """Building a DAG did or cost more than it may."""


class ParseBudget:
    """The check ``cosmos_airflow.budget``: it holds the building of DAGs to a budget.

    :param around_files: gives the block in which DAG files are imported.
    """

    def __init__(self, around_files: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._around_files = around_files

    def __call__(
        self,
        build: _Build | Path | str,
        *,
        times: float | None = None,
        milliseconds: float | None = None,
        repeats: int = 7,
    ) -> ParseCost:
        """Fail when building a DAG starts a process, opens a connection, changes a file, or costs too much.

        :param build: a function that returns the DAG, or a list of DAGs; or the path of a DAG file. It is called once
            under watch. If that first parse had a forbidden side effect, a second one counts instead. Then it is called
            for each repeat.
        :param times: the CPU time that building may take, as a multiple of the time for an equal plain DAG (as many
            empty tasks, edges and groups), which is built in turns; None for any.
        :param milliseconds: the CPU time that building may take; None for any.
        :param repeats: the number of repeats, of which the median counts.
        :returns: the cost, with its ``.text``.
        :raises OverBudget: building had a forbidden side effect, or cost more.
        :raises ToolkitMisuse: no DAG is built, or there is no number of repeats that gives a median.
        """
        __tracebackhide__ = True
        if repeats < _FEWEST_REPEATS:
            raise ToolkitMisuse(f"repeats={repeats}: the median of fewer than {_FEWEST_REPEATS} says nothing.")
        builds = _builder(build)  # first: a missing file is reported before a missing implementation
        is_file = isinstance(build, (str, os.PathLike))
        with self._around_files() if is_file else nullcontext(), builds as builder:
            cost = _cost(builder, repeats)
        _check(cost, times=times, milliseconds=milliseconds)
        return cost


def _cost(build: _Build, repeats: int) -> ParseCost:
    __tracebackhide__ = True
    build_one_plain_dag()
    with watching() as watch:
        result = build()
    if _forbidden(watch):
        # The first parse may fill a cache: only side effects that a second parse has too count.
        with watching() as watch:
            result = build()
    check_side_effects(watch)
    dags = _dags_of(result)
    plain, size = plain_builder(dags)
    built, reference = measure(build, plain, repeats=repeats)
    return ParseCost(dags=dags, size=size, built=built, plain=reference)


def check_side_effects(watch: Watch) -> None:
    """Refuse side effects.

    :param watch: the side effects.
    :raises OverBudget: there is one.
    """
    __tracebackhide__ = True
    found = [f"{effect.what}\n    at {effect.where}" for effect in _forbidden(watch)]
    if found:
        lines = "\n  ".join(dict.fromkeys(found))
        raise OverBudget(f"Building the DAG did what Airflow would do again at every parse:\n  {lines}")


def _forbidden(watch: Watch) -> list[SideEffect]:
    """Return the side effects that count.

    A file that the build made in the temporary folder and removed again does not count: it is a library's scratch file.
    """
    temporary = os.path.realpath(tempfile.gettempdir())
    made: dict[str, bool] = {}
    for effect in watch.side_effects:
        if effect.kind == FILE and Path(effect.place).is_relative_to(temporary):
            made.setdefault(effect.place, not effect.what.startswith("removed"))
    gone = {place for place, is_made in made.items() if is_made and not os.path.lexists(place)}
    return [each for each in watch.side_effects if each.place not in gone]


def _check(cost: ParseCost, *, times: float | None, milliseconds: float | None) -> None:
    __tracebackhide__ = True
    if times is not None and cost.times_plain > times:
        raise OverBudget(f"Building the DAG took {cost.text}. Allowed: {times:g} times as much.")
    if milliseconds is not None and cost.milliseconds > milliseconds:
        raise OverBudget(f"Building the DAG took {cost.text}. Allowed: {milliseconds:g} ms.")


def _builder(build: _Build | Path | str) -> AbstractContextManager[_Build]:
    if isinstance(build, (str, os.PathLike)):
        file = Path(build)
        if not file.is_file():
            raise ToolkitMisuse(f"cosmos_airflow.budget({str(build)!r}): there is no such DAG file.")
        return file_builder(file)
    return nullcontext(build)


def _dags_of(result: Any) -> Sequence[Any]:
    dags = list(result) if isinstance(result, (list, tuple)) else [result]
    strange = [dag for dag in dags if not is_dag(dag)]
    if strange or not dags:
        given = type(strange[0]).__name__ if strange else "an empty list"
        raise ToolkitMisuse(
            f"What cosmos_airflow.budget calls returned {given}: it has to return the DAG that it builds."
        )
    return dags
