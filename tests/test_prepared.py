"""The prepared Python answers each call itself, whatever became of the one before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.prepared import PreparedPython


class Interrupted(Exception):
    """What a test's own timeout raises."""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGUSR1 raises ``Interrupted`` in this process."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def prepared() -> PreparedPython:
    """With a pid as argument it interrupts that process, and takes a minute to answer."""
    call = "(os.kill(int(sys.argv[1]), signal.SIGUSR1), time.sleep(60)) and 7 if sys.argv[1:] else 3"
    return PreparedPython(name="answer", imports="import os, signal, time", call=call)


def test_a_call_that_was_interrupted_leaves_no_answer_to_the_next(
    prepared: PreparedPython, interruptible: None
) -> None:
    with pytest.raises(Interrupted):
        prepared.run([str(os.getpid())])

    assert prepared.run([]).returncode == 3


def test_a_prepared_process_that_has_ended_is_started_again(prepared: PreparedPython) -> None:
    assert prepared.run([]).returncode == 3
    assert prepared._process is not None
    prepared._process.kill()
    prepared._process.wait()

    assert prepared.run([]).returncode == 3
