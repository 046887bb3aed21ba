"""``Cancellation``: how a kill reaches the work of a task.

Airflow 3 calls ``on_kill()`` from a SIGTERM handler, which returns to the interrupted code. Airflow 2 raises from the
handler. So a request takes no lock, and every wait checks for it. ``guard.py`` sends the signals to the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cosmos_venv.exceptions import CommandKilled


class Cancellation:
    """The request that a piece of work shall end, and the functions that are called then. Safe to use from a signal
    handler.
    """

    def __init__(self) -> None:
        # A plain bool: threading.Event takes a lock that the interrupted main thread may hold.
        self._is_requested = False
        self._stops: list[Callable[[], None]] = []

    @property
    def is_requested(self) -> bool:
        """Whether the end was asked for."""
        return self._is_requested

    def request(self) -> None:
        """Ask for the end: every guarded command of this work is stopped, every wait ends with CommandKilled."""
        self._is_requested = True
        # A copy: the main thread, which this may interrupt, adds and removes entries.
        for stop in tuple(self._stops):
            stop()

    def raise_if_requested(self) -> None:
        """Raise CommandKilled once the end was asked for."""
        if self._is_requested:
            raise CommandKilled("The task was told to end.")

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within this block a request calls ``stop``; it is called at once if the request came before.

        :param stop: called from a signal handler too.
        """
        self._stops.append(stop)
        try:
            if self._is_requested:
                stop()
            yield
        finally:
            self._stops.remove(stop)
