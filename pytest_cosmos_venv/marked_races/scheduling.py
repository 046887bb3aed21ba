"""Handing out the tests when some of them race across the workers of pytest-xdist; and what is used of pytest-xdist.

First the races are handed out, one after the other, each when all its workers are free; then the scheduler that was
chosen goes on, which never hears of them. It is given a collection without races, and in place of each worker a proxy
that translates its indexes and keeps what it sends until the worker's last race has begun.

pytest-xdist runs a test when the next one, or the word to shut down, stands behind it in the worker's queue. So a copy
that lies at a queue's end waits, and sending what comes after it is what lets it begin.

pytest-xdist ships no types, so the protocols at the end say what is used of a worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from pytest_cosmos_venv.marked_races.mark import CollectedRace, announce, race_folder, release
from pytest_cosmos_venv.races.meeting import Ending, Meeting


class NodeProxy:
    """A worker as the chosen scheduler sees it. It outlives the worker, where that dies before it has begun a test.

    :param node: the worker.
    :param translation: an index without races to one with them.
    """

    def __init__(self, node: Worker, translation: Sequence[int]) -> None:
        self.node = node
        self.is_open = False
        self.has_begun = False
        self._translation = translation
        self._kept: list[int] = []
        self._asked: list[int] = []
        self._is_shut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    @property
    def shutting_down(self) -> bool:
        """Whether the worker takes no more tests."""
        return self._is_shut or (self.is_open and self.node.shutting_down)

    @property
    def has_kept(self) -> bool:
        """Whether there are tests for the worker's successor."""
        return bool(self._kept)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Hand tests to the worker, or keep them until its last race begins.

        :param indices: the indices of tests, in the collection without races.
        """
        translated = [self._translation[index] for index in indices]
        if not self.has_begun:
            self._kept += translated
        if self.is_open:
            self.node.send_runtest_some(translated)

    def send_steal(self, indices: Sequence[int]) -> None:
        """Ask the worker to give tests back, or give those back that are kept here.

        :param indices: the indices of tests, in the collection without races.
        """
        translated = [self._translation[index] for index in indices]
        if self.is_open:
            self._asked = translated
            self.node.send_steal(translated)
        else:
            self.give_back(translated)
            # As the worker would answer: later, since the scheduler is in the middle of something.
            self.node.notify_inproc("unscheduled", node=self.node, indices=translated)

    def give_back(self, indices: Sequence[int]) -> None:
        """Forget tests that another worker will get: the answer to having been asked.

        :param indices: the indices of tests, in the whole collection.
        """
        self._asked = []
        self._kept = [index for index in self._kept if index not in indices]

    def shutdown(self) -> None:
        """Tell the worker to end, or keep that word until its last race begins."""
        self._is_shut = True
        if self.is_open:
            self.node.shutdown()

    def open(self) -> None:
        """Hand on what was kept, and everything from now on: the worker's last race begins."""
        self.is_open = True
        if self._kept:
            self.node.send_runtest_some(self._kept)
        if self._is_shut:
            self.node.shutdown()

    def begin(self) -> None:
        """Keep nothing any more: the worker's last race is over, and what it was sent may have been run."""
        self.has_begun = self.is_open
        if self.has_begun:
            self._kept.clear()

    def lose(self) -> list[int]:
        """Keep everything for the successor of a worker that has died before it began.

        :returns: what the worker was asked to give back and has not answered; that is not kept.
        """
        self.is_open = False
        return self._asked


@dataclass(frozen=True)
class Running:
    """A copy that was let begin.

    :param meeting: the meeting of its race.
    :param index: the index of the copy, from 0.
    :param node: the worker that it runs in.
    """

    meeting: Meeting
    index: int
    node: Worker


class RaceScheduling:
    """Hands out the races, in one order for all workers; copy ``i`` of each race to the worker at post ``i``.

    :param inner: hands out everything else.
    :param races: all of their copies are among ``ids``.
    :param nodes: the workers, by post.
    :param ids: what each of them has collected.
    :param root: folder of all races of the run.
    """

    collection_is_completed = True  # also while a crashed worker's successor is still collecting

    def __init__(
        self, inner: Any, races: Sequence[CollectedRace], nodes: Sequence[Worker], ids: Sequence[str], root: Path
    ) -> None:
        self._inner = inner
        self._ids = list(ids)
        self._root = root
        self._copies = {position for race in races for position in race.positions}
        self._ordinary = [position for position in range(len(ids)) if position not in self._copies]
        self._index_of = {position: index for index, position in enumerate(self._ordinary)}
        self._proxies = {node: NodeProxy(node, self._ordinary) for node in nodes}
        self._last_proxy_of = dict(self._proxies)
        self._arriving: list[Worker] = []
        self._posts: list[Worker | None] = list(nodes)
        # Proxies of workers that died before they began a test that is no race, by post.
        self._orphans: dict[int, NodeProxy] = {}
        self._to_come = deque(races)
        self._at_post = [deque(race for race in races if post < len(race.positions)) for post in range(len(nodes))]
        self._running: dict[int, Running] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def nodes(self) -> list[Worker]:
        """All workers, as pytest-xdist asks for them."""
        return [*self._proxies, *self._arriving]

    @property
    def tests_finished(self) -> bool:
        """Whether all tests were handed out, so that workers may be told to end."""
        # Tests kept for a crashed worker still have to run, although the scheduler counts them as sent.
        is_all_sent = not self._has_races and not any(proxy.has_kept for proxy in self._orphans.values())
        return is_all_sent and (not self._ordinary or self._inner.tests_finished)

    @property
    def has_pending(self) -> bool:
        """Whether tests are left to be handed out."""
        return self._has_races or self._inner.has_pending

    @property
    def _has_races(self) -> bool:
        return bool(self._running or self._to_come)

    def start(self) -> None:
        """Hand out the first tests."""
        for race in self._to_come:
            announce(race_folder(self._root, race.name))
        # With nothing to hand out the chosen scheduler would never begin, and stumble over a worker that comes later.
        if self._ordinary:
            for proxy in self._proxies.values():
                self._inner.add_node(proxy)
            for proxy in self._proxies.values():
                self._inner.add_node_collection(proxy, self._ordinary_ids)
            self._inner.schedule()
        for post in range(len(self._posts)):
            self._send_next(post)
        self._advance()

    def add_node(self, node: Worker) -> None:
        """Take in the successor of a worker that crashed; it will collect.

        :param node: the new worker.
        """
        self._arriving.append(node)

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """Give the successor of a worker that crashed its tests: it has collected.

        :param node: the new worker.
        :param collection: ids of what it has collected.
        """
        self._arriving.remove(node)
        post = next(iter(self._orphans), None)
        if post is None:
            post = self._posts.index(None)
        if list(collection) == self._ids:
            self._posts[post] = node
            proxy = self._orphans.pop(post, None) or self._new_proxy(node)
            proxy.node = node
            self._proxies[node] = self._last_proxy_of[node] = proxy
            self._send_next(post)
            return
        # It cannot race, and no other worker will come: races would wait for ever.
        pytest.exit(f"The worker {node.gateway.id}, which replaces one that crashed, has collected other tests.", 3)

    def schedule(self) -> None:
        """Hand out what can be handed out now."""
        if self._ordinary:
            self._inner.schedule()
        self._advance()

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:
        """Take note that a worker has run a test, and go on with the next race where it was a copy.

        :param node: the worker.
        :param item_index: the index of the test, in the whole collection.
        :param duration: seconds that it took.
        """
        if item_index in self._copies:
            self._running.pop(item_index, None)
            self._proxies[node].begin()
            self._advance()
        else:
            self._inner.mark_test_complete(self._proxies[node], self._index_of[item_index], duration)

    def mark_test_pending(self, item: str) -> None:
        """Hand a test out again that a worker died of.

        :param item: id of the test.
        :raises NotImplementedError: it is a copy, whose siblings have ended.
        """
        if self._ids.index(item) in self._copies:
            # Said to plugins that run a crashed test again. Its siblings have ended.
            raise NotImplementedError("a copy cannot be run again without the others")
        self._inner.mark_test_pending(item)

    def remove_pending_tests_from_node(self, node: Worker, indices: Sequence[int]) -> None:
        """Pass on the answer of a worker that was asked to give tests back.

        :param node: the worker.
        :param indices: the indices of the tests that it gives back, in the whole collection.
        """
        self._answer(self._last_proxy_of[node], indices)

    def remove_node(self, node: Worker) -> str | None:
        """Take out a worker that died. Its other tests go to another one, its later copies to its successor.

        :param node: the worker.
        :returns: id of the test that the worker died of; None: of none.
        """
        if node in self._arriving:
            self._arriving.remove(node)
            return None
        proxy = self._proxies.pop(node)
        post = self._posts.index(node) if node in self._posts else None
        if post is not None:
            self._posts[post] = None
        if proxy.has_begun or post is None:
            return self._inner.remove_node(proxy) if proxy in self._inner.nodes else None
        unanswered = proxy.lose()
        self._orphans[post] = proxy
        if unanswered:
            self._answer(proxy, unanswered)
        copy = next((position for position, running in self._running.items() if running.node is node), None)
        if copy is None:
            return None
        del self._running[copy]
        return self._ids[copy]

    def down(self, node: Worker, error: object | None) -> None:
        """Write down for the copies of a worker that has ended that they will come to no barrier any more.

        :param node: the worker.
        :param error: why it ended, where it crashed; None: it was stopped.
        """
        how = f"lost its worker {node.gateway.id}, which {'crashed' if error else 'was stopped'},"
        for running in self._running.values():
            if running.node is node:
                running.meeting.end(running.index, Ending(outcome="died", how=how))

    @property
    def _ordinary_ids(self) -> list[str]:
        return [self._ids[position] for position in self._ordinary]

    def _answer(self, proxy: NodeProxy, indices: Sequence[int]) -> None:
        proxy.give_back(indices)
        self._inner.remove_pending_tests_from_node(proxy, [self._index_of[index] for index in indices])

    def _new_proxy(self, node: Worker) -> NodeProxy:
        proxy = NodeProxy(node, self._ordinary)
        if self._ordinary:
            self._inner.add_node(proxy)
            self._inner.add_node_collection(proxy, self._ordinary_ids)
        return proxy

    def _send_next(self, post: int) -> None:
        """Send the worker's next copy, or open the proxy. What is sent lets the copy before it begin."""
        node = self._posts[post]
        if node is None:
            return
        proxy = self._proxies[node]
        # It may have died a moment ago. Then its successor is sent the same.
        with suppress(OSError):
            if self._at_post[post]:
                node.send_runtest_some([self._at_post[post][0].positions[post]])
                return
            proxy.open()
            if not self._ordinary:
                proxy.shutdown()
        if not any(running.node is node for running in self._running.values()):
            proxy.begin()

    def _advance(self) -> None:
        while self._to_come and not self._running and self._is_staffed(self._to_come[0]):
            self._begin(self._to_come.popleft())

    def _is_staffed(self, race: CollectedRace) -> bool:
        for post in range(len(race.positions)):
            node = self._posts[post]
            if node is None or node.shutting_down:  # the latter: the run is being stopped
                return False
        return True

    def _begin(self, race: CollectedRace) -> None:
        folder = race_folder(self._root, race.name)
        meeting = Meeting(folder=folder, count=len(race.positions))
        for post, position in enumerate(race.positions):
            node = self._posts[post]
            if node is not None:
                self._running[position] = Running(meeting, post, node)
        release(folder)
        for post in range(len(race.positions)):
            self._at_post[post].popleft()
        for post in range(len(race.positions)):
            self._send_next(post)


class Gateway(Protocol):
    """The connection to a worker."""

    id: str


class Worker(Protocol):
    """``xdist.workermanage.WorkerController``: a worker as the process that hands out the tests sees it."""

    config: pytest.Config
    gateway: Gateway
    workerinput: dict[str, Any]

    @property
    def shutting_down(self) -> bool:
        """Whether it takes no more tests."""

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Hand tests to it.

        :param indices: the indices of tests, in what it has collected.
        """

    def send_steal(self, indices: Sequence[int]) -> None:
        """Ask it to give tests back.

        :param indices: the indices of tests, in what it has collected.
        """

    def shutdown(self) -> None:
        """Tell it to end when its queue is empty."""

    def notify_inproc(self, eventname: str, **kwargs: object) -> None:
        """Tell pytest-xdist of an event, as if the worker had sent it.

        :param eventname: such as ``unscheduled``.
        :param **kwargs: what belongs to the event.
        """
