"""What came of a race: the outcome of each contender, and the timeline of all."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import RecordTuple
from pytest_cosmos_venv.races.orders import RaceOrder, Result
from pytest_cosmos_venv.races.points import Sighting
from pytest_cosmos_venv.races.timeline import Timeline

_SHOWN_LINES = 30
# Of a contender that was asked where it is.
_OUR_FRAMES = (str(Path(__file__).parent), 'File "<string>"')


class RaceFailure(AssertionError):
    """A race did not go as it had to; the message shows who failed, what it said, and the timeline."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one contender.

    :param actor: its name: ``contender-0``.
    :param value: what its function returned.
    :param exception: type and text of what it raised, or None.
    :param traceback: the same at length.
    :param exit_code: of its process; None when a signal ended it, or the race when its time was over.
    :param signal: that ended its process, or None.
    :param output: all that it and its children wrote to their standard streams.
    """

    actor: str
    pid: int
    value: Any = None
    exception: str | None = None
    traceback: str | None = field(default=None, repr=False)
    exit_code: int | None = None
    signal: signal.Signals | None = None
    output: str = field(default="", repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether its function returned."""
        return self.exit_code == 0 and self.exception is None

    @property
    def in_words(self) -> str:
        """How it ended: ``returned 3``, ``ValueError: ...``, ``killed by SIGKILL``."""
        if self.signal is not None:
            return f"killed by {self.signal.name}"
        if self.exception is not None:
            return self.exception
        if self.exit_code is None:
            return "had not ended"
        return f"returned {self.value!r}" if self.succeeded else f"left with exit code {self.exit_code}"

    def report(self) -> str:
        """The same with what it wrote and where it raised, the last lines of each."""
        said = _last_lines(self.output)
        parts = [f"{self.actor} (PID {self.pid}): {self.in_words}", _last_lines(self.traceback or "")]
        return "\n".join([part for part in parts if part] + ([f"its output:\n{said}"] if said else []))


@dataclass(frozen=True, kw_only=True)
class Race:
    """A race that is over.

    :param outcomes: of the contenders, in their order.
    :param timeline: their tasks, spans and points, points seen from outside, and the calls of a look-alike dbt.
    :param sightings: name of a point the race waited for -> when and who.
    :param left_behind: processes that the contenders had left running and that did not end by themselves in the time
        of grace, in words. They were killed. A failed comparison with ``()`` tells how such a process is declared.
    :param services: processes that stay by design, in words: declared by the implementation, by ``cosmos_services`` in
        the ini file, or by ``services=...``. Nobody waited for them; they were killed too.
    :param start_spread: seconds between the first and the last start.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    sightings: Mapping[str, Sighting]
    left_behind: tuple[str, ...]
    services: tuple[str, ...]
    start_spread: float

    @property
    def values(self) -> tuple[Any, ...]:
        """What each function returned, in the order of the contenders; None of one that was killed."""
        return RecordTuple((outcome.value for outcome in self.outcomes), of="values", none="nobody raced", word=repr)

    @property
    def winners(self) -> tuple[Outcome, ...]:
        """Those whose function returned."""
        return _outcomes("winners", (outcome for outcome in self.outcomes if outcome.succeeded))

    @property
    def losers(self) -> tuple[Outcome, ...]:
        """Those that raised, left or were killed."""
        return _outcomes("losers", (outcome for outcome in self.outcomes if not outcome.succeeded))


def _outcomes(of: str, found: Iterable[Outcome]) -> tuple[Outcome, ...]:
    return RecordTuple(
        found, of=of, none="no contender is one", word=lambda outcome: f"{outcome.actor} {outcome.in_words}"
    )


def read_outcome(order: RaceOrder, index: int, pid: int, exit_code: int | None) -> Outcome:
    """What a contender has left in the race's folder.

    :param exit_code: of its process, negative for a signal; None when it had not ended.
    """
    result = _read_result(order.outcome_of(index))
    value, unreadable = _read_value(result.value)
    is_signal = exit_code is not None and exit_code < 0
    return Outcome(
        actor=order.names[index],
        pid=pid,
        value=value,
        exception=result.error or unreadable,
        traceback=result.traceback,
        exit_code=None if is_signal else exit_code,
        signal=signal.Signals(-exit_code) if exit_code is not None and is_signal else None,
        output=_read_output(order.output_of(index)),
    )


def failure_message(sentence: str, outcomes: Sequence[Outcome], timeline: Timeline) -> str:
    """What a reader needs to see why a race failed."""
    return "\n\n".join([sentence, *(outcome.report() for outcome in outcomes), timeline.draw()])


def _read_result(file: Path) -> Result:
    try:
        result: Result = pickle.loads(file.read_bytes())  # noqa: S301 - from our own contender
    except FileNotFoundError:
        return Result()
    return result


def _read_value(pickled: bytes | None) -> tuple[Any, str | None]:
    """The value, and what is wrong with it."""
    if pickled is None:
        return None, None
    try:
        return pickle.loads(pickled), None  # noqa: S301 - from our own contender
    except Exception as error:  # noqa: BLE001 - unpickling raises whatever the object does
        return None, (
            f"{type(error).__name__}: {error}, when the test's process took in what the contender returned: "
            "return plain data"
        )


def _read_output(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _last_lines(text: str) -> str:
    lines = [line for line in text.rstrip().splitlines() if not any(frame in line for frame in _OUR_FRAMES)]
    cut = [f"... {len(lines) - _SHOWN_LINES} lines above"] if len(lines) > _SHOWN_LINES else []
    return "\n".join([*cut, *lines[-_SHOWN_LINES:]])
