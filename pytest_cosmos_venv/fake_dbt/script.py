"""The script for one call of the fake dbt: the last rule that fits it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path, PurePath
from types import FrameType
from typing import Any, NoReturn

from .command_line import Invocation, UsageError
from .record import Record

LOOK_AGAIN = 0.005
LIFETIME = 600.0
"""Seconds after which a call or a child ends by itself that was never released or killed."""

SELECTING = ("--select", "-s", "--models", "--model", "-m")


class Interrupted(BaseException):
    """SIGINT has come."""


class ScriptError(Exception):
    """The test has scripted what cannot be in this project."""


class Script:
    """The rule for this call; where none fits, dbt works as told and succeeds.

    ``exit_code``, ``stdout``, ``stderr``, ``artifacts``, ``nodes``, ``at``, ``after``, ``recording`` and ``speed`` are
    as in ``rules.Rule``.

    :param record: the record of the call.
    :param rule: the rule as JSON; None: none fits.
    :param number: the number of the rule, from 0.
    """

    def __init__(self, record: Record, rule: dict[str, Any] | None, number: int) -> None:
        self._record = record
        self._rule = rule or {}
        self._number = number
        self.exit_code: int | None = self._rule.get("exit_code")
        self.stdout: Iterable[str] | None = self._rule.get("stdout")
        self.stderr: Iterable[str] = self._rule.get("stderr", ())
        self.artifacts: dict[str, Any] = self._rule.get("artifacts", {})
        self.nodes: dict[str, dict[str, Any]] = self._rule.get("nodes", {})
        self.at: str | None = self._rule.get("at")
        self.after: str | None = self._rule.get("after")
        named = self._rule.get("recording")
        self.recording = None if named is None else Path(named)
        self.speed: float = self._rule.get("speed") or 0.0
        self._has_paused = False

    @property
    def names_its_selection(self) -> bool:
        """Whether the rule is for calls that select a certain node: the nodes that it adds belong to that selection."""
        return self._rule.get("select") is not None

    def count_call(self, calls: str) -> int:
        """Return how many calls of a sort there were under this rule, this one included.

        :param calls: a text that stands for the sort of calls.
        """
        return self._record.count_call(f"{self._number} {calls}")

    def spend(self, seconds: float) -> None:
        """Spend the time that a recorded node took, at the speed of the rule; none where it has no speed.

        :param seconds: the time.
        """
        if self.speed:
            time.sleep(seconds / self.speed)

    def outcome(self, unique_id: str) -> dict[str, Any] | None:
        """Return how a node ends; None where the script does not say.

        :param unique_id: the unique id of the node.
        """
        return self.nodes.get(unique_id) or self.nodes.get(unique_id.split(".")[2])

    def watch_signals(self) -> None:
        """Put the signals that come on record. Those that are not ignored act as on dbt."""
        for number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *self._rule.get("ignore_signals", ())}:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    def start_child(self) -> None:
        """Fork a child that stays, with this process's output in its hands."""
        if not self._rule.get("child"):
            return
        child = os.fork()
        if child:
            self._record.add("child", pid=child)
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ignored = number in self._rule["ignore_signals"]
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        time.sleep(LIFETIME)
        os._exit(0)

    def record_end(self, unique_id: str, status: str) -> None:
        """Put the end of a node on record.

        :param unique_id: the unique id of the node.
        :param status: its status.
        """
        self._record.add("node", unique_id=unique_id, status=status)

    def pauses_in(self, unique_id: str) -> bool:
        """Whether ``pause`` belongs to the work on this node: on the one that ``at`` names, else on the first.

        :param unique_id: the unique id of the node, which is not skipped.
        """
        if self._has_paused or self.after is not None:
            return False
        return self.at is None or _names(self.at, unique_id)

    def pauses_after(self, unique_id: str) -> bool:
        """Whether ``pause`` follows the end of this node.

        :param unique_id: the unique id of the node.
        """
        return not self._has_paused and self.after is not None and _names(self.after, unique_id)

    def pause(self) -> None:
        """Spend the time that the scripted work takes; die in it where that is scripted."""
        self._has_paused = True
        if self._rule.get("hold"):
            self._hold()
        elif self._rule.get("delay"):
            time.sleep(self._rule["delay"])
        if self._rule.get("crash"):
            die(self._rule["crash"])

    def _hold(self) -> None:
        self._record.add("held")
        end = time.monotonic() + LIFETIME
        while not self._record.is_released(self._number):
            time.sleep(LOOK_AGAIN)
            if time.monotonic() > end:
                raise SystemExit(f"held for {LIFETIME:g} s, and nobody called release()")

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._record.add("signal", name=signal.Signals(number).name)
        if number in self._rule.get("ignore_signals", ()):
            return
        if number == signal.SIGINT:
            raise Interrupted
        die(number)


def read_script(record: Record, invocation: Invocation | None) -> Script:
    """Return the rule of the last ``script(...)`` that fits a call.

    :param record: the record of the call.
    :param invocation: the command line; None where dbt would refuse it.
    """
    found = Script(record, None, 0)
    # Rules for the same calls share one count: with one each, two calls at the same instant could both be the first
    # for one rule and the second for the other, and fit none.
    places: dict[str, int] = {}
    for number, rule in enumerate(record.rules()):
        if not fits(rule, invocation):
            continue
        calls = f"{rule['command']} {rule['select']}"
        if rule["nth"] is not None and calls not in places:
            places[calls] = record.count_call(calls)
        if rule["nth"] in (None, places.get(calls)):
            found = Script(record, rule, number)
    return found


def node_name(criterion: str) -> str:
    """Return the name of a node in a criterion: ``orders`` in ``+orders``, ``fqn:shop.staging.orders``,
    ``path:models/orders.sql``.

    Other criteria stay as they are.

    :param criterion: one criterion of a selection.
    """
    plain = criterion.strip("+@")
    method, colon, value = plain.partition(":")
    if not colon:
        value = plain
    elif method not in ("fqn", "path"):
        return plain
    if method == "path" or "/" in value:
        return PurePath(value).stem
    return value.rpartition(".")[2]


def _names(name: str, unique_id: str) -> bool:
    return name in (unique_id, unique_id.split(".")[2])


def fits(rule: dict[str, Any], invocation: Invocation | None) -> bool:
    """Whether a rule is for such calls, whatever their number.

    :param rule: the rule, as the fake reads it.
    :param invocation: the command line; None where dbt would refuse it.
    """
    if rule["command"] is None and rule["select"] is None:
        return True
    if invocation is None:
        return False
    try:
        command = invocation.command
    except UsageError:
        return False
    if rule["command"] not in (None, "ls" if command == "list" else command):
        return False
    words = [word for value in invocation.all(*SELECTING) for word in value.split()]
    return rule["select"] is None or any(rule["select"] in (word, node_name(word)) for word in words)


def die(number: int) -> NoReturn:
    """End this process by a signal.

    :param number: the number of the signal.
    """
    sys.stdout.flush()
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    while True:  # a signal may take a moment
        signal.pause()
