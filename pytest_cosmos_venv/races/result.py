"""The result of a race: the outcome of each contender, and the race as a whole."""

from __future__ import annotations

import io
import pickle
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.races.contender import ContenderResult, RaceOrder
from pytest_cosmos_venv.races.points import Sighting
from pytest_cosmos_venv.races.timeline import Timeline

_SHOWN_LINES = 30
# Frames of the toolkit in a contender's stack, which failures do not show.
_OUR_FRAMES = (str(Path(__file__).parent), 'File "<string>"')


class RaceFailure(AssertionError):
    """A race did not go as it had to; the message shows which contender failed, what it said, and the timeline."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one contender.

    :param actor: the name of the contender: ``contender-0``.
    :param pid: the PID of its process.
    :param value: the value that its function returned.
    :param exception: type and text of the exception of its function, or None.
    :param traceback: the traceback of this exception, or None.
    :param exit_code: the exit code of its process; None when a signal ended the process, or it had not ended in time.
    :param signal: the signal that ended its process, or None.
    :param output: the output of the contender and its children on their standard streams.
    :param has_returned: whether its function returned, whatever the exit code.
    :param end: for an explored contender that neither returned, raised nor was killed, the end in words: ``never
        ends``, ``died``, ``waits: flock lock``; else empty.
    """

    actor: str
    pid: int
    value: Any = None
    exception: str | None = None
    traceback: str | None = field(default=None, repr=False)
    exit_code: int | None = None
    signal: signal.Signals | None = None
    output: str = field(default="", repr=False)
    has_returned: bool = True
    end: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether its function returned."""
        return self.exit_code == 0 and self.exception is None and self.has_returned

    @property
    def in_words(self) -> str:
        """The end in words: ``returned 3``, ``raised ValueError: ...``, ``killed by SIGKILL``."""
        if self.end:
            return self.end
        if self.signal is not None:
            return f"killed by {self.signal.name}"
        if self.exception is not None:
            return f"raised {self.exception}"
        if self.exit_code is None:
            return "had not ended"
        if self.exit_code == 0 and not self.has_returned:
            return "the process ended by itself with 0 before it answered"
        return f"returned {self.value!r}" if self.succeeded else f"left with exit code {self.exit_code}"

    def report(self) -> str:
        """Return the end in words, then the last lines of the traceback and of the output."""
        said = _last_lines(self.output)
        parts = [f"{self.actor} (PID {self.pid}): {self.in_words}", _last_lines(self.traceback or "")]
        return "\n".join([part for part in parts if part] + ([f"its output:\n{said}"] if said else []))


@dataclass(frozen=True, kw_only=True)
class Race:
    """A race that is over.

    :param outcomes: the outcomes of the contenders, in their order.
    :param timeline: their tasks, spans and points, points seen from outside, and the calls of a fake dbt.
    :param sightings: name of a point the race waited for -> when it was reached, and by which contender.
    :param left_behind: processes that the contenders had left running and that did not end within the grace period, in
        words. They were killed.
    :param services: processes that stay by design, in words: declared by the implementation or by
        ``services=...``. The race did not wait for them; they were killed too.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    sightings: Mapping[str, Sighting]
    left_behind: tuple[str, ...]
    services: tuple[str, ...]

    @property
    def values(self) -> tuple[Any, ...]:
        """The values that the functions returned, in the order of the contenders; None for a killed contender."""
        return tuple(outcome.value for outcome in self.outcomes)


def read_outcome(order: RaceOrder, index: int, pid: int, exit_code: int | None) -> Outcome:
    """Return the outcome that a contender has left in the race's folder.

    :param order: the race.
    :param index: the index of the contender, from 0.
    :param pid: the PID of its process.
    :param exit_code: the exit code of its process, negative for a signal; None when it had not ended.
    """
    result = _read_result(order.outcome_of(index))
    value, unreadable = _read_value(result.value, plain=order.plain)
    number = -exit_code if exit_code is not None and exit_code < 0 else None
    output = order.output_of(index)
    return Outcome(
        actor=order.names[index],
        pid=pid,
        value=value,
        exception=result.error or unreadable,
        traceback=result.traceback,
        exit_code=exit_code if number is None else None,
        signal=None if number is None else signal.Signals(number),
        output=output.read_text(encoding="utf-8", errors="replace") if output.exists() else "",
        has_returned=result.value is not None,
    )


def failure_message(sentence: str, outcomes: Sequence[Outcome], timeline: Timeline) -> str:
    """Return the text of a failure: the sentence, a report of each outcome, and the chart.

    :param sentence: what went wrong.
    :param outcomes: the outcomes to show, the most important first.
    :param timeline: the timeline of the race.
    """
    return "\n\n".join([sentence, *(outcome.report() for outcome in outcomes), timeline.draw()])


def unpickled(data: bytes, *classes: Any) -> Any:
    """Return the object of a pickle from an untrusted process: plain data, and objects of these classes.

    :param data: the pickle.
    :param *classes: the classes that the pickle may use.
    :raises pickle.UnpicklingError: the pickle uses another class, which is not imported; or it is no pickle.
    """
    return _OnlyThese(data, classes).load()


class _OnlyThese(pickle.Unpickler):
    def __init__(self, data: bytes, classes: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._known = {(each.__module__, each.__qualname__): each for each in classes}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return self._known[module, name]
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


def _read_result(file: Path) -> ContenderResult:
    try:
        found = unpickled(file.read_bytes(), ContenderResult)
    except FileNotFoundError:
        return ContenderResult()
    except Exception as error:  # noqa: BLE001 - a contender may write there what it likes
        return ContenderResult(error=f"what the contender left as its result cannot be read ({error})")
    return (
        found if isinstance(found, ContenderResult) else ContenderResult(error="what the contender left is no result")
    )


def _read_value(pickled: bytes | None, *, plain: bool) -> tuple[Any, str | None]:
    """The value, and what is wrong with it."""
    if pickled is None:
        return None, None
    try:
        return (unpickled(pickled) if plain else pickle.loads(pickled)), None  # noqa: S301 - where it is trusted
    except Exception as error:  # noqa: BLE001 - unpickling raises whatever the object does
        return None, (
            f"{type(error).__name__}: {error}, when the test's process took in what the contender returned: "
            "return plain data"
        )


def _last_lines(text: str) -> str:
    lines = [line for line in text.rstrip().splitlines() if not any(frame in line for frame in _OUR_FRAMES)]
    cut = [f"... {len(lines) - _SHOWN_LINES} lines above"] if len(lines) > _SHOWN_LINES else []
    return "\n".join([*cut, *lines[-_SHOWN_LINES:]])
