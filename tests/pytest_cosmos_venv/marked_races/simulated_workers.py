"""A run of pytest-xdist without processes: workers that pause anywhere and crash, before a real scheduler.

The rules are those of ``xdist.remote`` and ``xdist.dsession``: a test runs when the next one, or the word to shut down,
is behind it; a worker that crashes is replaced; when the scheduler says so, all are told to shut down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from pytest_cosmos_venv.marked_races.mark import find_races, is_released, race_folder
from pytest_cosmos_venv.marked_races.proxy import SchedulerProxy

SHUTDOWN = -1


class Worker:
    """One worker, seen from both sides."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.queue: deque[int] = deque()
        self.asked: deque[Sequence[int]] = deque()
        self.next: int | None = None
        self.current: int | None = None
        self.is_up = True

    def __repr__(self) -> str:
        return f"<{self.gateway.id} runs {self.current}, then {self.next}, then {list(self.queue)}>"

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.queue.extend(indices)

    def send_steal(self, indices: Sequence[int]) -> None:
        self.asked.append(indices)

    def _answer(self, indices: Sequence[int]) -> bool:
        taken = list(indices) if set(indices) <= set(self.queue) else []
        self.queue = deque(index for index in self.queue if index not in taken)
        self.notify_inproc("unscheduled", node=self, indices=taken)
        return True

    def shutdown(self) -> None:
        if self.is_up:
            self.queue.append(SHUTDOWN)
        self.shutting_down = True

    def notify_inproc(self, eventname: str, **kwargs: Any) -> None:
        self.run.events.append((eventname, kwargs))

    def step(self) -> bool:
        """Do the next thing; False when there is nothing to be done."""
        if self.asked and self.run.random.random() < self.run.answers:
            return self._answer(self.asked.popleft())
        return self._work() or bool(self.asked)

    def _work(self) -> bool:
        if self.current is not None:
            return self._finish(self.current)
        if self.next is None:
            self.next = self.queue.popleft() if self.queue else None
            return self.next is not None
        if self.next == SHUTDOWN:
            self.is_up = False
            self.notify_inproc("workerfinished", node=self)
            return True
        if not self.queue:
            return False
        self.current, self.next = self.next, self.queue.popleft()
        self.run.begins(self.current)
        return True

    def crash(self) -> None:
        self.is_up, self.shutting_down = False, True
        self.notify_inproc("errordown", node=self)

    def _finish(self, index: int) -> bool:
        if not self.run.may_finish(index):
            return False
        self.run.done.append(index)
        self.notify_inproc("complete", node=self, item_index=index)
        self.current = None
        return True


@dataclass
class Run:
    """One run: ``ids`` by ``workers`` workers.

    :param scheduling: a class of pytest-xdist.
    :param crashes: how many workers crash, at moments that ``random`` chooses.
    :param crash_of_copies: only while they run a copy.
    :param answers: how likely a worker gives tests back before it does anything else.
    :param stranger: the worker that comes for a crashed one collects other tests.
    """

    scheduling: Callable[[Any], Any]
    ids: list[str]
    workers: int
    root: Path
    random: Random
    crashes: int = 0
    crash_of_copies: bool = False
    answers: float = 0.2
    stranger: bool = False
    events: deque[tuple[str, dict[str, Any]]] = field(default_factory=deque)
    done: list[int] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    at_once: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = SimpleNamespace(
            getvalue=lambda _: ["popen"] * self.workers,
            getoption=lambda _: None,
            option=SimpleNamespace(loadscopereorder=True),
            hook=SimpleNamespace(pytest_collectreport=lambda **_: None),
        )
        self.sched: Any = SchedulerProxy(self.scheduling(config), root=self.root, workers=self.workers)
        self.races = find_races(self.ids, workers=self.workers)
        self.race_of = {position: race for race in self.races for position in race.positions}
        self.is_shutting_down = False
        self.up: list[Worker] = []
        for number in range(self.workers):
            self._start(f"gw{number}", self.ids)

    def go(self) -> None:
        """Go on to the end of the run.

        :raises AssertionError: when nothing can happen any more and the run is not over.
        """
        while self.up or self.events:
            moves: list[Callable[[], bool]] = [worker.step for worker in self.up if worker.is_up]
            if self.events:
                moves.append(self._handle)
            self.random.shuffle(moves)
            if self.crashes and self.random.random() < 0.08:
                self._crash_one()
            elif not any(move() for move in moves):
                raise AssertionError(f"nothing happens any more: {self.up}, {self.sched.tests_finished=}")

    def begins(self, index: int) -> None:
        """A worker begins a test."""
        race = self.race_of.get(index)
        if race is None:
            return
        if not is_released(race_folder(self.root, race.name)):
            self.left_out.append(index)
            return
        running = {self.race_of[one.current].name for one in self.up if one.current in self.race_of}
        self.at_once.append(running)

    def may_finish(self, index: int) -> bool:
        """A copy that was let begin ends when its siblings have come, or can come no more: there is a barrier."""
        race = self.race_of.get(index)
        if race is None or index in self.left_out:
            return True
        running = {worker.current for worker in self.up}
        gone = {*self.done, *(self.ids.index(one) for one in self.blamed)}
        return set(race.positions) <= running | gone

    def _start(self, name: str, ids: Sequence[str]) -> None:
        worker = Worker(self, name)
        self.up.append(worker)
        self.events.append(("workerready", {"node": worker}))
        self.events.append(("collectionfinish", {"node": worker, "ids": list(ids)}))

    def _crash_one(self) -> None:
        alive = [worker for worker in self.up if worker.is_up and worker in self.sched.nodes]
        victims = [worker for worker in alive if not self.crash_of_copies or worker.current in self.race_of]
        if victims:
            self.crashes -= 1
            self.random.choice(victims).crash()

    def _handle(self) -> bool:
        name, kwargs = self.events.popleft()
        node = kwargs["node"]
        if name == "workerready":
            self.sched.add_node(node)
            if self.is_shutting_down:
                node.shutdown()
        elif name == "collectionfinish":
            self._collected(node, kwargs["ids"])
        elif name == "complete":
            self.sched.mark_test_complete(node, kwargs["item_index"], 0.01)
        elif name == "unscheduled":
            self.sched.remove_pending_tests_from_node(node, kwargs["indices"])
        else:
            self._down(node, has_crashed=name == "errordown")
        if self.sched.tests_finished and not self.is_shutting_down:
            self.is_shutting_down = True
            for one in self.sched.nodes:
                one.shutdown()
        return True

    def _collected(self, node: Worker, ids: list[str]) -> None:
        if node not in self.sched.nodes or self.is_shutting_down:
            return
        self.sched.add_node_collection(node, ids)
        if self.sched.collection_is_completed:
            self.sched.schedule()

    def _down(self, node: Worker, *, has_crashed: bool) -> None:
        self.sched.down(node, "crashed" if has_crashed else None)
        self.up.remove(node)
        if node not in self.sched.nodes:
            return
        blamed = self.sched.remove_node(node)
        if not has_crashed:
            assert blamed is None, f"{node} had still {blamed} to do"
            return
        if blamed is not None:
            self.blamed.append(blamed)
        if not self.is_shutting_down or self.sched.has_pending:
            self.is_shutting_down = False
            ids = ["other.py::test"] if self.stranger else self.ids
            self._start(f"{node.gateway.id}x", ids)
