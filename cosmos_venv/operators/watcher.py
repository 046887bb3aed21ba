"""Operators of ExecutionMode.WATCHER: a producer that runs one ``dbt build``, and a task for each node that watches it.

A task that watches starts and ends in the triggerer, without a worker, where Airflow can do that (3.3.2 and later).
With ``starts_on_worker``, as in a large plan, and on other releases, a worker starts and defers it. Its later tries run
dbt for its nodes alone, once the producer is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import StartTriggerArgs

from cosmos_venv.compat import TASKS_START_AS_TRIGGERS, AirflowException, BaseSensorOperator
from cosmos_venv.constants import PRODUCER_WATCHER_TASK_ID
from cosmos_venv.operators import base, local, virtualenv
from cosmos_venv.operators.parameters import refuse_no_callbacks
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.operators.run.batch import Outcomes
    from cosmos_venv.operators.run.run_steps import Look

__all__ = [
    "DbtBatchWatcherOperator",
    "DbtBatchWatcherVirtualenvOperator",
    "DbtBuildWatcherOperator",
    "DbtBuildWatcherVirtualenvOperator",
    "DbtConsumerWatcherSensor",
    "DbtProducerWatcherOperator",
    "DbtProducerWatcherVirtualenvOperator",
    "DbtRunWatcherOperator",
    "DbtRunWatcherVirtualenvOperator",
    "DbtSeedWatcherOperator",
    "DbtSeedWatcherVirtualenvOperator",
    "DbtSemanticMetricViewWatcherOperator",
    "DbtSemanticMetricViewWatcherVirtualenvOperator",
    "DbtSnapshotWatcherOperator",
    "DbtSnapshotWatcherVirtualenvOperator",
    "DbtSourceWatcherOperator",
    "DbtSourceWatcherVirtualenvOperator",
    "DbtTestWatcherOperator",
    "DbtTestWatcherVirtualenvOperator",
]

_TRIGGER = "cosmos_venv.operators.watch.trigger.DbtNodeTrigger"
_RESUMES = "execute_complete"  # the method that Airflow calls after the trigger


class _Producer:
    """The task that runs dbt for all others.

    :ivar freshness_callback: called as ``callback(context, dag, task_group, nodes, sources_json)``, after ``dbt source
        freshness`` and before the build. It returns pairs of a unique id and a state. A node without a success is
        not built, and its task ends in the given state. A callable, or its import path. None: all nodes are built.
    :ivar sources: the text by which dbt selects a source, by the source's unique id, for each source that dbt checks.
    """

    is_watched: ClassVar[bool] = True
    own_parameters: ClassVar[Mapping[str, Any]] = {"freshness_callback": None, "sources": {}}
    freshness_callback: Callable[..., object] | str | None
    sources: Mapping[str, str]

    @classmethod
    def take_own_parameters(cls, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """This command's own parameters, and the rest.

        With ``depends_on_past`` the producer waits until all tasks of the previous run have ended. It waits for the
        last task of that run, which comes right after the producer. Otherwise the build could begin while a task of
        that run still runs dbt for its own node.

        :param arguments: the arguments that no constructor has taken, by name.
        :returns: as ``AbstractDbtBase`` does.
        :raises CosmosValueError: when ``freshness_callback`` can be no callback.
        """
        own, rest = super().take_own_parameters(arguments)  # type: ignore[misc]
        refuse_no_callbacks("freshness_callback", own["freshness_callback"])
        given = {**(rest.get("default_args") or {}), **rest}
        if given.get("depends_on_past") and "wait_for_downstream" not in given:
            rest["wait_for_downstream"] = True
        return own, rest

    def _leave_out(self, context: Context | Mapping[str, Any], look: Look) -> Outcomes:
        if self.freshness_callback is None:
            return {}
        from cosmos_venv.operators.watch.freshness import left_out

        return left_out(self, context, look)


class DbtProducerWatcherOperator(_Producer, local.DbtBatchLocalOperator):
    """One ``dbt build`` for all tasks that watch it, on the worker.

    It is a batch of all nodes: it fails when a node has failed, and its next try builds what is not done. Parameters
    are those of a batch.
    """


class DbtProducerWatcherVirtualenvOperator(_Producer, virtualenv.DbtBatchVirtualenvOperator):
    """One ``dbt build`` for all tasks that watch it, in a managed virtual environment."""


class _PerTaskAttribute:
    """A descriptor with a value for each task. For a mapped task Airflow asks the class, before there is a task.

    :param work_out: called with the task.
    :param of_class: its value for the class.
    """

    def __init__(self, work_out: Callable[[Any], Any], *, of_class: object) -> None:
        self._work_out = work_out
        self._of_class = of_class

    def __get__(self, task: Any, owner: type) -> Any:
        return self._of_class if task is None else self._work_out(task)


class DbtConsumerWatcherSensor:
    """The task of a node while the producer runs dbt: it waits, and ends in the state that dbt gives the node.

    Its other parameters are the same as in another mode: they are for the dbt that it runs itself in a later try.

    :ivar node_ids: unique ids of the nodes that it watches.
    :ivar model_unique_id: unique id of the node that it stands for.
    :ivar producer_task_id: id of the task that it watches.
    :ivar deferrable: whether it waits in the triggerer. False: it is a sensor that looks again and again.
    :ivar starts_on_worker: whether a worker starts it, and defers it to the triggerer. False: it starts in the
        triggerer, where Airflow can do so (3.3.2 and later).
    :ivar poke_interval: seconds between two looks, where it does not wait in the triggerer.
    """

    own_parameters: ClassVar[Mapping[str, Any]] = {
        "node_ids": (),
        "model_unique_id": None,
        "producer_task_id": PRODUCER_WATCHER_TASK_ID,
        "deferrable": True,
        "starts_on_worker": False,
        "poke_interval": 10.0,
    }
    node_ids: Sequence[str] = ()  # Airflow asks for the trigger before the constructor has ended
    model_unique_id: str | None
    producer_task_id: str
    retry_on: tuple[str, ...] = ()  # as for node_ids
    deferrable: bool
    starts_on_worker: bool
    poke_interval: float

    if not TYPE_CHECKING:  # Airflow has attributes; these depend on the task's place in the DAG
        start_from_trigger = _PerTaskAttribute(
            lambda task: task.deferrable and TASKS_START_AS_TRIGGERS and not task.starts_on_worker, of_class=False
        )
        start_trigger_args = _PerTaskAttribute(
            lambda task: task._first_trigger() if task.start_from_trigger else None, of_class=None
        )
        # Private, seen in 3.0 to 3.4. Without it a scheduler before 3.2 queues a rescheduled task again at once.
        _is_sensor = True
        reschedule = _PerTaskAttribute(lambda task: not task.deferrable, of_class=False)
        if hasattr(BaseSensorOperator, "deps"):  # Airflow 2
            deps = BaseSensorOperator.deps

    @classmethod
    def get_serialized_fields(cls) -> frozenset[str]:
        """The serialized fields of any task and of a sensor: by the latter the scheduler knows the task as a sensor."""
        sensor: Any = BaseSensorOperator
        return frozenset(super().get_serialized_fields() | sensor.get_serialized_fields())  # type: ignore[misc]

    def _first_trigger(self) -> StartTriggerArgs:
        return StartTriggerArgs(trigger_cls=_TRIGGER, next_method=_RESUMES, trigger_kwargs=self.trigger_arguments)

    @property
    def trigger_arguments(self) -> dict[str, Any]:
        """The arguments of the task's trigger that do not depend on the run."""
        return {
            "node_ids": list(self.node_ids),
            "producer_task_id": self.producer_task_id,
            "parents": self.parents,
            "retry_on": list(self.retry_on),
        }

    @property
    def parents(self) -> list[str]:
        """Ids of the tasks that come right before it, the producer apart."""
        ids: set[str] = getattr(self, "upstream_task_ids", set())
        return sorted(ids - {self.producer_task_id})

    def _execute(self, context: Context, *, told: Mapping[str, int] | None = None, **kwargs: Any) -> Any:
        """Wait for the nodes, or end as they have, or run dbt for them.

        :param context: Airflow's context of the task.
        :param told: what earlier tries were told; None: the journal tells it.
        :param **kwargs: of ``build_and_run_cmd``.
        """
        from cosmos_venv.operators.watch.trigger import look_or_defer

        if nodes := look_or_defer(self, context, told):
            self._run_only(nodes)
            return super()._execute(context, **kwargs)  # type: ignore[misc]
        return None

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Continue after the trigger.

        :param context: Airflow's context of the task.
        :param event: of the trigger, with ``action``, ``reason``, ``told``, ``try_number``, ``kinds`` and ``xcoms``.
        """
        # Airflow 3.0 resumes a retry with the event that ended the try before.
        if event["try_number"] not in (None, context["ti"].try_number):
            return self._execute(context)
        from cosmos_venv.dbt.failure_kinds import FailureKind
        from cosmos_venv.operators.run.retries import judged
        from cosmos_venv.operators.watch.trigger import reschedule
        from cosmos_venv.operators.watch.verdict import Action

        action = Action(event["action"])
        if action is Action.WAIT:
            raise reschedule()
        if action is Action.FAIL:
            for key, value in event["xcoms"].items():
                context["ti"].xcom_push(key=key, value=value)
            kinds = [FailureKind(each) for each in event["kinds"]]
            raise judged(AirflowException(event["reason"]), self.retry_on, kinds)
        # Check once more: the producer may have been cleared since.
        return self._execute(context, told=event["told"])

    def _run_only(self, nodes: Sequence[str]) -> None:
        """Limit dbt to some of the nodes. A task with one command for all of its nodes runs all of them anyway.

        :param nodes: unique ids.
        """


class _BatchConsumerSensor(DbtConsumerWatcherSensor):
    """A task that watches the nodes of a batch."""

    nodes: Mapping[str, str]

    def _run_only(self, nodes: Sequence[str]) -> None:
        self.nodes = {each: self.nodes[each] for each in nodes}


class DbtBuildWatcherOperator(DbtConsumerWatcherSensor, local.DbtBuildLocalOperator):
    """A function that the producer makes; a later try runs ``dbt build`` on the worker."""


class DbtRunWatcherOperator(DbtConsumerWatcherSensor, local.DbtRunLocalOperator):
    """A model that the producer builds; a later try runs ``dbt run`` on the worker."""


class DbtSeedWatcherOperator(DbtConsumerWatcherSensor, local.DbtSeedLocalOperator):
    """A seed that the producer loads; a later try runs ``dbt seed`` on the worker."""


class DbtSnapshotWatcherOperator(DbtConsumerWatcherSensor, local.DbtSnapshotLocalOperator):
    """A snapshot that the producer makes; a later try runs ``dbt snapshot`` on the worker."""


class DbtSemanticMetricViewWatcherOperator(DbtConsumerWatcherSensor, local.DbtSemanticMetricViewLocalOperator):
    """A view of metrics that the producer builds; a later try runs ``dbt run`` on the worker."""


class DbtSourceWatcherOperator(DbtConsumerWatcherSensor, local.DbtSourceLocalOperator):
    """A source at which the producer looks; a later try runs ``dbt source freshness`` on the worker."""


class DbtTestWatcherOperator(DbtConsumerWatcherSensor, local.DbtTestLocalOperator):
    """The tests of a node, which the producer runs; a later try runs ``dbt test`` on the worker."""


class DbtBatchWatcherOperator(_BatchConsumerSensor, local.DbtBatchLocalOperator):
    """A batch that the producer builds; a later try runs ``dbt build`` of the nodes not built, on the worker."""


class DbtBuildWatcherVirtualenvOperator(DbtConsumerWatcherSensor, virtualenv.DbtBuildVirtualenvOperator):
    """A function that the producer makes; a later try runs ``dbt build`` in a managed virtual environment."""


class DbtRunWatcherVirtualenvOperator(DbtConsumerWatcherSensor, virtualenv.DbtRunVirtualenvOperator):
    """A model that the producer builds; a later try runs ``dbt run`` in a managed virtual environment."""


class DbtSeedWatcherVirtualenvOperator(DbtConsumerWatcherSensor, virtualenv.DbtSeedVirtualenvOperator):
    """A seed that the producer loads; a later try runs ``dbt seed`` in a managed virtual environment."""


class DbtSnapshotWatcherVirtualenvOperator(DbtConsumerWatcherSensor, virtualenv.DbtSnapshotVirtualenvOperator):
    """A snapshot that the producer makes; a later try runs ``dbt snapshot`` in a managed virtual environment."""


class DbtSemanticMetricViewWatcherVirtualenvOperator(
    DbtConsumerWatcherSensor, virtualenv.DbtSemanticMetricViewVirtualenvOperator
):
    """A view of metrics that the producer builds; a later try runs ``dbt run`` in a managed virtual environment."""


class DbtSourceWatcherVirtualenvOperator(DbtConsumerWatcherSensor, virtualenv.DbtSourceVirtualenvOperator):
    """A source at which the producer looks; a later try runs ``dbt source freshness`` in a managed environment."""


class DbtTestWatcherVirtualenvOperator(DbtConsumerWatcherSensor, virtualenv.DbtTestVirtualenvOperator):
    """The tests of a node, which the producer runs; a later try runs ``dbt test`` in a managed virtual environment."""


class DbtBatchWatcherVirtualenvOperator(_BatchConsumerSensor, virtualenv.DbtBatchVirtualenvOperator):
    """A batch that the producer builds; a later try runs ``dbt build`` of nodes not built, in a managed environment."""


base.make_own_parameters_mappable(globals())

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
