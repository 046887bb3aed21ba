"""Outages: how long one lasts, and what has met it.

The time of an outage is the time of the code under test: ``cosmos_airflow.clock`` moves it, and ``retry_delay``, which
runs of the toolkit do not wait for, counts as if it had passed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow import clock
from pytest_cosmos_venv.faults import Fault


@dataclass
class SkippedTime:
    """The seconds that a test has not waited for.

    :param seconds: their sum.
    """

    seconds: float = 0.0

    def now(self) -> float:
        """Return the seconds that have passed for the code under test, from any moment on."""
        return real_time.monotonic() + clock.moved() + self.seconds


@dataclass
class Outage:
    """One outage, which begins with a request and ends after its length.

    :param fault: the fault.
    :param skipped: the time that the test has not waited for.
    :param tell: called once, when something meets the outage, with the fault and the place.
    :param word: the word for what meets it: ``request`` or ``connection``.
    """

    fault: Fault
    skipped: SkippedTime
    tell: Callable[[Fault, str], None]
    word: str
    _seen: int = 0
    _met: int = 0
    _began: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meets(self) -> bool:
        """Count a request or a connection, and return whether it meets the outage."""
        with self._lock:
            self._seen += 1
            if self._seen < self.fault.number or not self._goes_on():
                return False
            self._met += 1
            if self._met == 1:
                self._began = self.skipped.now()
                self.tell(self.fault, f"{self.word} {self._seen}")
            return True

    def _goes_on(self) -> bool:
        fault = self.fault
        if fault.count is not None and self._met >= fault.count:
            return False
        return self._began is None or fault.seconds is None or self.skipped.now() - self._began < fault.seconds
