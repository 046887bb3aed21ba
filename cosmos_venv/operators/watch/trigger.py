"""How a task waits for its nodes, by a trigger or on a worker, and ends in the state that dbt gives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from cosmos_venv import compat
from cosmos_venv.compat import AirflowException, AirflowRescheduleException, AirflowSkipException
from cosmos_venv.dbt.failure_kinds import kinds_of
from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.files.read_limits import value_of
from cosmos_venv.operators.run.journal import journal_key
from cosmos_venv.operators.run.journal_record import LONGEST_TEXT, JournalFiles, TryRecord, rows_of
from cosmos_venv.operators.run.retries import judged
from cosmos_venv.operators.watch.feed import Feed, Producer, ask, look, watching
from cosmos_venv.operators.watch.verdict import Action, Told, Verdict, Watch, told_by, verdict

NODE_XCOM = "dbt_node"
"""Key of the XCom with the outcomes of a task's nodes."""

SQL_XCOM = "compiled_sql"
"""Key of the XCom with the SQL that dbt has compiled for them."""

TOLD_XCOM = "dbt_told"
"""Key of the XCom from which a later try learns what this try was told: the producer's journal and try number."""

_BETWEEN_LOOKS = 3.0
_SOON = 1.0  # seconds until the next look in a run without a scheduler
_ARGUMENTS = ("node_ids", "producer_task_id", "parents", "key", "told", "try_number", "retry_on")
_ENDS = {Action.SUCCEED: TaskSuccessEvent, Action.SKIP: TaskSkippedEvent, Action.FAIL: TaskFailedEvent}


class _ToldXCom(msgspec.Struct):
    key: str
    number: int


class DbtNodeTrigger(BaseTrigger):
    """Waits until the producer has reported the outcome of some nodes.

    It ends the task itself, without a worker. A worker is needed where dbt has to run for these nodes alone, where
    Airflow would not retry the failed task, or where no other task runs while the trigger waits (``dag.test()``). Then
    its event has ``action``, ``reason`` and other values that the worker needs.

    :param node_ids: unique ids of the nodes.
    :param producer_task_id: id of the task that runs dbt for them.
    :param parents: ids of the tasks that must be over before dbt runs for these nodes alone.
    :param key: of the producer's journal; None: it follows from the run, which the trigger knows for a task that began
        without a worker.
    :param told: what earlier tries were told, as ``Told`` has it; None: the trigger finds it out.
    :param try_number: of the try that a worker has deferred; None: no worker has begun it.
    :param retry_on: the kinds of failures for which Airflow may try the task again; a worker tells Airflow. Empty: all.
    """

    def __init__(
        self,
        node_ids: Sequence[str],
        producer_task_id: str,
        parents: Sequence[str] = (),
        key: str | None = None,
        told: Mapping[str, int] | None = None,
        try_number: int | None = None,
        retry_on: Sequence[str] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.retry_on = list(retry_on)
        self.node_ids = list(node_ids)
        self.producer_task_id = producer_task_id
        self.parents = list(parents)
        self.key = key
        self.told = None if told is None else dict(told)
        self.try_number = try_number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The import path and the arguments of the trigger, as Airflow keeps them."""
        arguments = {name: vars(self)[name] for name in _ARGUMENTS}
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the nodes. Yields one event, at the end."""
        ti: Any = self.task_instance
        if ti is None:  # dag.test() runs one trigger after the other, the producer perhaps after this one
            yield self._message(Verdict(action=Action.WAIT), Told(), {})
            return
        producer = self._producer(ti)
        async with watching(producer) as feed:
            task = _watch(self, ti)
            if not task.is_first:
                task = msgspec.structs.replace(task, told=await self._what_was_told(ti, feed, producer.key))
            shown: dict[str, int] = {}
            parents: Mapping[str, str | None] | None = None
            while (found := verdict(task, feed.record, feed.state, parents)).action is Action.WAIT:
                await self._show_log(feed, shown)
                parents = await self._look_again(ti, feed, asks_parents=found.asks_parents)
            await self._show_log(feed, shown)
            reason = found.reason + (f" What it has published cannot be read: {feed.problem}" if feed.problem else "")
            xcoms = xcoms_of(found.outcomes, feed.journal, producer.key)
        await self._write(self.log.error if found.action is Action.FAIL else self.log.info, [reason])
        needs_worker = bool(self.retry_on) or not compat.TASKS_START_AS_TRIGGERS
        if found.action is Action.RUN_ALONE or (found.action is Action.FAIL and needs_worker):
            yield self._message(found, task.told, xcoms)
        else:
            yield _ENDS[found.action](xcoms=xcoms)

    def _message(self, found: Verdict, told: Told, xcoms: Mapping[str, Any]) -> TriggerEvent:
        """The event for the worker that resumes the task."""
        payload = {
            "action": found.action.value,
            "reason": found.reason,
            "told": msgspec.to_builtins(told),
            "try_number": self.try_number,
            "kinds": [each.value for each in kinds_of(found.outcomes, found.reason)],
            "xcoms": xcoms,
        }
        return TriggerEvent(payload)  # type: ignore[no-untyped-call]

    def _producer(self, ti: Any) -> Producer:
        key = self.key
        if key is None:  # the task started here
            context = ti.get_template_context()
            key = journal_key({"ti": ti, "dag_run": context.get("dag_run")}, self.producer_task_id)
            # Airflow (seen in 3.3.2) deserializes the whole DAG for each task that starts in the triggerer. The context
            # kept this DAG while the task waited: 3 MB for each task of a DAG of 1,000 tasks.
            context.clear()
            ti.task = None
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
        return Producer(key=str(key), task_id=self.producer_task_id, place=place)

    async def _what_was_told(self, ti: Any, feed: Feed, key: str) -> Told:
        """The outcomes that earlier tries were told.

        A try that has ended the task for good has left this in an XCom: somebody has cleared the task since. A try that
        Airflow retries leaves no XCom: it may have been told any failure that is known by now.
        """
        if self.told is not None:
            return Told(**self.told)
        while not feed.has_looked:
            await feed.wait_for_change()
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
        may_be = told_by(self.node_ids, feed.record, cleared_at=None)
        try:
            left = await ask(compat.xcom, TOLD_XCOM, **place)
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises
            self.log.warning("What earlier tries of this task were told is not known: %s", error)
            return told_by(self.node_ids, feed.record, cleared_at=compat.try_requested_at({"ti": ti}))
        # An XCom of a trigger comes back as a text of JSON (Airflow 3.3.2).
        found = value_of(left, _ToldXCom)
        return msgspec.structs.replace(may_be, number=found.number) if found and found.key == key else may_be

    async def _look_again(self, ti: Any, feed: Feed, *, asks_parents: bool) -> dict[str, str | None] | None:
        """Wait for news, and return the states of the tasks before this task if ``asks_parents``."""
        if not asks_parents:
            await feed.wait_for_change()
            return None
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(feed.wait_for_change(), _BETWEEN_LOOKS)
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
        with suppress(Exception):  # whatever Airflow raises: it is asked again
            return await ask(compat.task_states, self.parents, **place)
        return None

    async def _show_log(self, feed: Feed, shown: dict[str, int]) -> None:
        """Write dbt's lines about the nodes into the task's log, each line once."""
        for node in self.node_ids:
            texts = feed.journal.texts.get(node, [])[shown.get(node, 0) :]
            shown[node] = shown.get(node, 0) + len(texts)
            await self._write(self.log.info, texts)

    async def _write(self, log: Callable[[str, str], object], texts: Sequence[str]) -> None:
        """Write lines into the task's log, in a thread.

        The supervisor of Airflow 3's triggerer reads no log while it sends new triggers. While the event loop waited
        for the full log, both were in a deadlock: 1,000 triggers of one run stood still for ever (3.3.2).
        """
        if texts:
            await asyncio.to_thread(lambda: [log("%s", text) for text in texts])


def xcoms_of(outcomes: Mapping[str, NodeOutcome], journal: JournalFiles, key: str) -> dict[str, Any]:
    """The outcomes of nodes, as the XComs of their task by key.

    :param outcomes: by unique id; empty where the producer has reported nothing.
    :param journal: has the SQL of the nodes, where this host can read its files.
    :param key: of the journal.
    """
    if not outcomes:
        return {}
    told = {"key": key, "number": max(each.try_number for each in outcomes.values())}
    # Each model has one task that shows its SQL: it need not stay in memory.
    # A task of a batch shows the SQL of all its models, up to the length of one text.
    sql = "\n\n".join(journal.sql.pop(node).strip() for node in outcomes if node in journal.sql)[:LONGEST_TEXT]
    return {NODE_XCOM: rows_of(outcomes), TOLD_XCOM: told, **({SQL_XCOM: sql} if sql else {})}


def _watch(task: Any, ti: Any) -> Watch:
    """The present try of a task, without what earlier tries were told.

    :param task: the sensor or its trigger: both have ``node_ids``, ``parents`` and ``retry_on``.
    :param ti: Airflow's task instance.
    """
    is_first = ti.try_number == 1
    return Watch(nodes=task.node_ids, is_first=is_first, parents=task.parents, wants_reasons=bool(task.retry_on))


def look_or_defer(task: Any, context: Mapping[str, Any], told: Mapping[str, int] | None = None) -> list[str]:
    """Look once: end the task as dbt has ended its nodes, or defer or reschedule it.

    Returns the nodes for which dbt has to run in this task; none where all are built.

    :param task: the ``DbtConsumerWatcherSensor``.
    :param context: Airflow's context of it.
    :param told: what earlier tries were told, as ``Told`` has it; None: the journal tells it.
    :raises TaskDeferred: where it waits for the trigger.
    :raises AirflowRescheduleException: where it is rescheduled.
    :raises AirflowSkipException: when dbt has skipped its nodes.
    :raises AirflowException: when one of its nodes has failed, or nothing is known of it.
    """
    ti: Any = context["ti"]
    key = str(journal_key(context, task.producer_task_id))
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
    state, journal, record = look(Producer(key=key, task_id=task.producer_task_id, place=place))
    before = _told_before(context, task, record) if told is None else Told(**told)
    watch = msgspec.structs.replace(_watch(task, ti), told=before)
    found = verdict(watch, record, state)
    if found.asks_parents:
        found = verdict(watch, record, state, compat.task_states(task.parents, **place))
    if found.action is Action.WAIT:
        if not task.deferrable:
            raise reschedule(task.poke_interval)
        # Airflow deletes the producer's published record when the producer's next try begins. The trigger may still
        # have the old record. A retry that began then failed again, by the failure of its first try (Airflow 2.11).
        is_unknown = told is None and record is None and ti.try_number > 1
        known = None if is_unknown else msgspec.to_builtins(before)
        trigger = DbtNodeTrigger(**task.trigger_arguments, key=key, told=known, try_number=ti.try_number)
        task.defer(trigger=trigger, method_name="execute_complete")
    for node in task.node_ids:
        for text in journal.texts.get(node, ()):
            task.log.info("%s", text)
    for name, value in xcoms_of(found.outcomes, journal, key).items():
        ti.xcom_push(key=name, value=value)
    if found.action is Action.FAIL:
        raise judged(AirflowException(found.reason), task.retry_on, kinds_of(found.outcomes, found.reason))
    task.log.info("%s", found.reason)
    if found.action is Action.SKIP:  # Airflow 3 does not log the reason
        raise AirflowSkipException(found.reason)
    if found.action is not Action.RUN_ALONE:
        return []
    return [each for each in task.node_ids if each not in found.done]


def reschedule(seconds: float = _SOON) -> AirflowRescheduleException:
    """The exception by which Airflow starts the task once more.

    :param seconds: until then.
    """
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return AirflowRescheduleException(at)  # type: ignore[no-untyped-call]


def _told_before(context: Mapping[str, Any], task: Any, record: TryRecord | None) -> Told:
    """What earlier tries may have been told. Airflow deletes the XCom that says it when a try begins on a worker."""
    ti: Any = context["ti"]
    if ti.try_number == 1:
        return Told()
    # Clearing a task gives it a full number of further tries. In each of these the node has to run again.
    first = ti.max_tries - (task.retries or 0) + 1
    is_cleared = 1 < first <= ti.try_number
    return told_by(task.node_ids, record, cleared_at=compat.try_requested_at(context) if is_cleared else None)
