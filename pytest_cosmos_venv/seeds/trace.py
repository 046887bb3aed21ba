"""What was done, and what was seen? Each step in a line, for whoever reads a failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn


class NotFulfilled(AssertionError):
    """An implementation did something else than was required. The text is the whole story."""


@dataclass(kw_only=True)
class Story:
    """The steps of one scenario.

    :param teller: whose behaviour is told, such as ``cosmos 1.15.1``.
    :param sentence: that requires it; empty where a test has its own reasons.
    """

    teller: str
    sentence: str = ""
    _steps: list[str] = field(default_factory=list)

    def add(self, step: str) -> None:
        """Tell one step."""
        self._steps.append(step)

    def fail(self, required: str, seen: str, *, log: str = "") -> NoReturn:
        """End the test.

        :param log: of the task in question.
        :raises NotFulfilled: always.
        """
        __tracebackhide__ = True
        raise NotFulfilled("\n".join(self._told(required, seen, log)))

    def __str__(self) -> str:
        return "\n".join(f"  {number}. {step}" for number, step in enumerate(self._steps, start=1))

    def _told(self, required: str, seen: str, log: str) -> list[str]:
        lines = [f"{self.teller} does not do what is required: {required}"]
        if self.sentence:
            lines += ["", f"Sentence: {self.sentence}"]
        lines += ["", "What was done and seen:", str(self), "", f"Required: {required}", f"Seen:     {seen}"]
        if log:
            lines += ["", "The log of that task ends:", *(f"  {line}" for line in log.splitlines()[-15:])]
        return lines
