"""A copy of a remote file, and the error when no copy can be had."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

import msgspec

T = TypeVar("T")

_TURN = 0.2


class RemoteError(OSError):
    """The file cannot be had. The text says why, without credentials.

    :param reason: why, in words, without credentials.
    :param has_answered: whether the server or store has said so; else no answer came, and a later one may differ.
    """

    def __init__(self, reason: str, *, has_answered: bool) -> None:
        super().__init__(reason)
        self.has_answered = has_answered


class NotSigned(ValueError):
    """A file that nobody with the key has signed. The text is a clause."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a file.

    :param content: its bytes, unpacked.
    :param version: names and values by which the server or store tells whether the file has changed; empty where it
        gives no such values.
    """

    content: bytes
    version: dict[str, str]

    def packed(self) -> bytes:
        """The copy as one text of bytes, to be kept."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpacked(cls, packed: bytes) -> Copy | None:
        """Read the output of ``packed``; None where it was cut short.

        :param packed: the text.
        """
        try:
            return msgspec.msgpack.decode(packed, type=cls)
        except msgspec.DecodeError:
            return None


def within(seconds: float, work: Callable[[], T], *, on_wait: Callable[[], None] | None = None) -> T:
    """Return the result of some work. After the given seconds nobody waits any more, and the work goes on alone in its
    thread: clients of object stores wait for minutes.

    :param seconds: seconds to wait for it.
    :param work: called in a thread of its own.
    :param on_wait: called before the work begins, and then several times a second. An exception of it ends the wait.
        None: nothing is called.
    :raises RemoteError: when it takes longer. Exceptions of the work are raised here.
    """
    if seconds <= 0:
        raise RemoteError("the time for it is over", has_answered=False)
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            answer.set_exception(error)

    if on_wait is not None:
        on_wait()  # nothing is begun for a task that has been killed
    # No pool: a process that ends would wait for its threads.
    threading.Thread(target=run, daemon=True, name="cosmos-venv-remote").start()
    deadline = time.monotonic() + seconds
    while not answer.done() and (left := deadline - time.monotonic()) > 0:
        wait([answer], left if on_wait is None else min(left, _TURN))
        if on_wait is not None:
            on_wait()
    if not answer.done():
        raise RemoteError(f"there was no answer within {seconds:.0f} s", has_answered=False)
    return answer.result()
