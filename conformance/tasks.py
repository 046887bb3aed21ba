"""What is a task told, and what comes of it? Plain data, so that it is made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Task:
    """One operator and what it is constructed with, as plain data: it is built in the process that runs it.

    :param command: a key of ``OPERATOR_CLASSES``.
    :param profile: arguments of ``ProfileConfig``; ``profile_mapping`` is a pair: name of the class, its arguments.
    :param arguments: the operator's other arguments.
    :param under_airflow: run it as Airflow runs a task, with a database, templates, XComs and assets; otherwise the
        operator is executed alone, which is enough for most, and many can at once.
    :param standard_input: what the task's process could read there, from a pipe that stays open.
    :param place: what the task finds at a path, such as ``{"read-only": folder}``: see ``places``.
    """

    command: str
    profile: Mapping[str, Any]
    arguments: Mapping[str, Any]
    under_airflow: bool = False
    standard_input: str | None = None
    place: Mapping[str, str] = field(default_factory=dict)

    def with_arguments(self, **arguments: Any) -> Task:
        """The same task with other arguments beside its own."""
        return replace(self, arguments={**self.arguments, **arguments})


STATES = ("success", "failed", "skipped")
"""How a task ends, in Airflow's words."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a task.

    :param state: one of ``STATES``.
    :param exception: type and text of what the operator raised, in one text (``ValueError: what``), or None.
    :param log: all that the task's process and its children wrote.
    :param xcoms: name -> value, under Airflow alone.
    :param assets: URIs of the assets that it told Airflow of, under Airflow alone.
    :param fields: the operator's template fields after the run, as text: what Airflow shows as rendered.
    """

    state: str
    exception: str | None = None
    log: str = field(default="", repr=False)
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    assets: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def succeeded(self) -> bool:
        return self.state == "success"

    def __str__(self) -> str:
        return f"state {self.state}, exception {self.exception}; the end of its log:\n{self.log[-4000:]}"
