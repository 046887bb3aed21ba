"""Cosmos's import layout: DAGs built and operators run by the public classes of an implementation. Values in, data out.

The adapter calls this module; here an implementation is only known by the Protocol ``CosmosLayout``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any, Protocol

from pytest_cosmos_venv.dags.shape import dag_shape
from pytest_cosmos_venv.runs.running import run_dag, run_task

from .tasks import AFTER, BEFORE, DagPlan, Outcome, RenderedTask, Shape, Task

_ENUMS = {
    "execution_mode": "ExecutionMode",
    "invocation_mode": "InvocationMode",
    "load_method": "LoadMode",
    "test_behavior": "TestBehavior",
    "source_rendering_behavior": "SourceRenderingBehavior",
    "seed_rendering_behavior": "SeedRenderingBehavior",
    "test_indirect_selection": "TestIndirectSelection",
}
"""Parameter of a configuration -> its enum."""
OPERATOR_CLASSES = {
    "build": "DbtBuildVirtualenvOperator",
    "ls": "DbtLSVirtualenvOperator",
    "seed": "DbtSeedVirtualenvOperator",
    "snapshot": "DbtSnapshotVirtualenvOperator",
    "source freshness": "DbtSourceVirtualenvOperator",
    "run": "DbtRunVirtualenvOperator",
    "test": "DbtTestVirtualenvOperator",
    "run-operation": "DbtRunOperationVirtualenvOperator",
    "docs generate": "DbtDocsVirtualenvOperator",
    "clone": "DbtCloneVirtualenvOperator",
}
"""dbt command -> the operator's public name."""


class CosmosLayout(Protocol):
    """An implementation with Cosmos's import layout, as an adapter offers it.

    :param import_root: the package that DAG files import, such as ``cosmos_venv``.
    """

    import_root: str

    def constants(self) -> ModuleType:
        """The module with the enums that DAG files name."""

    def profile(self, arguments: Mapping[str, Any]) -> Any:
        """The implementation's own configuration of a profile.

        :param arguments: the arguments of ``ProfileConfig``.
        """

    def make_task(self, task: Task) -> Any:
        """The Airflow operator, constructed.

        :param task: what it is constructed with.
        """

    def make_dag(self, plan: DagPlan) -> Any:
        """The Airflow DAG, built.

        :param plan: what the DAG file would say.
        """


def build_dag(adapter: CosmosLayout, plan: DagPlan) -> Any:
    """A ``DbtDag``, or an Airflow DAG with ``DbtTaskGroup``s in it.

    :param adapter: the adapter of the implementation whose classes are used.
    :param plan: what the DAG file would say.
    :raises Exception: whatever the implementation raises.
    """
    root = import_module(adapter.import_root)
    if not plan.groups:
        return root.DbtDag(**_configurations(adapter, plan), **plan.dag)
    with plain_dag(plan.dag) as dag:
        failing = partial(_operator_class("bash", "BashOperator"), bash_command="exit 1")
        before = (failing if plan.before_fails else empty_operator())(task_id=BEFORE)
        after = empty_operator()(task_id=AFTER)
        for group_id in plan.groups:
            group = root.DbtTaskGroup(group_id=group_id, **_configurations(adapter, plan))
            before >> group >> after
    return dag


def shape_of(adapter: CosmosLayout, plan: DagPlan) -> Shape:
    """The DAG's tasks, or what building it raised.

    :param adapter: the adapter of the implementation that builds it.
    :param plan: what the DAG file would say; its variables and folder become this process's.
    """
    os.environ.update(plan.variables)
    if plan.folder is not None:
        os.chdir(plan.folder)
    try:
        dag = adapter.make_dag(plan)
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
        return Shape(exception=f"{type(error).__name__}: {error}")
    tasks = dag_shape(dag).data["tasks"]
    downstream: dict[str, list[str]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        for upstream in task["upstream"]:
            downstream[upstream].append(name)
    return Shape(
        tasks={
            name: RenderedTask(operator=task["type"], group=task["group"], downstream=tuple(downstream[name]))
            for name, task in tasks.items()
        }
    )


def plain_dag(arguments: Mapping[str, Any]) -> Any:
    """Airflow's own DAG, without dbt.

    :param arguments: the arguments of the DAG.
    """
    dag_class: Any = import_module("airflow").DAG
    return dag_class(**arguments)


def empty_operator() -> Any:
    """The class of Airflow's EmptyOperator, wherever this Airflow has it."""
    return _operator_class("empty", "EmptyOperator")


def _operator_class(module: str, name: str) -> Any:
    try:
        return getattr(import_module(f"airflow.providers.standard.operators.{module}"), name)
    except ImportError:  # Airflow 2
        return getattr(import_module(f"airflow.operators.{module}"), name)


def _configurations(adapter: CosmosLayout, plan: DagPlan) -> dict[str, Any]:
    """The arguments of a DbtDag or DbtTaskGroup, its own configuration classes made of plain data."""
    root = import_module(adapter.import_root)
    named: dict[str, Any] = {}
    if project := typed(adapter, plan.project):
        # By its place, as all examples have it: no page names the parameter.
        named["project_config"] = root.ProjectConfig(project.pop("dbt_project_path"), **project)
    if plan.profile:
        named["profile_config"] = adapter.profile(plan.profile)
    return {
        **named,
        "execution_config": root.ExecutionConfig(**typed(adapter, plan.execution)),
        "render_config": root.RenderConfig(**typed(adapter, plan.render)),
        "operator_args": dict(plan.operator_args),
    }


def typed(adapter: CosmosLayout, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with values of enums made members of the implementation's own enums.

    :param adapter: the adapter of the implementation.
    :param arguments: the arguments of a configuration or of an operator.
    """
    constants = adapter.constants()
    return {
        name: getattr(constants, _ENUMS[name])(value) if name in _ENUMS and value is not None else value
        for name, value in arguments.items()
    }


def run_operator(adapter: CosmosLayout, task: Task) -> Outcome:
    """Make the operator and run it; SIGTERM meanwhile does what Airflow does with it.

    :param adapter: makes the operator.
    :param task: what to run, and whether with Airflow around it.
    """
    try:
        operator = adapter.make_task(task)
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
        return Outcome(state="failed", exception=in_words(error))
    obey(operator)
    if task.under_airflow:
        seen = run_task(operator)
        return Outcome(
            state=seen.state,
            exception=None if seen.exception is None else in_words(seen.exception),
            log=seen.log,
            xcoms=seen.xcoms,
            assets=tuple(asset.uri for asset in seen.assets),
            fields=_fields(operator),
        )
    try:
        operator.execute(context_of(operator))
    except BaseException as error:  # noqa: BLE001 - as above; on Airflow 2 a kill arrives as an exception of its own
        state = "skipped" if type(error).__name__ == "AirflowSkipException" else "failed"
        return Outcome(state=state, exception=in_words(error), fields=_fields(operator))
    return Outcome(state="success", fields=_fields(operator))


def run_whole_dag(adapter: CosmosLayout, plan: DagPlan) -> Outcome:
    """Build a DAG and run all of its tasks under Airflow, with their retries.

    :param adapter: makes the DAG.
    :param plan: what the DAG file would say.
    """
    try:
        dag = adapter.make_dag(plan)
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
        return Outcome(state="failed", exception=in_words(error))
    seen = run_dag(dag)
    log = "\n".join(f"{name}: {task.state} after {task.tries} tries\n{task.log}" for name, task in seen.tasks.items())
    return Outcome(
        state="success" if seen.succeeded else "failed",
        exception=None if seen.exception is None else in_words(seen.exception),
        log=log,
        assets=tuple(asset.uri for asset in seen.assets),
    )


def _fields(operator: Any) -> dict[str, str]:
    return {name: str(getattr(operator, name, None)) for name in operator.template_fields}


def context_of(operator: Any) -> dict[str, Any]:
    """The context that an operator gets without Airflow around it: as much of itself and of its run as Airflow tells
    it.

    This process's environment tells it too.

    :param operator: an Airflow operator.
    """
    from pytest_cosmos_venv.airflow.task_context import context_without_airflow, export

    context = context_without_airflow(operator, "conformance")
    export(context)
    return context


def obey(operator: Any) -> None:
    """Let SIGTERM do to this process what it does to a task's: call ``on_kill`` in the middle of anything.

    Airflow 3 then goes on as if nothing had happened. Airflow 2 raises what no ``except Exception`` catches. A child
    that the task has forked of itself has the same handler: there Airflow 3 does nothing, and Airflow 2 ends it.

    :param operator: whose ``on_kill`` is called.
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


def in_words(error: BaseException) -> str:
    """Type and text of an error, as ``ValueError: what``.

    :param error: any exception.
    """
    return f"{type(error).__name__}: {error}"
