"""Probes: functions that find out something about an implementation in a process that has it imported.

A probe takes the adapter first and returns plain data; ``Harness.ask`` names it.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from types import FrameType
from typing import Any, TypeVar

from pytest_cosmos_venv import Contender
from pytest_cosmos_venv.dags.dag_files import as_in_the_processor

from ..adapter import OPERATOR_CLASSES, Adapter
from ..cosmos_layout import CosmosLayout, context_of, empty_operator, open_adapter, plain_dag
from ..tasks import BEFORE, DagPlan, Shape, Task, plain
from .seed_scenarios import measure_large, play
from .task_process import take_variables

_IMPORTER = "<frozen importlib._bootstrap>"
"""File of the frames between an import and the module that it runs."""
_Probe = TypeVar("_Probe", bound=Callable[..., Any])
_PROBES: dict[str, Callable[..., Any]] = {"unfulfilled_seed_scenarios": play, "memory_for_a_large_seed": measure_large}
"""Name -> the function that may be asked by it. What a probe uses itself cannot be asked."""


def _probe(function: _Probe) -> _Probe:
    _PROBES[function.__name__] = function
    return function


def ask(_: Contender, adapter: str, probe: str, arguments: Mapping[str, Any]) -> Any:
    """Run one probe in the process of a contender and return its answer, as plain data.

    :param adapter: the implementation, as ``open_adapter`` takes it.
    :param probe: name of a probe of this module, or of a method of the adapter.
    :param arguments: what the probe takes beside the adapter, or the method, by name.
    :raises AttributeError: there is no such probe.
    """
    opened = open_adapter(adapter)
    opened.begin()
    probed = _PROBES.get(probe)
    return plain(probed(opened, **arguments) if probed else getattr(opened, probe)(**arguments))


@_probe
def operator_classes(adapter: CosmosLayout) -> dict[str, dict[str, Any]]:
    """Name of each of the ten operators and their base -> its ancestors with their modules, and its template fields.

    :param adapter: the adapter of the implementation.
    """
    found = {}
    for name in (*OPERATOR_CLASSES.values(), "DbtVirtualenvBaseOperator"):
        cls = getattr(adapter.operators(), name, None)
        if cls is not None:
            found[name] = {
                "ancestors": [f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__],
                "template_fields": list(cls.template_fields),
            }
    return found


@_probe
def kernel_lock_file(adapter: Adapter) -> str:
    """The name of the file in ``virtualenv_dir`` that a task locks in the kernel; empty: there is none.

    :param adapter: the adapter of the implementation.
    """
    return adapter.kernel_lock_file


@_probe
def base_signature(adapter: CosmosLayout) -> dict[str, Any]:
    """Parameters of the base class that have a default, in their order.

    :param adapter: the adapter of the implementation.
    """
    parameters = inspect.signature(adapter.operators().DbtVirtualenvBaseOperator.__init__).parameters
    empty = inspect.Parameter.empty
    return {name: each.default for name, each in parameters.items() if each.default is not empty}


@_probe
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


@_probe
def attributes_of(adapter: CosmosLayout, task: Task, names: list[str]) -> dict[str, str]:
    """Attributes of an operator that was just constructed, as text.

    :param adapter: the adapter of the implementation.
    :param task: what the operator is constructed with.
    :param names: the names of attributes.
    """
    operator = adapter.make_task(task)
    return {name: str(getattr(operator, name)) for name in names}


@_probe
def local_base_template_fields(adapter: CosmosLayout) -> list[str]:
    """The template fields of the local base class.

    :param adapter: the adapter of the implementation.
    """
    bases = adapter.operators().DbtVirtualenvBaseOperator.__mro__
    return list(next(base for base in bases if base.__name__ == "DbtLocalBaseOperator").template_fields)


@_probe
def base_methods(adapter: CosmosLayout, names: list[str]) -> dict[str, list[str]]:
    """Name of each of these methods that the base class has -> the names of its parameters, ``self`` apart.

    :param adapter: the adapter of the implementation.
    :param names: the names of methods.
    """
    base = adapter.operators().DbtVirtualenvBaseOperator
    there = {name: getattr(base, name) for name in names if callable(getattr(base, name, None))}
    return {name: list(inspect.signature(method).parameters)[1:] for name, method in there.items()}


@_probe
def result_of_run_command(adapter: CosmosLayout, task: Task, command: list[str]) -> dict[str, Any]:
    """The result of ``run_command``: its type, and those of its fields that the documentation names.

    :param adapter: the adapter of the implementation.
    :param task: what the operator is constructed with.
    :param command: the command line.
    """
    operator = adapter.make_task(task)
    result = operator.run_command(cmd=command, env=dict(os.environ), context=context_of(operator))
    names = [name for name in ("exit_code", "output", "full_output") if hasattr(result, name)]
    return {"type": type(result).__name__, **{name: getattr(result, name) for name in names}}


@_probe
def error_of(
    adapter: CosmosLayout, make: Task | DagPlan | Mapping[str, Any], calls: Sequence[str], variables: Mapping[str, str]
) -> dict[str, Any] | None:
    """The error of making an operator or a DAG, its configuration included, or of the calls; None: there is none.

    :param adapter: the adapter of the implementation.
    :param make: what the operator is constructed with, or what the DAG file would say; arguments of an ordinary DAG.
    :param calls: names of methods of the operator, called without arguments; ``execute`` gets a context. Where there
        are any, an operator that cannot be made is no answer: its error is raised.
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


@_probe
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


@_probe
def traces_of(adapter: CosmosLayout, make: Task | DagPlan) -> list[str]:
    """Changes of files and starts of processes while an operator is constructed or a DAG is built.

    The first time counts: Airflow parses each file in a process of its own, which has built nothing before. It is made
    again, for what is done only then.

    :param adapter: the adapter of the implementation.
    :param make: what is constructed or built.
    """
    # What Airflow itself does once, for a DAG of its own too.
    with plain_dag({"dag_id": "plain"}):
        empty_operator()(task_id="task")
    traces: list[str] = []
    is_over = False
    here = sys._getframe()

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if is_over or (trace := _trace(event, arguments)) is None:
            return
        # What is imported on first use may read and write as it likes.
        if not _imports(sys._getframe(1), up_to=here):
            traces.append(trace)

    sys.addaudithook(listen)
    for _ in range(2):
        with as_in_the_processor():
            _made(adapter, make)
    is_over = True
    return list(dict.fromkeys(traces))


def _imports(frame: FrameType | None, *, up_to: FrameType) -> bool:
    """Whether this is done by a module that is being imported, or for its sake."""
    while frame is not None and frame is not up_to:
        if frame.f_code.co_filename == _IMPORTER:
            return True
        frame = frame.f_back
    return False


def _trace(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"):
        return f"process: {event} {arguments[:2]}"
    if event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "shutil.rmtree"):
        return f"file: {event} {arguments[:2]}"
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & writes:
        return f"file: open for writing {arguments[0]}"
    return None


@_probe
def enum_members(adapter: CosmosLayout, name: str) -> dict[str, str] | None:
    """Name -> value of an enum of its ``constants``, aliases too; None where there is none of that name.

    :param adapter: the adapter of the implementation.
    :param name: the name of the enum.
    """
    enum = getattr(adapter.constants(), name, None)
    return None if enum is None else {name: str(member.value) for name, member in enum.__members__.items()}


@_probe
def render(adapter: CosmosLayout, plan: DagPlan) -> Shape:
    """The shape of the DAG that the implementation makes of a plan, under the variables of Airflow's DAG processor.

    :param adapter: the adapter of the implementation.
    :param plan: what the DAG file would say.
    """
    with as_in_the_processor():
        return adapter.render(plan)
