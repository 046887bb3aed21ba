"""Turns of the tasks of a DAG in ``dag.test()``, which has no scheduler and no triggerer.

``dag.test()`` takes tasks in the order of a set, and runs a trigger in place until the trigger yields an event. A
trigger that watches another task of the same run then waits for ever, as in ExecutionMode.WATCHER. With turns, each
scheduled task runs once in each round, in the order of priority, as a scheduler starts tasks. A task that watches a
producer gives up its turn where it has to wait, and starts again in the next round; the sleeps of its trigger are
skipped. The triggers of all other tasks run in place, as without turns.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

PRODUCER = "dbt_producer_watcher"
"""The id of the task that runs dbt in ExecutionMode.WATCHER, below the ids of its groups."""

# After this many sleeps a trigger has surely polled: some triggers sleep before their first poll.
_SLEEPS = 3
# A task counts as waiting for ever after so many turns without any progress in the run.
_MOST_IDLE_TURNS = 3
_PAUSE = 0.1  # seconds that a task without progress waits for other tasks, such as sensors between two pokes
_GOING_ON = ("scheduled", "queued", "running", "up_for_retry", "up_for_reschedule", "deferred")


class Waiting(BaseException):
    """The trigger of a task has no event yet. This is no Exception, because Airflow would fail the task with it."""


class WaitsForEver(Exception):
    """A task waits, and no other task of the run can end its waiting, so the task is failed."""


def is_producer(task_id: str) -> bool:
    """Whether a task is the producer of ExecutionMode.WATCHER.

    :param task_id: the id of the task.
    """
    return task_id.rpartition(".")[2] == PRODUCER


def _watches(task: Any) -> bool:
    """Whether a task watches a producer. Both implementations name the producer in an attribute of the task."""
    return bool(getattr(task, "producer_task_id", None))


@contextmanager
def in_turns(dag: Any, *, stuck: Callable[[str, int, WaitsForEver], object]) -> Iterator[None]:
    """Let the tasks of a DAG with a producer take turns within the block; without a producer nothing changes.

    :param dag: the DAG whose ``dag.test()`` is called within the block.
    :param stuck: called with the id and the map index of a task that waits for ever, and with the error.
    """
    producers = {task_id for task_id in dag.task_ids if is_producer(task_id)}
    if not producers:
        yield
        return
    beside: Any = sys.modules[inspect.unwrap(type(dag).test).__module__]
    turns = _Turns(
        dag=dag,
        watching={task.task_id for task in dag.tasks if _watches(task)} - producers,
        run_one=beside._run_task,
        run_trigger=beside._run_inline_trigger,
        stuck=stuck,
    )
    with mock.patch.multiple(beside, _run_task=turns.run_next, _run_inline_trigger=turns.run_trigger_once):
        yield


@dataclass(kw_only=True)
class _Turns:
    dag: Any
    watching: set[str]
    run_one: Any
    run_trigger: Any
    stuck: Callable[[str, int, WaitsForEver], object]
    round: list[Any] = field(default_factory=list)
    idle_turns: dict[tuple[str, int], int] = field(default_factory=dict)  # turns since anything in the run has moved
    now: Any = None  # the task instance whose turn it is

    def run_next(self, *arguments: Any, ti: Any, **options: Any) -> Any:
        """Run the next task of the round. Airflow calls this once for each scheduled task, in its own order.

        :param *arguments: further arguments of Airflow's function.
        :param ti: the task instance that Airflow has chosen; another task instance may run instead.
        :param **options: further options of Airflow's function.
        :returns: the value that Airflow's own function returns.
        """
        if not self.round:
            self.round = self._new_round(ti)
        own = self.round.pop(0)
        task = self.dag.get_task(own.task_id)
        self.now = own
        if self.idle_turns.get((own.task_id, own.map_index), 0) >= _MOST_IDLE_TURNS and not self._is_deadlock(own):
            time.sleep(_PAUSE)  # for a sensor, say, that looks again in a second
            return None
        if "task" in options:
            options["task"] = task
        else:  # Airflow 2
            own.task = task
        is_waiting, returned = False, None
        try:
            returned = self.run_one(*arguments, ti=own, **options)
        except Waiting:
            is_waiting = True
        finally:
            # Airflow 2 passes one session on; uncommitted, it would lock the database for other sessions.
            if "session" in options:
                options["session"].commit()
        state = self._state_of(own)
        if own.task_id in self.watching and state == "up_for_reschedule":
            is_waiting = True
        if is_waiting:
            self._give_up_turn(own)
        # Airflow 3.0 resumes a task in a later turn than the turn of its trigger: that is no progress of the run.
        elif state not in ("up_for_reschedule", "scheduled"):
            self.idle_turns.clear()
        return returned

    def run_trigger_once(self, *arguments: Any, **options: Any) -> Any:
        """Run a trigger in place until it yields an event.

        :param *arguments: the arguments of Airflow's function.
        :param **options: the options of Airflow's function.
        :returns: the event.
        :raises Waiting: the trigger belongs to a task that watches a producer, and has no event yet.
        """
        if self.now.task_id not in self.watching:
            return self.run_trigger(*arguments, **options)
        thread, sleeps, sleep = threading.get_ident(), [0], asyncio.sleep

        async def pass_by(delay: float, *more: Any, **named: Any) -> Any:
            # Airflow's API server runs in a thread of this process and must sleep as before.
            if threading.get_ident() != thread or not delay:
                return await sleep(delay, *more, **named)
            sleeps[0] += 1
            if sleeps[0] >= _SLEEPS:
                raise Waiting
            return await sleep(0, *more, **named)

        with mock.patch.object(asyncio, "sleep", pass_by):
            return self.run_trigger(*arguments, **options)

    def _new_round(self, ti: Any) -> list[Any]:
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy.orm import object_session

        session: Any = object_session(ti)
        if session is not None:
            session.expire_all()
            rows = _of_run(session, ti)
        else:  # on Airflow 2 the task instances are detached from any session
            model: Any = DagRun
            with create_session() as session:
                rows = list(model.fetch_task_instances(ti.dag_id, ti.run_id, session=session))
                session.expunge_all()
        order = {task.task_id: number for number, task in enumerate(self.dag.topological_sort())}
        scheduled = [each for each in rows if each.state == "scheduled"]
        return sorted(scheduled, key=lambda each: (-each.priority_weight, order[each.task_id], each.map_index))

    def _state_of(self, own: Any) -> str:
        from airflow.utils.session import create_session

        with create_session() as session:
            return str(_row(session, own).state)

    def _give_up_turn(self, own: Any) -> None:
        """Schedule a task again for the next round; fail it where nothing can end its waiting."""
        from airflow.utils.session import create_session

        key = own.task_id, own.map_index
        self.idle_turns[key] = self.idle_turns.get(key, 0) + 1
        is_stuck = self._is_deadlock(own)
        with create_session() as session:
            row = _row(session, own)
            row.state = "failed" if is_stuck else "scheduled"
            row.next_method = row.next_kwargs = row.trigger_id = None
        if is_stuck:
            why = f"{own.task_id} waits, and no task of the run is left that could end that"
            self.stuck(*key, WaitsForEver(why))
            self.idle_turns.clear()

    def _is_deadlock(self, own: Any) -> bool:
        """Whether each unfinished task of the run has waited several times without progress of the run."""
        from airflow.utils.session import create_session

        with create_session() as session:
            rows = [(each.task_id, each.map_index, each.state) for each in _of_run(session, own)]
        going_on = [(task_id, index) for task_id, index, state in rows if state in _GOING_ON]
        return all(self.idle_turns.get(key, 0) >= _MOST_IDLE_TURNS for key in going_on)


def _of_run(session: Any, ti: Any) -> list[Any]:
    found: list[Any] = session.query(type(ti)).filter_by(dag_id=ti.dag_id, run_id=ti.run_id).all()
    return found


def _row(session: Any, ti: Any) -> Any:
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    return session.query(type(ti)).filter_by(**place).one()
