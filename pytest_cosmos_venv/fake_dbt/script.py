"""The script for one call of the fake dbt: the last rule that fits it."""

from __future__ import annotations

import errno
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
from .whole_writes import append_line

LOOK_AGAIN = 0.005
LIFETIME = 600.0
"""Seconds after which a call or a child that was never released or killed ends by itself."""

_NOT_RUN = ("skipped", "no-op")
SELECTING = ("--select", "-s", "--models", "--model", "-m")


class Interrupted(BaseException):
    """SIGINT has come."""


class ScriptError(Exception):
    """The script of the test does not fit this project."""


class Script:
    """The rule for this call; without a matching rule, the call succeeds.

    ``exit_code``, ``stdout``, ``stderr``, ``artifacts``, ``nodes``, ``at``, ``after`` and ``recording`` are as
    in ``rules.Rule``.

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
        self._has_paused = False
        self._is_rule_due = True
        self._faults = FaultOrders(record)

    @property
    def names_its_selection(self) -> bool:
        """Whether the rule is for calls that select a certain node. Nodes that the rule adds then belong to the
        selection.
        """
        return self._rule.get("select") is not None

    def count_call(self, calls: str) -> int:
        """Return how many calls of a sort there were under this rule, this one included.

        :param calls: a text that stands for the sort of calls.
        """
        return self._record.count_call(f"{self._number} {calls}")

    def outcome(self, unique_id: str) -> dict[str, Any] | None:
        """Return how a node ends; None where no script names it.

        :param unique_id: the unique id of the node.
        """
        return self.nodes.get(unique_id) or self.nodes.get(unique_id.split(".")[2])

    def end_of(self, unique_id: str, *, is_lost: bool, default: str) -> dict[str, Any]:
        """Return how a node ends: as scripted, else skipped where a node above it has failed.

        :param unique_id: the id of the node.
        :param is_lost: whether a node above it has failed or was skipped.
        :param default: its status otherwise.
        """
        return self.outcome(unique_id) or {"status": "skipped" if is_lost else default}

    def watch_signals(self) -> None:
        """Record the signals that arrive. A signal that is not ignored acts as on dbt."""
        for number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *self._rule.get("ignore_signals", ())}:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    def start_child(self) -> None:
        """Fork a child that stays, and keeps the output of this process open."""
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
        """Record the end of a node.

        :param unique_id: the unique id of the node.
        :param status: its status.
        """
        self._record.add("node", unique_id=unique_id, status=status)
        if status not in _NOT_RUN:
            self._faults.count(unique_id)

    def record_unread(self, parts: list[str]) -> None:
        """Record the parts of the project that the fake cannot read.

        :param parts: the parts, in words.
        """
        if parts:
            self._record.add("unread", parts=parts)

    def pauses_in(self, unique_id: str) -> bool:
        """Whether the call pauses while it works on this node: the node that ``at`` names, else the first one.

        :param unique_id: the unique id of the node, which is not skipped.
        """
        is_here = self.at is None or _names(self.at, unique_id)
        self._is_rule_due = not self._has_paused and self.after is None and is_here
        return self._is_rule_due

    def pauses_after(self, unique_id: str) -> bool:
        """Whether ``pause`` follows the end of this node, by the rule or by a fault of the test.

        :param unique_id: the unique id of the node.
        """
        self._is_rule_due = not self._has_paused and self.after is not None and _names(self.after, unique_id)
        return self._is_rule_due or self._faults.are_due

    def pause(self) -> None:
        """Trigger the faults that are due, then wait, and die, as the rule says."""
        self._faults.strike()
        if not self._is_rule_due:
            return
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


class FaultOrders:
    """The faults of a test that happen in dbt calls, from the file beside the script.

    Each order names a node: by its name, or by its number among the nodes that end in one try of a task. A try may have
    several calls of dbt.

    :param record: the record of the call.
    """

    def __init__(self, record: Record) -> None:
        found = record.fault_orders()
        self._folder = Path(found["folder"]) if found else Path()
        self._worker: int | None = found.get("worker")
        self._orders: list[dict[str, Any]] = found.get("orders", [])
        self._due: list[tuple[dict[str, Any], str]] = []

    @property
    def are_due(self) -> bool:
        """Whether ``strike`` has something to do."""
        return bool(self._due)

    def count(self, unique_id: str) -> None:
        """Count a node that has ended.

        :param unique_id: the unique id of the node.
        """
        if self._orders:
            number = self._next_number(is_taken=True)
            self._due += [(order, unique_id) for order in self._claimed(unique_id, number)]

    def strike(self) -> None:
        """Trigger the faults that are due."""
        due, self._due = self._due, []
        # Record all of them first: one of them may end this process.
        for order, unique_id in due:
            self._tell(order, unique_id)
        for order, _ in due:
            self._do(order)

    def _next_number(self, *, is_taken: bool) -> int:
        """Return the number of the next node of this try; take it where ``is_taken``."""
        number = 1
        while True:
            place = self._folder / f"node-{number}"
            if not is_taken and not place.exists():
                return number
            if is_taken and _is_made(place):
                return number
            number += 1

    def _claimed(self, unique_id: str, number: int) -> list[dict[str, Any]]:
        """Return the orders for a node that are not claimed yet: each order strikes once in a try."""
        meant = [
            order
            for order in self._orders
            if order["node"] == number or (isinstance(order["node"], str) and _names(order["node"], unique_id))
        ]
        return [order for order in meant if _is_made(self._folder / f"struck-{order['fault']}")]

    def _tell(self, order: dict[str, Any], unique_id: str) -> None:
        number = self._next_number(is_taken=False) - 1
        event = {"fault": order["fault"], "time": time.time(), "place": unique_id, "node": max(number, 1)}
        append_line(self._folder / "events.jsonl", event)

    def _do(self, order: dict[str, Any]) -> None:
        what = order["do"]
        if what == "kill dbt":
            die(signal.SIGKILL)
        elif what == "kill worker" and self._worker:
            os.kill(self._worker, signal.SIGKILL)
        elif what == "fill disk":
            fill(Path(order["disk"]))
        elif what == "hang":
            _hang(order["seconds"])


def _is_made(place: Path) -> bool:
    """Make an empty file; False where it is there already."""
    try:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _hang(seconds: float | None) -> None:
    sys.stdout.flush()
    end = time.monotonic() + (LIFETIME if seconds is None else seconds)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
    if seconds is None:
        raise SystemExit(f"hung for {LIFETIME:g} s, and nobody ended it")


def fill(disk: Path) -> None:
    """Write to a file system until it is full, and leave what was written.

    :param disk: an existing folder on it.
    """
    descriptor = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    size = 1 << 20
    while size:
        try:
            os.write(descriptor, bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
    os.close(descriptor)


def read_script(record: Record, invocation: Invocation | None) -> Script:
    """Return the rule of the last ``script(...)`` that fits a call.

    :param record: the record of the call.
    :param invocation: the command line; None where dbt would refuse it.
    """
    found, recording = Script(record, None, 0), None
    # Rules for the same calls share one counter. Otherwise two calls at the same instant could each be first for one
    # rule and second for the other: then neither call would fit a rule.
    places: dict[str, int] = {}
    for number, rule in enumerate(record.rules()):
        if not fits(rule, invocation):
            continue
        calls = f"{rule['command']} {rule['select']}"
        if rule["nth"] is not None and calls not in places:
            places[calls] = record.count_call(calls)
        if rule["nth"] in (None, places.get(calls)):
            found = Script(record, rule, number)
            recording = found.recording or recording
    if found.nodes:
        found.recording = recording  # nodes that the rule does not name end as recorded
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
    """Whether a rule is for calls like this one, whatever ``nth`` says.

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
    words = invocation.words_of(*SELECTING)
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
