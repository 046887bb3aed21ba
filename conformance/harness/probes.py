"""Work in processes that have an implementation imported: tasks, and probes, which find out something about it.

A probe takes the adapter first and returns plain data; ``Harness.ask`` names it.
"""

from __future__ import annotations

import inspect
import itertools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import Contender
from pytest_cosmos_venv.dags.dag_files import as_in_the_processor
from pytest_cosmos_venv.dags.side_effects import watching

from ..adapter import BEFORE, OPERATOR_CLASSES, Adapter, AdapterError, DagPlan, Outcome, Shape, Task, plain
from ..cosmos_layout import CosmosLayout, context_of, empty_operator, in_words, open_adapter, plain_dag
from .mounts import make_places
from .seed_scenarios import play  # noqa: F401 - a probe

OVERWRITTEN, OVERWRITING = "COSMOS_SUITE_OVERWRITTEN", "COSMOS_SUITE_OVERWRITING"
"""Variables of a task: the file that another process overwrites before the task changes it, and the text for it."""


def work(
    contender: Contender, adapter: str, tasks: Sequence[Task], variables: Mapping[str, str], seconds: float
) -> dict[str, Any]:
    """Run a contender's own tasks to their ends.

    :param contender: the contender of the race.
    :param adapter: the name of the adapter, as ``open_adapter`` takes it.
    :param tasks: one for each contender. If there are more, a contender runs several of them, one after the other.
    :param variables: variables of the environment, for all of them.
    :param seconds: that a task may take.
    :returns: the first outcome that is no success, or the last, as plain data.
    """
    take_variables(variables)
    if OVERWRITTEN in variables:
        _write_over(Path(variables[OVERWRITTEN]), variables[OVERWRITING])
    mine = list(itertools.islice(tasks, contender.index, None, contender.count))
    opened = open_adapter(adapter)
    opened.seconds = seconds
    opened.begin()
    outcomes = [performed(opened, task) for task in mine]
    told: dict[str, Any] = plain(next((outcome for outcome in outcomes if not outcome.succeeded), outcomes[-1]))
    return told


def _write_over(file: Path, text: str) -> None:
    """Write a text over a file just before this process removes, moves or truncates the file for the first time.

    :param file: the file.
    :param text: the new content of the file.
    """
    left = [text]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        truncates = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_TRUNC
        if left and (truncates or event in {"os.remove", "os.rename"}) and str(file) in map(str, arguments[:2]):
            file.write_text(left.pop(), encoding="ascii")

    sys.addaudithook(hook)


def take_variables(variables: Mapping[str, str]) -> None:
    """Set environment variables as if this process had started with them.

    :param variables: name -> value.
    """
    os.environ.update(variables)
    tempfile.tempdir = None  # forget the temporary directory: tempfile looks for it again, as in a new process


def performed(adapter: Adapter, task: Task) -> Outcome:
    """The outcome of a task, also under an adapter that performs tasks its own way.

    :param adapter: runs the task.
    :param task: what to run; its mounts and its standard input are prepared first.
    :raises AdapterError: ``perform`` raised, or returned no outcome.
    """
    if task.standard_input is not None:
        _offer(task.standard_input)
    hook = f"{type(adapter).__name__}.perform"
    make_places(task.place)
    try:
        outcome: object = adapter.perform(task)
    except Exception as error:
        raise AdapterError(
            f"{hook} raised {in_words(error)}. A task that fails is told by what it returns: "
            'Outcome(state="failed", exception="ValueError: what was wrong").'
        ) from error
    if not isinstance(outcome, Outcome):
        raise AdapterError(f"{hook} must return an Outcome, not {type(outcome).__name__}.")
    return outcome


def _offer(text: str) -> None:
    """Put a text on standard input, which does not end, like the channel to Airflow 3's supervisor."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.dup2(reading, 0)


def ask(_: Contender, adapter: str, probe: str, arguments: Mapping[str, Any]) -> Any:
    """Run one probe in the process of a contender and return its answer, as plain data.

    :param adapter: the implementation, as ``open_adapter`` takes it.
    :param probe: name of a probe, or of a method of the adapter.
    :param arguments: what the probe takes beside the adapter, or the method, by name.
    :raises AttributeError: there is no such probe.
    """
    opened = open_adapter(adapter)
    opened.begin()
    probed = globals().get(probe)
    return plain(probed(opened, **arguments) if probed else getattr(opened, probe)(**arguments))


def operator_classes(adapter: CosmosLayout) -> dict[str, dict[str, Any]]:
    """Name of each of the ten operators, their base and its local base -> its ancestors and its template fields.

    :param adapter: the adapter of the implementation.
    """
    module = adapter.operators()
    names = [*OPERATOR_CLASSES.values(), "DbtVirtualenvBaseOperator"]
    found = {name: getattr(module, name) for name in names if hasattr(module, name)}
    found |= {each.__name__: each for each in found[names[-1]].__mro__ if each.__name__ == "DbtLocalBaseOperator"}
    return {
        name: {"ancestors": [base.__name__ for base in cls.__mro__], "template_fields": list(cls.template_fields)}
        for name, cls in found.items()
    }


def kernel_lock_file(adapter: Adapter) -> str:
    """The name of the file in ``virtualenv_dir`` that a task locks in the kernel; empty: there is none.

    :param adapter: the adapter of the implementation.
    """
    return adapter.kernel_lock_file


def missing_names(adapter: CosmosLayout, names: Mapping[str, Sequence[str]]) -> list[str]:
    """The names that cannot be imported from where they should be.

    :param adapter: the adapter of the implementation.
    :param names: module below the import root, or nothing for the package itself -> names.
    """
    missing = []
    for below, wanted in names.items():
        home = f"{adapter.import_root}.{below}".rstrip(".")
        try:
            module: object = import_module(home)
        except ImportError:
            module = None
        missing += [f"{home}.{name}" for name in wanted if not hasattr(module, name)]
    return missing


def invocation_mode(adapter: CosmosLayout, task: Task) -> str:
    """The invocation mode of an operator that was just constructed, as text.

    :param adapter: the adapter of the implementation.
    :param task: what the operator is constructed with.
    """
    return str(adapter.make_task(task).invocation_mode)


def base_methods(adapter: CosmosLayout, names: list[str]) -> dict[str, dict[str, Any]]:
    """Name of each of these methods that the base class has -> its parameters, ``self`` apart, with their defaults.

    :param adapter: the adapter of the implementation.
    :param names: the names of methods.
    """
    base = adapter.operators().DbtVirtualenvBaseOperator
    there = {name: getattr(base, name) for name in names if callable(getattr(base, name, None))}
    signatures = {name: list(inspect.signature(method).parameters.values())[1:] for name, method in there.items()}
    return {name: {each.name: each.default for each in parameters} for name, parameters in signatures.items()}


def result_of_run_command(adapter: CosmosLayout, task: Task, command: list[str]) -> dict[str, Any]:
    """Those fields of the result of ``run_command`` that the documentation names.

    :param adapter: the adapter of the implementation.
    :param task: what the operator is constructed with.
    :param command: the command line.
    """
    operator = adapter.make_task(task)
    result = operator.run_command(cmd=command, env=dict(os.environ), context=context_of(operator))
    names = [name for name in ("exit_code", "output", "full_output") if hasattr(result, name)]
    return {name: getattr(result, name) for name in names}


def error_of(
    adapter: CosmosLayout, make: Task | DagPlan | Mapping[str, Any], calls: Sequence[str], variables: Mapping[str, str]
) -> dict[str, Any] | None:
    """The error of making an operator or a DAG, its configuration included, or of the calls; None: there is none.

    :param adapter: the adapter of the implementation.
    :param make: what the operator is constructed with, or what the DAG file would say; arguments of an ordinary DAG.
    :param calls: names of methods of the operator, called without arguments; ``execute`` gets a context. With calls, an
        error while the operator is made is raised and not returned.
    :param variables: environment variables of the process.
    """
    take_variables(variables)
    with as_in_the_processor() if not isinstance(make, Task) else nullcontext():
        made = _made(adapter, make) if calls else None
        try:
            if made is None:
                _made(adapter, make)
            for name in calls:
                getattr(made, name)(*([context_of(made)] if name == "execute" else []))
        except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return {"kinds": kinds, "text": f"{type(error).__name__}: {error}"}
    return None


def _made(adapter: CosmosLayout, make: Task | DagPlan | Mapping[str, Any]) -> Any:
    if isinstance(make, Task):
        return adapter.make_task(make)
    return adapter.make_dag(make) if isinstance(make, DagPlan) else plain_dag(make)


def dag_facts(adapter: CosmosLayout, make: DagPlan | Mapping[str, Any]) -> dict[str, str]:
    """Attributes of an Airflow DAG and of one of its tasks, as text.

    :param adapter: the adapter of the implementation.
    :param make: what the DAG file would say; arguments of an ordinary DAG, which gets one task.
    """
    with as_in_the_processor():
        made = _made(adapter, make)
        if not isinstance(make, DagPlan):
            empty_operator()(task_id="task", dag=made)
    task = next((each for each in made.tasks if each.task_id != BEFORE), None)
    return {
        "dag_id": made.dag_id,
        "schedule": f"{type(made.timetable).__name__} {vars(made.timetable)}",
        "start_date": str(made.start_date),
        "catchup": str(made.catchup),
        **({f"a task's {name}": str(getattr(task, name)) for name in made.default_args} if task else {}),
    }


def traces_of(adapter: CosmosLayout, make: Task | DagPlan) -> list[str]:
    """Changes of files and starts of processes while an operator is constructed or a DAG is built.

    The first time counts: Airflow parses each file in a process of its own, which has built nothing before. The second
    time counts too, for side effects that only a repetition has.

    :param adapter: the adapter of the implementation.
    :param make: what is constructed or built.
    """
    # Airflow's own side effects with a first DAG are over before the watch begins.
    with plain_dag({"dag_id": "plain"}):
        empty_operator()(task_id="task")
    with watching() as watch:
        for _ in range(2):
            with as_in_the_processor():
                _made(adapter, make)
    return [f"{each.kind}: {each.what}, by {each.where}" for each in watch.side_effects]


def enum_members(adapter: CosmosLayout, name: str) -> dict[str, str] | None:
    """Name -> value of an enum of its ``constants``, aliases too; None where there is no such enum.

    :param adapter: the adapter of the implementation.
    :param name: the name of the enum.
    """
    enum = getattr(adapter.constants(), name, None)
    return None if enum is None else {name: str(member.value) for name, member in enum.__members__.items()}


def render(adapter: CosmosLayout, plan: DagPlan) -> Shape:
    """The shape of the DAG that the implementation makes of a plan, under the variables of Airflow's DAG processor.

    :param adapter: the adapter of the implementation.
    :param plan: what the DAG file would say.
    """
    with as_in_the_processor():
        return adapter.render(plan)
