"""The side of one contender: before each visible step it waits for permission, and it reports its steps.

A contender is told how many steps it may make. It notes each step, and sends the list when it stops again. So a stretch
of steps of one contender costs one exchange of messages.
"""

from __future__ import annotations

import errno
import os
import pickle
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pytest_cosmos_venv.explore.steps import GO, READ, ExploredStep, Footprint, Places

_Value = TypeVar("_Value")
AT, SLEEPS, BLOCKED, ENDS = "at", "sleeps", "blocked", "ends"
"""How a contender has stopped: before a step; until a time; until a lock is released; before its end."""
_getpid = os.getpid


class TooManySteps(BaseException):
    """A contender has made more steps than the exploration allows; no ``except Exception`` of its code catches it."""


class GivenUp(BaseException):
    """The other side of a pipe has ended. It is no EOFError, which a contender's own function may raise."""


def send(channel: Connection, message: Any) -> None:
    """Send a value to the other side.

    :param channel: leads to a contender, or from it to the process that directs it.
    :param message: can be pickled.
    :raises GivenUp: the other side has ended.
    """
    try:
        channel.send_bytes(pickle.dumps(message))
    except ConnectionError:
        raise GivenUp from None


def receive(channel: Connection) -> Any:
    """Return the next message of the other side.

    :param channel: leads to a contender, or from it to the process that directs it.
    :raises GivenUp: the other side has ended.
    """
    try:
        return pickle.loads(channel.recv_bytes())  # noqa: S301 - our own process wrote it
    except (EOFError, ConnectionError):
        raise GivenUp from None


class Stepper:
    """The steps of this process, which is a contender and stops before each of them.

    :param index: of the contender.
    :param places: its files.
    :param channel: leads to the process that directs it.
    :param most_steps: the number of steps after which it counts as one that never ends.
    :param started_at: the time at which the virtual clock starts, in seconds since the epoch.
    """

    def __init__(self, index: int, places: Places, channel: Connection, *, most_steps: int, started_at: float) -> None:
        self.index = index
        self.places = places
        self.clock = 0.0
        self.started_at = started_at
        self._channel = channel
        self._most_steps = most_steps
        self._thread = threading.get_ident()
        self._pid = _getpid()
        self._left = 0
        self._action = GO
        self._made: list[tuple[Any, ...]] = []
        self._count = 0
        self._is_at_work = False

    @property
    def is_here(self) -> bool:
        """Whether a call is visible now: in the contender's own process and main thread, not within a step."""
        return not self._is_at_work and threading.get_ident() == self._thread and _getpid() == self._pid

    def arrive(self, name: str, text: str, *, how: str = AT, until: float | str = "") -> None:
        """Stop before a step until it may be made.

        :param name: of the call.
        :param text: the step in words.
        :param how: ``at``, or why it cannot be made yet.
        :param until: the time on the virtual clock, or the resource of the lock, for which it waits.
        :raises OSError: the step is to fail.
        """
        self._count += 1
        if self._count > self._most_steps:
            raise TooManySteps
        if self._left == 0 or how != AT:
            self.report(how, name, text, until)
            self._left, self._action, self.clock = receive(self._channel)
        self._left -= 1
        if self._action != GO:
            action, self._action = self._action, GO
            self.note(name, text, (), outcome=action)
            code = getattr(errno, action)
            raise OSError(code, os.strerror(code), text)

    def report(self, how: str, name: str, text: str, until: float | str | bytes = "") -> None:
        """Send the steps since the last report, and the state of this contender.

        :param how: ``at``, ``sleeps``, ``blocked`` or ``ends``.
        :param name: of the next step.
        :param text: the next step in words.
        :param until: the time or lock that it waits for, or its pickled outcome at the end.
        """
        send(self._channel, (self._made, how, name, text, until))
        self._made = []

    def note(self, name: str, text: str, footprint: Footprint, *, outcome: str = "") -> None:
        """Write down a step that was made.

        :param name: of the call.
        :param text: the step in words.
        :param footprint: what it has touched.
        :param outcome: what came of it, in words.
        """
        self._made.append((name, text, outcome, footprint))

    def perform(
        self,
        name: str,
        text: str,
        act: Callable[[], _Value],
        footprint: Callable[[], tuple[Footprint, Footprint]],
    ) -> _Value:
        """Make one step: stop before it, make the real call, write down what it has touched.

        :param name: of the call.
        :param text: the step in words.
        :param act: makes the call.
        :param footprint: returns what the call touches when it succeeds, and when it fails. It is called just before
            ``act``.
        """
        self.arrive(name, text)
        succeeded, failed = footprint()
        self._is_at_work = True
        try:
            value = act()
        except OSError as error:
            self.note(name, text, failed, outcome=errno.errorcode.get(error.errno or 0, type(error).__name__))
            raise
        finally:
            self._is_at_work = False
        self.note(name, text, succeeded)
        return value


current: Stepper | None = None
"""The contender that this process is; None in every other process."""


def stepper() -> Stepper | None:
    """Return the stepper of this process where a call is visible now; None elsewhere."""
    return current if current is not None and current.is_here else None


def become(contender: Stepper | None) -> None:
    """Make this process a contender.

    :param contender: its stepper; None: this process is no contender any more.
    """
    global current  # noqa: PLW0603 - the replaced calls find it here
    current = contender


def has_child() -> bool:
    """Return whether this process has a child, including an ended child that was not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def made_steps(contender: int, made: list[tuple[Any, ...]], clock: float, action: str) -> list[ExploredStep]:
    """Return the steps that a contender has reported.

    :param contender: its index.
    :param made: what it has sent.
    :param clock: seconds by which the virtual clock had been advanced.
    :param action: what the first of them was told to do.
    """
    return [
        ExploredStep(contender, action if at == 0 else GO, name, text, outcome, footprint, clock)
        for at, (name, text, outcome, footprint) in enumerate(made)
    ]


def reading(*resources: str | None) -> Footprint:
    """Return the footprint of a step that reads these resources.

    :param *resources: None stands for a missing resource, and is left out.
    """
    return tuple((each, READ) for each in resources if each is not None)
