"""The rules that a test can script for calls of the fake dbt; a rule that contradicts itself is refused."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse

from . import is_native
from .artifacts import ARTIFACTS, STATUSES
from .command_line import Invocation, UsageError
from .native import command_line as native
from .tables import COMMAND_GROUPS, COMMANDS

Artifact = Mapping[str, Any] | str | None
"""Content of an artifact: JSON, or text as it is, or None for no file."""

VERSION = "--version"


@dataclass(frozen=True, kw_only=True)
class NodeOutcome:
    """The end of one node.

    :param status: ``success``, ``error``, ``skipped``, ... for models, seeds and snapshots; ``partial success`` for a
        microbatch model of which a batch fails; ``pass``, ``fail``, ``warn`` for tests.
    :param message: the message in dbt's log and in ``run_results.json`` (for a ``partial success`` in the log alone, as
        with dbt); None: dbt's message for such a status.
    :param failures: the number of rows that a test found; None: dbt's number for such a status.
    """

    status: str
    message: str | None = None
    failures: int | None = None

    def __post_init__(self) -> None:
        _one_of("status", self.status, STATUSES)
        if self.failures is not None and self.failures < 0:
            raise ToolkitMisuse(f"failures={self.failures}: a test cannot find fewer than no rows.")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule for the calls that it fits; the fields are the parameters of ``ScriptedDbt.script``.

    :param command: the command of the calls; None: every command.
    :param nth: the number of the call among those that fit, from 1; None: every one.
    :param select: a node or the very words that the calls select; None: any.
    :param exit_code: the exit code; None: by the ends of the nodes.
    :param stdout: the lines to print in place of dbt's own; None: dbt's own.
    :param stderr: the lines to print to stderr.
    :param nodes: name or unique id -> status or outcome.
    :param artifacts: name of an artifact -> its content.
    :param at: name or unique id of the node during which the call is delayed, held or dies; None: the first node.
    :param after: name or unique id of the node after which, before the next node, the call is delayed, held or dies;
        None: this happens during a node.
    :param delay: seconds to work on the node; None: none.
    :param hold: whether to work on the node until the test releases the call.
    :param ignore_signals: signals that the call only records.
    :param child: whether to fork a child that stays.
    :param crash: the signal by which to die while working on the node; None: none.
    :param recording: the folder of the recording that answers the calls; None: there is none.
    """

    command: str | None = None
    nth: int | None = None
    select: str | None = None
    exit_code: int | None = None
    stdout: Sequence[str] | None = None
    stderr: Sequence[str] = ()
    nodes: Mapping[str, str | NodeOutcome] = field(default_factory=dict)
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    at: str | None = None
    after: str | None = None
    delay: float | None = None
    hold: bool = False
    ignore_signals: tuple[signal.Signals, ...] = ()
    child: bool = False
    crash: signal.Signals | None = None
    recording: str | None = None

    def __post_init__(self) -> None:
        self._check_values()
        self._check_lines()
        self._check_contradictions()

    @property
    def outcomes(self) -> dict[str, NodeOutcome]:
        """The field ``nodes`` with every short form written out."""
        return {
            name: each if isinstance(each, NodeOutcome) else NodeOutcome(status=each)
            for name, each in self.nodes.items()
        }

    def as_json(self) -> dict[str, Any]:
        """Return the rule as the fake reads it."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "command": None if self.command is None else check_command(self.command),
            "nodes": {name: vars(outcome) for name, outcome in self.outcomes.items()},
            "artifacts": dict(self.artifacts),
            "delay": self.delay or 0,
        }

    def _check_values(self) -> None:
        # A value of another type would match no call and no node, and the rule would never act.
        for name, value in (("select", self.select), ("at", self.at), ("after", self.after)):
            if not isinstance(value, (str, type(None))):
                raise ToolkitMisuse(f"{name}={value!r}: give the name of one node, and a script() for each other node.")
        if self.command is not None:
            check_command(self.command)
        if self.nth is not None and self.nth < 1:
            raise ToolkitMisuse(f"nth={self.nth}: calls are counted from 1.")
        if self.exit_code is not None and not 0 <= self.exit_code <= 255:
            raise ToolkitMisuse(
                f"exit_code={self.exit_code}: a process ends with 0 to 255; one that a signal ends is crash=SIGNAL."
            )
        for name in self.artifacts:
            _one_of("artifacts", name, ARTIFACTS)

    def _check_lines(self) -> None:
        for name, lines in (("stdout", self.stdout), ("stderr", self.stderr)):
            if lines is None and name == "stdout":  # dbt's own
                continue
            if not isinstance(lines, (list, tuple)) or not all(isinstance(line, str) for line in lines):
                raise ToolkitMisuse(f"{name}={lines!r}: give a list of lines.")

    def _check_contradictions(self) -> None:
        if self.crash is not None and self.exit_code is not None:
            raise ToolkitMisuse(
                f"exit_code={self.exit_code} and crash={self.crash.name}: a process ends in one way; give one of them."
            )
        self._check_place()

    def _check_place(self) -> None:
        if self.at is not None and self.after is not None:
            raise ToolkitMisuse(
                f"at={self.at!r} and after={self.after!r}: a call stops in one place; give one of them."
            )
        for name, node in (("at", self.at), ("after", self.after)):
            if node is not None and not (self.hold or self.delay or self.crash):
                raise ToolkitMisuse(f"{name}={node!r}: say what happens there too; give one of hold, delay and crash.")


def read_line(arguments: Sequence[str], dbt_version: str) -> Invocation | None:
    """Return a command line as a dbt reads it; None where it would refuse the line.

    :param arguments: the command line without the executable.
    :param dbt_version: the version of that dbt.
    """
    try:
        line = (native.NativeInvocation if is_native(dbt_version) else Invocation)(list(arguments))
        _ = line.command
    except UsageError:
        return None
    return line


def check_command(command: str) -> str:
    """Return a command of dbt by its name in the record of a call.

    :param command: the command, such as ``run`` or ``docs generate``.
    :raises ToolkitMisuse: dbt has no such command.
    """
    groups = (f"{first} {second}" for first, below in COMMAND_GROUPS.items() for second in below)
    _one_of("command", command, {*COMMANDS, *native.COMMANDS, *groups, VERSION})
    return "ls" if command == "list" else command


def _one_of(parameter: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ToolkitMisuse(f"{parameter}={value!r} is unknown to dbt: give one of {_listed(sorted(known))}.")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
