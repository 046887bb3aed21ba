"""The prepared Python answers each call itself, whatever became of the one before."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.prepared import PreparedPython


class Interrupted(Exception):
    """What a test's own timeout raises."""


@pytest.fixture
def interrupted_after_a_moment() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def prepared() -> PreparedPython:
    return PreparedPython(name="answer", imports="import time", call="time.sleep(60) or 7 if sys.argv[1:] else 3")


def test_a_call_that_was_interrupted_leaves_no_answer_to_the_next(
    prepared: PreparedPython, interrupted_after_a_moment: None
) -> None:
    with pytest.raises(Interrupted):
        prepared.run(["wait"])

    assert prepared.run([]).returncode == 3


def test_a_prepared_process_that_has_ended_is_started_again(prepared: PreparedPython) -> None:
    assert prepared.run([]).returncode == 3
    assert prepared._process is not None
    prepared._process.kill()
    prepared._process.wait()

    assert prepared.run([]).returncode == 3
