"""The trigger with which a task waits for its nodes, and ends in the state that dbt gives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from cosmos_venv import compat
from cosmos_venv.operators.run.journal import journal_key
from cosmos_venv.operators.run.journal_lines import SUCCESS, Outcome
from cosmos_venv.operators.watch.feed import Feed, JournalFiles, Producer, watching
from cosmos_venv.operators.watch.verdict import OVER, Action, Verdict, Waiting, verdict

NODE_XCOM = "dbt_node"
"""Key of the XCom with what became of the nodes of a task."""

SQL_XCOM = "compiled_sql"
"""Key of the XCom with the SQL that dbt has compiled for them."""

_BETWEEN_LOOKS_AT_PARENTS = 3.0
_ENDS = {Action.SUCCEED: TaskSuccessEvent, Action.SKIP: TaskSkippedEvent, Action.FAIL: TaskFailedEvent}


class DbtNodeTrigger(BaseTrigger):
    """Waits until the producer has said what became of some nodes.

    It ends the task itself, without a worker. Where a worker is needed (dbt has to run for these nodes alone, Airflow
    would not try a failed task again, or nothing else runs meanwhile), its event has ``action`` and ``reason``.

    :param node_ids: unique ids of the nodes.
    :param producer_task_id: id of the task that runs dbt for them.
    :param parents: ids of the tasks that must be over before dbt runs for these nodes alone.
    :param key: of the producer's journal; None: it follows from the run, which the trigger knows where it was begun
        without a worker.
    :param since: when the task's try was asked for, in seconds since 1970; None: Airflow says it, else now.
    """

    def __init__(
        self,
        node_ids: Sequence[str],
        producer_task_id: str,
        parents: Sequence[str] = (),
        key: str | None = None,
        since: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.node_ids = list(node_ids)
        self.producer_task_id = producer_task_id
        self.parents = list(parents)
        self.key = key
        self.since = since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The import path and the arguments of the trigger, as Airflow keeps them."""
        arguments = {
            "node_ids": self.node_ids,
            "producer_task_id": self.producer_task_id,
            "parents": self.parents,
            "key": self.key,
            "since": self.since,
        }
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the nodes. Gives one event, as the last thing."""
        ti: Any = self.task_instance
        if ti is None:  # dag.test() runs one trigger after the other, the producer perhaps after this one
            yield _message(Verdict(action=Action.WAIT))
            return
        since = self.since or compat.asked_at(ti) or time.time()
        task = Waiting(nodes=self.node_ids, number=ti.try_number, since=since)
        shown: dict[str, int] = {}
        async with watching(self._producer(ti)) as feed:
            while True:
                found = verdict(task, feed.tries, feed.state)
                self._show_log(feed, shown)
                if found.action is Action.RUN_ALONE:
                    found = await self._after_parents(ti, found)
                if found.action is not Action.WAIT:
                    break
                await feed.change()
        (self.log.error if found.action is Action.FAIL else self.log.info)("%s", found.reason)
        yield _event(found, xcoms_of(found.outcomes, feed.journal))

    def _producer(self, ti: Any) -> Producer:
        key = self.key
        if key is None:
            dag_run = ti.get_template_context().get("dag_run")
            key = journal_key({"ti": ti, "dag_run": dag_run}, self.producer_task_id)
        return Producer(
            key=key or "",
            task_id=self.producer_task_id,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
        )

    def _show_log(self, feed: Feed, shown: dict[str, int]) -> None:
        """Write what dbt has said of the nodes into the task's log, each line once."""
        for node in self.node_ids:
            texts = feed.journal.texts.get(node, [])
            for text in texts[shown.get(node, 0) :]:
                self.log.info("%s", text)
            shown[node] = len(texts)

    async def _after_parents(self, ti: Any, found: Verdict) -> Verdict:
        """The verdict once the tasks before this one are over, which may have been cleared with it."""
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "map_index": ti.map_index}
        while self.parents:
            with suppress(Exception):  # whatever Airflow raises: it is asked again
                states = await asyncio.to_thread(compat.task_states, self.parents, **place)
                if all(state in OVER for state in states.values()):
                    return after(states, found)
            await asyncio.sleep(_BETWEEN_LOOKS_AT_PARENTS)
        return found


def after(parents: Mapping[str, str | None], found: Verdict) -> Verdict:
    """The verdict on a task that is to run its nodes alone, whose parents are over.

    :param parents: Airflow's states of the tasks before it, by task id.
    :param found: the verdict so far.
    """
    unfit = [f"{task_id} ({state})" for task_id, state in parents.items() if state != SUCCESS]
    if not unfit:
        return found
    return Verdict(action=Action.FAIL, reason=f"dbt does not run in this task: before it stands {', '.join(unfit)}.")


def xcoms_of(outcomes: Mapping[str, Outcome], journal: JournalFiles) -> dict[str, Any]:
    """What became of nodes, as the XComs of their task by key.

    :param outcomes: by unique id; none where the producer has said nothing.
    :param journal: has the SQL of the nodes, where this host can read it.
    """
    rows = [
        {"node": node, "status": each.status, "seconds": each.seconds, "rows": each.rows, "message": each.message}
        for node, each in outcomes.items()
    ]
    sql = "\n\n".join(journal.sql[node].strip() for node in outcomes if node in journal.sql)
    return ({NODE_XCOM: rows} if rows else {}) | ({SQL_XCOM: sql} if sql else {})


def _event(found: Verdict, xcoms: dict[str, Any]) -> TriggerEvent:
    if found.action is Action.RUN_ALONE or (found.action is Action.FAIL and not compat.TASKS_START_AS_TRIGGERS):
        return _message(found)
    return _ENDS[found.action](xcoms=xcoms)


def _message(found: Verdict) -> TriggerEvent:
    return TriggerEvent({"action": found.action.value, "reason": found.reason})  # type: ignore[no-untyped-call]
