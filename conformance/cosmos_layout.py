"""Adapters of implementations with Cosmos's import layout: DAGs built and operators run by their public classes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, ClassVar

from pytest_cosmos_venv.dags.dag_files import import_first
from pytest_cosmos_venv.dags.shape import dag_shape
from pytest_cosmos_venv.runs.running import run_dag, run_task

from .adapter import (
    AFTER,
    BEFORE,
    CAPABILITIES,
    OPERATOR_CLASSES,
    Adapter,
    AdapterError,
    DagPlan,
    Outcome,
    RenderedTask,
    Shape,
    Task,
    TaskOfDag,
    WholeDag,
)
from .requirements import COMPATIBILITIES, PROFILES, Level, read_specification

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


class CosmosLayout(Adapter):
    """An implementation with Cosmos's import layout, which is judged by all profiles.

    It uses the public classes of ``import_root``.
    """

    profiles: ClassVar[frozenset[str]] = frozenset(PROFILES)
    has: ClassVar[frozenset[str]] = frozenset(CAPABILITIES).difference(
        {
            *("batches", "dbt_ls_managed", "foreign_hosts", "watcher_managed"),
            *("notify_owners", "project_dags", "remote_projects", "retry_on", "run_artifacts"),
        }
    )

    @property
    def named(self) -> str:
        """The text with which another process gets the same adapter: ``open_adapter(named)``."""
        is_ours = type(self) is KNOWN_ADAPTERS.get(self.import_root, CosmosLayout)
        return self.import_root if is_ours else super().named

    def modules(self) -> Sequence[str]:
        """The package, and its operators."""
        return [self.import_root, f"{self.import_root}.operators.virtualenv"]

    def operators(self) -> ModuleType:
        """The module with the ten operators. Imports the implementation into this process."""
        return import_module(f"{self.import_root}.operators.virtualenv")

    def constants(self) -> ModuleType:
        """The module with the enums that DAG files name. Imports the implementation into this process."""
        return import_module(f"{self.import_root}.constants")

    def settings(self) -> ModuleType:
        """The module that has the implementation's settings as attributes, such as ``virtualenv_max_retries_lock``."""
        return import_module(f"{self.import_root}.settings")

    def make_task(self, task: Task, **arguments: Any) -> Any:
        """The Airflow operator, constructed. Imports the implementation into this process.

        :param task: what the operator is constructed with; the profile as arguments of ``ProfileConfig``.
        :param **arguments: arguments that every Airflow operator takes, such as ``dag``.
        """
        if isinstance(task, TaskOfDag):
            mode = str(task.plan.execution.get("execution_mode", "local")).title()
            name = OPERATOR_CLASSES[task.command].replace("Virtualenv", mode)
            return next(each for each in self.make_dag(task.plan).tasks if type(each).__name__ == name)
        operator, given = getattr(self.operators(), OPERATOR_CLASSES[task.command]), self._typed(task.arguments)
        if task.profile:
            given["profile_config"] = self.profile(task.profile)
        return operator(task_id="task", **{**given, **arguments})

    def profile(self, arguments: Mapping[str, Any]) -> Any:
        """The implementation's own configuration of a profile.

        :param arguments: the arguments of ``ProfileConfig``; ``profile_mapping`` is a pair: name of the class, its
            arguments.
        """
        given = dict(arguments)
        if "profile_mapping" in given:
            name, own = given["profile_mapping"]
            given["profile_mapping"] = getattr(import_module(f"{self.import_root}.profiles"), name)(**own)
        return import_module(self.import_root).ProfileConfig(**given)

    def make_dag(self, plan: DagPlan) -> Any:
        """The Airflow DAG, built. Imports the implementation into this process.

        :param plan: what the DAG file would say.
        """
        root = import_module(self.import_root)
        if not plan.groups:
            return root.DbtDag(**self._configurations(plan), **plan.dag)
        with plain_dag(plan.dag) as dag:
            failing = partial(_operator_class("bash", "BashOperator"), bash_command="exit 1")
            before = (failing if plan.before_fails else empty_operator())(task_id=BEFORE)
            after = empty_operator()(task_id=AFTER)
            for group_id in plan.groups:
                group = root.DbtTaskGroup(group_id=group_id, **self._configurations(plan))
                before >> group >> after
        return dag

    def make_dags(self, plan: DagPlan) -> list[Any]:
        """The Airflow DAGs of the folders of a project, built. Imports the implementation into this process.

        :param plan: what the DAG file would say.
        """
        split = import_module(self.import_root).DbtProjectDags
        dag = {name: value for name, value in plan.dag.items() if name != "schedule"}
        return [*split(split_by="folder", schedules=plan.schedules, **self._configurations(plan), **dag).values()]

    def _configurations(self, plan: DagPlan) -> dict[str, Any]:
        """The arguments of a DbtDag or DbtTaskGroup: the implementation's configuration classes, made of plain data."""
        root = import_module(self.import_root)
        named: dict[str, Any] = {}
        if project := self._typed(plan.project):
            # By position, as in all examples: no page names the parameter.
            named["project_config"] = root.ProjectConfig(project.pop("dbt_project_path"), **project)
        if plan.profile:
            named["profile_config"] = self.profile(plan.profile)
        return {
            **named,
            "execution_config": root.ExecutionConfig(**self._typed(plan.execution)),
            "render_config": root.RenderConfig(**self._typed(plan.render)),
            "operator_args": dict(plan.operator_args),
        }

    def _typed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, with members of the implementation's own enums, and functions that write into files."""
        constants = self.constants()
        if files := arguments.get("notify_owners"):
            arguments = {**arguments, "notify_owners": {each: partial(_note, file) for each, file in files.items()}}
        return {
            name: getattr(constants, _ENUMS[name])(value) if name in _ENUMS and value is not None else value
            for name, value in arguments.items()
        }

    def perform(self, task: Task) -> Outcome:
        """Make the operator and run it, or all tasks of a DAG. SIGTERM meanwhile has the same effect as under Airflow.

        :param task: what to run, and whether with Airflow around it.
        """
        try:
            made = self.make_dag(task.plan) if isinstance(task, WholeDag) else self.make_task(task)
        except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
            return Outcome(state="failed", exception=in_words(error))
        return _run_whole_dag(made) if isinstance(task, WholeDag) else _run_operator(made, task)

    def render(self, plan: DagPlan) -> Shape:
        """Build a DAG as its file does, in this process. An exception of the build is part of the answer.

        :param plan: what the DAG file would say.
        """
        os.environ.update(plan.variables)
        if plan.folder is not None:
            os.chdir(plan.folder)
        try:
            dags = [self.make_dag(plan)] if plan.schedules is None else self.make_dags(plan)
        except Exception as error:  # noqa: BLE001 - whatever an implementation raises is what is looked for
            return Shape(exception=in_words(error))
        return Shape(tasks=_rendered(dags[0]) if plan.schedules is None else _joined(dags))


class CosmosAdapter(CosmosLayout):
    """astronomer-cosmos."""

    beyond: ClassVar[frozenset[str]] = frozenset(COMPATIBILITIES)


class CosmosVenvAdapter(CosmosLayout):
    """cosmos-venv, which is held to all BEYOND requirements."""

    has: ClassVar[frozenset[str]] = frozenset(CAPABILITIES)
    kernel_lock_file: ClassVar[str] = "cosmos_virtualenv.flock"
    beyond: ClassVar[frozenset[str]] = frozenset(
        {*COMPATIBILITIES, *(one.id for one in read_specification().values() if one.level is Level.BEYOND)}
    )

    def begin(self) -> None:
        """Keep excluded tests, as Cosmos does: the recorded tasks of RENDER-004 are Cosmos's."""
        os.environ.setdefault("AIRFLOW__COSMOS_VENV__KEEP_EXCLUDED_TESTS", "True")

    def remote_environments(self, folder: Path, key_file: Path, *, seconds: float) -> Mapping[str, str] | str:
        """The settings of cosmos-venv for a remote store.

        :param folder: where the store lies.
        :param key_file: the file with the key.
        :param seconds: that a task waits at most.
        """
        try:
            import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        except ImportError as error:
            return f"{error}: environments are shared with the extra remote, pip install 'cosmos-venv[remote]'"
        settings = {"dir": f"file://{folder}", "timeout": f"{seconds:.0f}"}
        return {
            "AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE": str(key_file),
            **{f"AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_{name.upper()}": value for name, value in settings.items()},
        }


KNOWN_ADAPTERS: Mapping[str, type[CosmosLayout]] = {"cosmos": CosmosAdapter, "cosmos_venv": CosmosVenvAdapter}
"""Import root -> the adapter of an implementation that has none of its own."""


def open_adapter(named: str) -> Adapter:
    """The adapter of an import root, or the one that ``module:Adapter`` names.

    :param named: the name, as ``--cosmos-implementation`` takes it.
    :raises AdapterError: the class does not derive from ``Adapter``.
    """
    module, _, name = named.partition(":")
    if not name:
        return KNOWN_ADAPTERS.get(named, CosmosLayout)(named)
    return require_adapter(getattr(import_module(module), name)())


def require_adapter(made: object) -> Adapter:
    """The same object, if it is an adapter.

    :param made: the object that the class of ``module:Adapter`` has made.
    :raises AdapterError: its class does not derive from ``Adapter``.
    """
    if isinstance(made, Adapter):
        return made
    kind = type(made)
    raise AdapterError(
        f"{kind.__module__}:{kind.__qualname__} is no adapter: derive the class from Adapter, which answers what it "
        f"does not say itself (from {Adapter.__module__} import Adapter)."
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


def _note(file: str, context: Mapping[str, Any]) -> None:
    """Append a message to an owner to a file, as a line of JSON: the owner, and the unique ids of nodes."""
    with Path(file).open("a", encoding="utf-8") as lines:
        print(json.dumps([context["dbt_owner"], *(row["node"] for row in context["dbt_nodes"])]), file=lines)


def _rendered(dag: Any) -> dict[str, RenderedTask]:
    return {
        name: RenderedTask(operator=task["type"], group=task["group"], upstream=tuple(task["upstream"]))
        for name, task in dag_shape(dag).data["tasks"].items()
    }


def _joined(dags: Sequence[Any]) -> dict[str, RenderedTask]:
    """The tasks of several DAGs as one graph. A DAG with an asset that no task updates is behind no task."""
    givers: defaultdict[str, list[str]] = defaultdict(list)
    for dag in dags:
        for task in dag.tasks:
            for outlet in task.outlets or ():
                givers[_named(outlet)].append(f"{dag.dag_id}.{task.task_id}")
    found: dict[str, RenderedTask] = {}
    for dag in dags:
        awaited = [givers[name] for name in _awaited(dag)]
        before = [giver for each in awaited for giver in each] if all(awaited) else []
        for name, task in _rendered(dag).items():
            upstream = [f"{dag.dag_id}.{each}" for each in task.upstream] or before
            found[f"{dag.dag_id}.{name}"] = replace(task, group=dag.dag_id, upstream=tuple(upstream))
    return found


def _awaited(dag: Any) -> list[str]:
    """The assets for all of which a DAG waits; empty where one of several is enough."""
    # The second attribute, and the class DatasetAll, are those of Airflow 2.
    timetable = dag.timetable
    condition: Any = getattr(timetable, "asset_condition", None) or getattr(timetable, "dataset_condition", None)
    return [*map(_named, condition.objects)] if type(condition).__name__.endswith("All") else []


def _named(asset: Any) -> str:
    return getattr(asset, "uri", "") or str(asset.name)  # an alias has no URI


def _operator_class(module: str, name: str) -> Any:
    # The second module is that of Airflow 2.
    return import_first(name, f"airflow.providers.standard.operators.{module}", f"airflow.operators.{module}")


def _run_operator(operator: Any, task: Task) -> Outcome:
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


def _run_whole_dag(dag: Any) -> Outcome:
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
    """The context of an operator without Airflow around it: the facts of the task and of its run that Airflow gives.

    They are put into the environment of this process too.

    :param operator: an Airflow operator.
    """
    from pytest_cosmos_venv.airflow.task_context import context_without_airflow, export

    context = context_without_airflow(operator, "conformance")
    export(context)
    return context


def obey(operator: Any) -> None:
    """Let SIGTERM have the same effect as in the process of a task: it calls ``on_kill`` at any moment.

    The task then goes on under Airflow 3. Airflow 2 raises an exception that ``except Exception`` does not catch. A
    forked child of the task has the same handler: under Airflow 3 it does nothing there, under Airflow 2 it ends the
    child.

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
