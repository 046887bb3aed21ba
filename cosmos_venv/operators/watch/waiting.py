"""A task that watches nodes, where it has a worker: it is deferred or rescheduled, ends, or goes on and runs dbt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """A task that watches nodes, as it is in its worker.

    :param node_ids: unique ids of the nodes.
    :param producer_task_id: id of the task that runs dbt for them.
    :param parents: ids of the tasks that come right before it, the producer apart.
    :param retries: how often Airflow tries it again.
    :param poke_interval: seconds between two looks, where it is not deferred.
    """

    node_ids: Sequence[str]
    producer_task_id: str
    parents: Sequence[str]
    retries: int
    poke_interval: float


def wait_for_nodes(
    watching: Watching,
    context: Mapping[str, Any],
    log: Any,
    *,
    defer: Callable[[Any], object] | None,
    told: Mapping[str, int] | None = None,
) -> list[str]:
    """Wait, or end the task as dbt has ended its nodes: those for which dbt has to run in this task.

    :param watching: the task.
    :param context: Airflow's context of it.
    :param log: its logger.
    :param defer: defers the task with a trigger; None: it is rescheduled for the next look.
    :param told: what earlier tries were told, as ``Told`` has it; None: it is worked out of the journal.
    :raises TaskDeferred: where it waits for the trigger.
    :raises AirflowRescheduleException: where it is rescheduled.
    :raises AirflowSkipException: when dbt has skipped its nodes.
    :raises AirflowException: when one of its nodes has failed, or nothing is known of it.
    """
    ti: Any = context["ti"]
    key = str(journal_key(context, watching.producer_task_id))
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
    state, journal, tries = look(Producer(key=key, task_id=watching.producer_task_id, **place))
    before = _told_before(context, watching, tries) if told is None else Told(**told)
    task = Watch(nodes=watching.node_ids, is_first=ti.try_number == 1, told=before, parents=watching.parents)
    found = verdict(task, tries, state)
    if found.asks_parents:
        found = verdict(task, tries, state, compat.task_states(watching.parents, **place))
    if found.action is Action.WAIT:
        if defer is None:
            raise reschedule(watching.poke_interval)
        kept = {"told": msgspec.to_builtins(before), "try_number": ti.try_number}
        defer(DbtNodeTrigger(watching.node_ids, watching.producer_task_id, watching.parents, key=key, **kept))
    for node in watching.node_ids:
        for text in journal.texts.get(node, ()):
            log.info("%s", text)
    for name, value in xcoms_of(found.outcomes, journal, key).items():
        ti.xcom_push(key=name, value=value)
    if found.action is Action.FAIL:
        raise AirflowException(found.reason)
    if found.action is Action.SKIP:
        raise AirflowSkipException(found.reason)
    log.info("%s", found.reason)
    if found.action is not Action.RUN_ALONE:
        return []
    return [each for each in watching.node_ids if each not in found.done]


def reschedule(seconds: float = _SOON) -> AirflowRescheduleException:
    """What lets Airflow start the task once more.

    :param seconds: until then.
    """
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return AirflowRescheduleException(at)  # type: ignore[no-untyped-call]


def _told_before(context: Mapping[str, Any], watching: Watching, tries: Sequence[TryRecord]) -> Told:
    """What earlier tries may have been told: the XCom that would say it is gone when a try begins on a worker."""
    ti: Any = context["ti"]
    if ti.try_number == 1:
        return Told()
    # Clearing a task gives it as many tries more: the first of these is no retry.
    is_cleared = ti.try_number == ti.max_tries - watching.retries + 1
    return told_by(watching.node_ids, tries, cleared_at=compat.asked_at(context) if is_cleared else None)
