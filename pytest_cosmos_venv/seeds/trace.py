"""The trace of a scenario: one line for each step and its outcome, shown when a requirement fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn


class RequirementNotMet(AssertionError):
    """An implementation does not meet a requirement. The text is the whole trace."""


@dataclass(kw_only=True)
class ScenarioTrace:
    """The steps of one scenario.

    :param implementation: name and version of the implementation under test, such as ``cosmos 1.15.1``.
    :param sentence: the sentence that requires the scenario; empty where a test has its own reasons.
    """

    implementation: str
    sentence: str = ""
    _steps: list[str] = field(default_factory=list)

    def add(self, step: str) -> None:
        """Add one step.

        :param step: the step in words.
        """
        self._steps.append(step)

    def fail(self, required: str, seen: str, *, log: str = "") -> NoReturn:
        """End the test with the whole trace.

        :param required: the requirement in words.
        :param seen: what was seen instead.
        :param log: the log of the task in question; empty: there is none.
        :raises RequirementNotMet: always.
        """
        __tracebackhide__ = True
        raise RequirementNotMet("\n".join(self._message_lines(required, seen, log)))

    def __str__(self) -> str:
        return "\n".join(f"  {number}. {step}" for number, step in enumerate(self._steps, start=1))

    def _message_lines(self, required: str, seen: str, log: str) -> list[str]:
        lines = [f"{self.implementation} does not do what is required: {required}"]
        if self.sentence:
            lines += ["", f"Sentence: {self.sentence}"]
        lines += ["", "What was done and seen:", str(self), "", f"Required: {required}", f"Seen:     {seen}"]
        if log:
            lines += ["", "The log of that task ends:", *(f"  {line}" for line in log.splitlines()[-15:])]
        return lines
