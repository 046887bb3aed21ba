"""A task that watches nodes, where it has a worker: it waits (deferred or rescheduled), ends, or runs dbt itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

import msgspec

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, AirflowRescheduleException, AirflowSkipException
from cosmos_venv.operators.run.journal import journal_key
from cosmos_venv.operators.watch.feed import Producer, look
from cosmos_venv.operators.watch.trigger import DbtNodeTrigger, after, xcoms_of
from cosmos_venv.operators.watch.verdict import OVER, Action, Verdict, Waiting, verdict

_SOON = 1.0  # seconds until the next look in a run without a scheduler


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """A task that watches nodes, as it is in its worker.

    :param node_ids: unique ids of the nodes.
    :param producer_task_id: id of the task that runs dbt for them.
    :param parents: ids of the tasks that come right before it, the producer apart.
    :param poke_interval: seconds between two looks, where it is not deferred.
    """

    node_ids: Sequence[str]
    producer_task_id: str
    parents: Sequence[str]
    poke_interval: float


class _Deferring(Protocol):
    def __call__(self, *, trigger: Any, method_name: str) -> Any: ...


def wait_for_nodes(
    watching: Watching, context: Mapping[str, Any], log: Any, *, defer: _Deferring | None, resumes: str
) -> bool:
    """Wait, or end the task as dbt has ended its nodes: whether dbt has to run for the nodes alone.

    :param watching: the task.
    :param context: Airflow's context of it.
    :param log: its logger.
    :param defer: the operator's method that defers it; None: it is rescheduled for the next look.
    :param resumes: name of the operator's method with which it goes on behind the trigger.
    :raises TaskDeferred: where it waits for the trigger.
    :raises AirflowRescheduleException: where it is rescheduled.
    :raises AirflowSkipException: when dbt has skipped its nodes.
    :raises AirflowException: when one of its nodes has failed, or nothing is known of it.
    """
    ti: Any = context["ti"]
    key = journal_key(context, watching.producer_task_id)
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
    producer = Producer(key=key or "", task_id=watching.producer_task_id, **place)
    state, journal, tries = look(producer)
    since = _begin_of_try(ti, context)
    found = verdict(Waiting(nodes=watching.node_ids, number=ti.try_number, since=since), tries, state)
    if found.action is Action.RUN_ALONE:
        states = compat.task_states(watching.parents, **place) if watching.parents else {}
        is_ready = all(each in OVER for each in states.values())
        found = after(states, found) if is_ready else Verdict(action=Action.WAIT)
    if found.action is Action.WAIT:
        if defer is None:
            raise _reschedule(watching.poke_interval)
        trigger = DbtNodeTrigger(watching.node_ids, watching.producer_task_id, watching.parents, key=key, since=since)
        defer(trigger=trigger, method_name=resumes)
    for node in watching.node_ids:
        for text in journal.texts.get(node, ()):
            log.info("%s", text)
    for name, value in xcoms_of(found.outcomes, journal).items():
        ti.xcom_push(key=name, value=value)
    return end_as(found.action, found.reason, log)


def end_as(action: Action, reason: str, log: Any) -> bool:
    """Do what was found: whether dbt has to run for the nodes alone.

    :param action: what the task does.
    :param reason: the sentence for it.
    :param log: its logger.
    :raises AirflowRescheduleException: for ``WAIT``.
    :raises AirflowSkipException: for ``SKIP``.
    :raises AirflowException: for ``FAIL``.
    """
    if action is Action.WAIT:
        raise _reschedule(_SOON)
    if action is Action.FAIL:
        raise AirflowException(reason)
    if action is Action.SKIP:
        raise AirflowSkipException(reason)
    log.info("%s", reason)
    return action is Action.RUN_ALONE


def _reschedule(seconds: float) -> AirflowRescheduleException:
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return AirflowRescheduleException(at)  # type: ignore[no-untyped-call]


def _begin_of_try(ti: Any, context: Mapping[str, Any]) -> float:
    """When the present try was asked for, or has begun: the task may have been rescheduled since."""
    if (asked := compat.asked_at(ti)) is not None:
        return asked
    first = None
    with suppress(Exception):  # Airflow 2 has no such question
        first = ti.get_first_reschedule_date(context)
    begun = first or getattr(ti, "start_date", None)
    return begun.timestamp() if isinstance(begun, datetime) else time.time()
