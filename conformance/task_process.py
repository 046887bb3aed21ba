"""What happens in the process of one task? The operator is made and run there, and told to end as Airflow does it."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import Contender, RunTask

from .adapter import Adapter, AdapterError, open_adapter
from .places import within
from .tasks import STATES, Outcome, Task

if TYPE_CHECKING:
    from collections.abc import Sequence


def work(contender: Contender, adapter: str, tasks: Sequence[Task], variables: Mapping[str, str]) -> Outcome:
    """What a contender does: its own task of these, to its end.

    :param adapter: as ``open_adapter`` takes it.
    :param tasks: one for each contender; it runs them one after the other where there are more than contenders.
    :param variables: of the environment, for all of them.
    """
    take_variables(variables)
    mine = list(itertools.islice(tasks, contender.index, None, contender.count))
    opened = open_adapter(adapter)
    opened.begin()
    outcomes = [performed(opened, task) for task in mine]
    return next((outcome for outcome in outcomes if not outcome.succeeded), outcomes[-1])


def take_variables(variables: Mapping[str, str]) -> None:
    """As if this process had started with them."""
    os.environ.update(variables)
    tempfile.tempdir = None  # a process that starts asks where it is, and this one asks again


def performed(adapter: Adapter, task: Task) -> Outcome:
    """What came of it, where it finds what it is to find: also under an adapter that performs tasks its own way."""
    if task.standard_input is not None:
        _offer(task.standard_input)
    hook = f"{type(adapter).__name__}.perform"
    with within(task.place):
        try:
            outcome: object = adapter.perform(task)
        except Exception as error:
            raise AdapterError(
                f"{hook} raised {_in_words(error)}. A task that fails is told by what it returns: "
                'Outcome(state="failed", exception="ValueError: what was wrong").'
            ) from error
    return _plain(outcome, hook)


def _plain(outcome: object, hook: str) -> Outcome:
    """The same, of which every requirement may ask what it asks.

    :raises AdapterError: it is none, or has a field that means nothing.
    """
    if not isinstance(outcome, Outcome):
        raise AdapterError(f"{hook} must return an Outcome, not {type(outcome).__name__}.")
    if outcome.state not in STATES:
        raise AdapterError(f"{hook} returned an Outcome with state={outcome.state!r}: give one of {', '.join(STATES)}.")
    for name, given in (("exception", outcome.exception or ""), ("log", outcome.log)):
        if not isinstance(given, str):
            raise AdapterError(f"{hook} returned an Outcome whose {name} is of {type(given)}: give one text.")
    return outcome


def ask(_: Contender, adapter: str, question: str, arguments: Mapping[str, Any]) -> Any:
    """What a contender does that answers a question about the implementation: a method of its adapter, plain data back.

    :param question: name of a function in ``questions``.
    """
    from . import questions

    opened = open_adapter(adapter)
    opened.begin()
    return getattr(questions, question)(opened, **arguments)


def run_operator(adapter: Adapter, task: Task) -> Outcome:
    """Make the operator and run it; SIGTERM meanwhile does what Airflow does with it."""
    try:
        operator = adapter.make_task(task)
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
        return Outcome(state="failed", exception=_in_words(error))
    obey(operator)
    if task.under_airflow:
        seen = RunTask([])(operator)
        return Outcome(
            state=seen.state,
            exception=None if seen.exception is None else _in_words(seen.exception),
            log=seen.log,
            xcoms=seen.xcoms,
            assets=tuple(asset.uri for asset in seen.assets),
            fields=_fields(operator),
        )
    try:
        operator.execute(context_of(operator))
    except BaseException as error:  # noqa: BLE001 - as above; on Airflow 2 a kill arrives as an exception of its own
        state = "skipped" if type(error).__name__ == "AirflowSkipException" else "failed"
        return Outcome(state=state, exception=_in_words(error), fields=_fields(operator))
    return Outcome(state="success", fields=_fields(operator))


def _fields(operator: Any) -> dict[str, str]:
    return {name: str(getattr(operator, name, None)) for name in operator.template_fields}


def context_of(operator: Any) -> dict[str, Any]:
    """What an operator without Airflow around it is told of itself and of its run: as much as Airflow tells it.

    This process's environment tells it too.
    """
    from pytest_cosmos_venv.airflow.told import context_alone, export

    context = context_alone(operator, "conformance")
    export(context)
    return context


def _offer(text: str) -> None:
    """Let it be read from standard input, which does not end: so is the channel to Airflow 3's supervisor."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.dup2(reading, 0)


def obey(operator: Any) -> None:
    """Let SIGTERM do to this process what it does to a task's: call ``on_kill`` in the middle of anything.

    Airflow 3 then goes on as if nothing had happened. Airflow 2 raises what no ``except Exception`` catches. A child
    that the task has forked of itself has the same handler: there Airflow 3 does nothing, and Airflow 2 ends it.
    """
    from pytest_cosmos_venv.airflow.versions import this_airflow

    task, termination = os.getpid(), this_airflow().termination()

    def on_term(_signal: int, _frame: FrameType | None) -> None:
        if os.getpid() != task:
            if termination is not None:
                os._exit(1)
            return
        print("Task was told to end by SIGTERM.", file=sys.stderr, flush=True)
        operator.on_kill()
        if termination is not None:
            raise termination("Task received SIGTERM signal")

    signal.signal(signal.SIGTERM, on_term)


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
