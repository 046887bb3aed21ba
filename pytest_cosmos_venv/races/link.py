"""How does the test's process speak with the marshal of a race, and what has it been told?"""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races import marshal
from pytest_cosmos_venv.races.services import Remains

_LONGEST_FAREWELL = 20.0
_GONE = "The process that looks after the contenders of this race is gone: something has killed it."


class MarshalLink:
    """The contenders of one race as their marshal knows them.

    :param connection: to the marshal; closing it ends the race and all its processes.
    :param count: of the contenders.
    """

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self._count = count
        self.pids: list[int] = []
        self.is_ready = False
        self.has_begun = False
        self.is_gone = False
        self.deaths: dict[int, tuple[int, float]] = {}  # index -> exit code (negative: signal), when
        self.remains = Remains()
        self._is_over = False

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of the contenders whose end has not been told."""
        return tuple(index for index in range(self._count) if index not in self.deaths)

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._connection.closed

    def is_over(self) -> bool:
        """Whether nothing of the race runs any more."""
        return self._is_over

    def listen(self, seconds: float) -> None:
        """Take in what the marshal tells; waits for its first word only.

        :raises ToolkitMisuse: when the marshal is gone.
        """
        try:
            while self._connection.poll(seconds):
                self._take(*self._connection.recv())
                seconds = 0.0
        except (EOFError, OSError):
            if not self.is_over():
                self.is_gone = True
                raise ToolkitMisuse(_GONE) from None

    def go(self) -> None:
        """Start the race."""
        self._say(marshal.GO)
        self.has_begun = True

    def signal(self, index: int, number: signal.Signals, *, tree: bool) -> None:
        """Send a signal to a contender, if it still runs.

        :param tree: to all that it has started, too.
        """
        if index not in range(self._count):
            raise ToolkitMisuse(f"There is no contender {index}: they are 0 to {self._count - 1}.")
        self._say(marshal.SIGNAL, index, int(number), int(tree))

    def finish(self, *, grace: float) -> None:
        """End what is left after ``grace`` seconds, and wait until it is gone. Does nothing the second time.

        :raises ToolkitMisuse: when the marshal is gone, or cannot end it.
        """
        if self.is_over():
            return
        self._say(marshal.FINISH, grace)
        end = real_time.monotonic() + grace + _LONGEST_FAREWELL
        while not self.is_over() and real_time.monotonic() < end:
            self.listen(0.05)
        if not self.is_over():
            raise ToolkitMisuse(f"What contenders have left running could not be ended in {_LONGEST_FAREWELL:g} s.")

    def close(self) -> None:
        """Let go: the marshal, if it is still there, ends everything."""
        self._connection.close()

    def _say(self, *words: object) -> None:
        if self.is_over() or self._connection.closed:
            raise ToolkitMisuse("This race is over: signals are for contenders of one that goes on.")
        try:
            self._connection.send(words)
        except OSError:
            self.is_gone = True
            raise ToolkitMisuse(_GONE) from None

    def _take(self, word: str, *rest: object) -> None:
        if word == marshal.FORKED:
            (self.pids,) = rest  # type: ignore[assignment]
        elif word == marshal.READY:
            self.is_ready = True
        elif word == marshal.ENDED:
            index, exit_code, at = rest
            self.deaths[index] = (exit_code, at)  # type: ignore[index, assignment]
        elif word == marshal.FINISHED:
            (self.remains,) = rest  # type: ignore[assignment]
            self._is_over = True
