"""A task that watches nodes, where it has a worker: it is deferred or rescheduled, ends, or goes on and runs dbt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, AirflowRescheduleException, AirflowSkipException
from cosmos_venv.operators.run.journal import journal_key
from cosmos_venv.operators.run.journal_lines import TryRecord
from cosmos_venv.operators.watch.feed import Producer, look
from cosmos_venv.operators.watch.trigger import DbtNodeTrigger, xcoms_of
from cosmos_venv.operators.watch.verdict import Action, Told, Watch, told_by, verdict

_SOON = 1.0  # seconds until the next look in a run without a scheduler


def wait_for_nodes(
    task: Any,
    context: Mapping[str, Any],
    *,
    parents: Sequence[str],
    told: Mapping[str, int] | None = None,
) -> list[str]:
    """Wait, or end the task as dbt has ended its nodes: those for which dbt has to run in this task.

    :param task: the ``DbtConsumerWatcherSensor``.
    :param context: Airflow's context of it.
    :param parents: ids of the tasks that come right before it, the producer apart.
    :param told: what earlier tries were told, as ``Told`` has it; None: it is worked out of the journal.
    :raises TaskDeferred: where it waits for the trigger.
    :raises AirflowRescheduleException: where it is rescheduled.
    :raises AirflowSkipException: when dbt has skipped its nodes.
    :raises AirflowException: when one of its nodes has failed, or nothing is known of it.
    """
    ti: Any = context["ti"]
    key = str(journal_key(context, task.producer_task_id))
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
    state, journal, tries = look(Producer(key=key, task_id=task.producer_task_id, **place))
    before = _told_before(context, task, tries) if told is None else Told(**told)
    watch = Watch(nodes=task.node_ids, is_first=ti.try_number == 1, told=before, parents=parents)
    found = verdict(watch, tries, state)
    if found.asks_parents:
        found = verdict(watch, tries, state, compat.task_states(parents, **place))
    if found.action is Action.WAIT:
        if not task.deferrable:
            raise reschedule(task.poke_interval)
        kept = {"told": msgspec.to_builtins(before), "try_number": ti.try_number}
        trigger = DbtNodeTrigger(task.node_ids, task.producer_task_id, parents, key=key, **kept)
        task.defer(trigger=trigger, method_name=task.resumes)
    for node in task.node_ids:
        for text in journal.texts.get(node, ()):
            task.log.info("%s", text)
    for name, value in xcoms_of(found.outcomes, journal, key).items():
        ti.xcom_push(key=name, value=value)
    if found.action is Action.FAIL:
        raise AirflowException(found.reason)
    if found.action is Action.SKIP:
        raise AirflowSkipException(found.reason)
    task.log.info("%s", found.reason)
    if found.action is not Action.RUN_ALONE:
        return []
    return [each for each in task.node_ids if each not in found.done]


def reschedule(seconds: float = _SOON) -> AirflowRescheduleException:
    """What lets Airflow start the task once more.

    :param seconds: until then.
    """
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return AirflowRescheduleException(at)  # type: ignore[no-untyped-call]


def _told_before(context: Mapping[str, Any], task: Any, tries: Sequence[TryRecord]) -> Told:
    """What earlier tries may have been told: the XCom that would say it is gone when a try begins on a worker."""
    ti: Any = context["ti"]
    if ti.try_number == 1:
        return Told()
    # Clearing a task gives it as many tries more: the first of these is no retry.
    is_cleared = ti.try_number == ti.max_tries - (task.retries or 0) + 1
    return told_by(task.node_ids, tries, cleared_at=compat.asked_at(context) if is_cleared else None)
