"""One copy of a racing test, and values that one racer makes for all."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.races.event_log import ACTOR_VARIABLE, EventLog
from pytest_cosmos_venv.races.timeline import Timeline
from pytest_cosmos_venv.xdist_races.barrier import LOOK_AGAIN, publish_json
from pytest_cosmos_venv.xdist_races.marker import is_number

if TYPE_CHECKING:
    from pytest_cosmos_venv.xdist_races.barrier import Barriers

BARRIER_TIMEOUT = 30.0
ONCE_TIMEOUT = 120.0


def make_once(folder: Path, name: str, factory: Callable[[], Any], *, timeout: float) -> Any:
    """The value that ``factory`` returned in the one process that called it to the end.

    :param folder: the folder of all racers; made when missing.
    :param name: the name of the value; another name is another value.
    :param factory: returns a path, or what JSON can hold.
    :param timeout: seconds to wait while another racer is making it.
    :raises ToolkitMisuse: when it is no value that another process can be given, or not made in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{quote(name, safe='')}.json"
    with _locked(made.with_suffix(".lock"), name, timeout):
        if not made.exists():
            publish_json(made, _packed(name, factory()))
    kind, value = json.loads(made.read_bytes())
    return Path(value) if kind == "path" else value


def _packed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, Path):
        return "path", str(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise ToolkitMisuse(
            f"once({name!r}): the factory returned {type(value).__name__}, which the other racers, processes of their "
            "own, cannot be given. Return a path, or what JSON can hold."
        ) from None
    return "value", value


@contextmanager
def _locked(file: Path, name: str, timeout: float) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = real_time.monotonic() + timeout
        while not _takes(descriptor):
            if real_time.monotonic() > end:
                raise ToolkitMisuse(
                    f"once({name!r}): another racer is still making it after {timeout:g} s. Give it more time: "
                    f"once({name!r}, …, timeout={timeout * 4:g})."
                )
            real_time.sleep(LOOK_AGAIN)
        yield
    finally:
        os.close(descriptor)


def _takes(descriptor: int) -> bool:
    # lockf, not flock: it ends with this process, although one that the factory forked lives on.
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


class Racer:
    """One of the copies of a test that run at once: what the fixture ``cosmos_racer`` gives.

    :param barriers: the barriers of the race.
    :param worker: name of the worker of pytest-xdist that this copy runs in, where each has one of its own.
    """

    def __init__(self, barriers: Barriers, *, worker: str | None = None) -> None:
        self._barriers = barriers
        self._worker = worker
        self._index: int | None = None
        self._visits: Counter[str] = Counter()
        barriers.shared.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"<racer {self._index} of {self.racers}>"

    @property
    def index(self) -> int:
        """The number of this copy: 0, 1, 2, …

        :raises ToolkitMisuse: while fixtures are set up: there the copies may not have parted yet.
        """
        if self._index is None:
            raise ToolkitMisuse(
                "cosmos_racer.index: fixtures are set up once for all racers where these are processes of their own. "
                "Ask for the index, for barriers and for spans inside of the test."
            )
        return self._index

    @property
    def racers(self) -> int:
        """The number of copies."""
        return self._barriers.racers

    @property
    def shared(self) -> Path:
        """A folder that all copies of this race share, and no other race."""
        return self._barriers.shared

    def barrier(self, name: str, *, timeout: float = BARRIER_TIMEOUT) -> None:
        """Wait here until all racers have come here. A name may be used again, as in a loop.

        :param name: the name of the barrier.
        :param timeout: seconds that this racer waits.
        :raises pytest.fail.Exception: with the racers that are missing: at once when one of them has ended, else after
            ``timeout``.
        """
        __tracebackhide__ = True
        _check("barrier", name, timeout, example="start")
        visit = self._visits[name]
        self._visits[name] += 1
        with self._log().span(f"barrier {name}"):
            self._barriers.wait_at_barrier(name, visit, index=self.index, timeout=timeout)

    def once(self, name: str, factory: Callable[[], Any], *, timeout: float = ONCE_TIMEOUT) -> Any:
        """The value that ``factory()`` returned in the racer that came first; it is called in no other one.

        When that racer dies or the factory raises, the next racer calls it: write it so that it can begin again.

        :param name: the name of the value; another name is another value.
        :param factory: returns a path, or what JSON can hold.
        :param timeout: seconds to wait while another racer is making it.
        """

        _check("once", name, timeout, example="model")
        return make_once(self._barriers.folder / "once", name, factory, timeout=timeout)

    def event(self, name: str) -> None:
        """Write down in the timeline that something happens now.

        :param name: the name of the event.
        """
        self._log().point(name)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Write down in the timeline when the block began and when it ended.

        :param name: the name of the span.
        """
        with self._log().span(name):
            yield

    def timeline(self) -> Timeline:
        """The timeline that all racers have written so far, as ``racer-0``, ``racer-1``, …

        After a barrier that is all that happened before it.
        """
        return Timeline.read(self._barriers.events)

    def _start(self, index: int) -> None:
        """This process is that racer from now on."""
        self._index = index
        os.environ[ACTOR_VARIABLE] = self._log().actor
        self._barriers.introduce(index, worker=self._worker)

    def _report_sections(self) -> Iterator[tuple[str, str]]:
        """Headings and texts that a report of a failure shows besides it."""
        others = [index for index in range(self.racers) if index != self._index]
        running = [self._barriers.who(index) for index in others if self._barriers.ending(index) is None]
        if running:
            yield "Racers that had not ended", "\n".join(running)
        timeline = self.timeline()
        if timeline:
            yield "Timeline of the race", str(timeline)

    def _log(self) -> EventLog:
        return EventLog(self._barriers.events, actor=f"racer-{self.index}")


def _check(method: str, name: object, timeout: object, *, example: str) -> None:
    if not isinstance(name, str):
        raise ToolkitMisuse(f"{method}({name!r}): give it a name, as in {method}({example!r}).")
    if not is_number(timeout) or not timeout >= 0:
        raise ToolkitMisuse(f"{method}({name!r}, timeout={timeout!r}): give seconds, 0 or more.")
