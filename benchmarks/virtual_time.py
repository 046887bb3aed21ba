"""Threads that share a virtual clock: one runs at a time, and time passes only where all of them wait."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class VirtualTime:
    """A clock that jumps to the next thread that is due. The same calls give the same order each time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, threading.Lock]] = []
        self._ended = threading.Event()
        self._errors: list[BaseException] = []

    def now(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let other threads run until so many seconds have passed."""
        turn = self._wait_until(self._now + max(seconds, 0.0))
        self._next()
        turn.acquire()

    def start(self, work: Callable[[], None], *, at: float) -> None:
        """Run some work in a thread of its own, from a time on."""
        turn = self._wait_until(at)

        def run() -> None:
            turn.acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - it ends the whole run, which raises it
                self._errors.append(error)
            self._next()

        threading.Thread(target=run, daemon=True).start()

    def run(self) -> None:
        """Run until all work has ended; raise the first error of it."""
        self._next()
        self._ended.wait()
        for error in self._errors:
            raise error

    def _wait_until(self, time: float) -> threading.Lock:
        turn = threading.Lock()
        turn.acquire()
        heapq.heappush(self._waiting, (time, next(self._numbers), turn))
        return turn

    def _next(self) -> None:
        if not self._waiting:
            self._ended.set()
            return
        self._now, _, turn = heapq.heappop(self._waiting)
        turn.release()
