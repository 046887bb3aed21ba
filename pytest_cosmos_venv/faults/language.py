"""The language of faults: what happens, where, how often. A sentence and keywords that mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv.errors import ToolkitMisuse, require, require_count
from pytest_cosmos_venv.faults import MARK

if TYPE_CHECKING:
    import pytest

START, END = "start", "end"
_NODE, _REQUEST, _STATEMENT = "node", "request", "statement"


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """One kind of fault.

    :param words: the words of the sentence.
    :param meaning: what happens, for people.
    :param places: what ``at`` may name: ``start`` and ``end`` of a task, or ``node``, ``request``, ``statement``, each
        with a number (or a node with its name).
    :param lasts: the units that ``lasts`` may have; none: it happens in a moment.
    :param default: where it happens if ``at`` does not say.
    :param is_repeated: whether ``times`` may be given.
    :param needs_child: whether the task has to run in a process of its own.
    """

    words: str
    meaning: str
    places: tuple[str, ...]
    default: str
    lasts: tuple[str, ...] = ()
    is_repeated: bool = True
    needs_child: bool = False


KINDS: Mapping[str, FaultKind] = {
    "worker_killed": FaultKind(
        words="worker killed",
        meaning="SIGKILL ends the process of the task; what it has started goes on",
        places=(START, END, _NODE),
        default=START,
        needs_child=True,
    ),
    "pod_killed": FaultKind(
        words="pod killed",
        meaning="SIGKILL ends the process of the task and all below it",
        places=(START, END, _NODE),
        default=START,
        needs_child=True,
    ),
    "dbt_killed": FaultKind(words="dbt killed", meaning="SIGKILL ends dbt", places=(_NODE,), default="node 1"),
    "dbt_hangs": FaultKind(
        words="dbt hangs", meaning="dbt goes no further", places=(_NODE,), default="node 1", lasts=("s",)
    ),
    "index_down": FaultKind(
        words="index down",
        meaning="the package index ends each connection without an answer",
        places=(_REQUEST,),
        default="request 1",
        lasts=("s", "requests"),
        is_repeated=False,
    ),
    "warehouse_drops_connection": FaultKind(
        words="warehouse drops the connection",
        meaning="the connection to the warehouse is reset in the middle of its work",
        places=(_STATEMENT, _NODE),
        default="statement 1",
    ),
    "warehouse_down": FaultKind(
        words="warehouse down",
        meaning="the warehouse resets each new connection",
        places=(),
        default="",
        lasts=("s", "connections"),
        is_repeated=False,
    ),
    "disk_full": FaultKind(
        words="disk full",
        meaning="every write of the task ends with ENOSPC",
        places=(START, _NODE),
        default=START,
        needs_child=True,
    ),
    "lock_left_behind": FaultKind(
        words="lock left behind",
        meaning="the lock file of the task's virtualenv_dir names a process that is dead",
        places=(START,),
        default=START,
    ),
}
"""The faults that there are, by name."""

_CLAUSES = (
    ("at", re.compile(r"\s*\b(?:after|at) (?:the )?(?P<at>start|end|(?:node|request|statement) [^\s,]+)")),
    ("in_task", re.compile(r"\s*\bin (?:the )?task (?P<in_task>[^\s,]+)")),
    ("lasts", re.compile(r"\s*\bfor (?P<lasts>\d+(?:\.\d+)? ?[a-z]+)")),
    ("times", re.compile(r"\s*,?\s*\b(?P<times>once|twice|every time|\d+ times)")),
)
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("s", 1.0)),
    **dict.fromkeys(("min", "minute", "minutes"), ("s", 60.0)),
    **dict.fromkeys(("h", "hour", "hours"), ("s", 3600.0)),
    **dict.fromkeys(("request", "requests"), ("requests", 1.0)),
    **dict.fromkeys(("connection", "connections"), ("connections", 1.0)),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a test.

    :param what: the name of its kind, such as ``worker_killed``.
    :param at: where it happens: ``start`` or ``end`` of a task, ``node 3`` (after the third node that dbt ends),
        ``node orders`` (after the node of that name), ``request 2``, ``statement 3``. None: where its kind happens by
        default.
    :param times: how often it happens; None: every time. Another time is another try of the same task.
    :param in_task: the id of the only task in which it happens; None: the first that comes to that place.
    :param lasts: how long: ``30 s``, ``2 min``, ``3 requests``, ``2 connections``. None: to the end of the test.
    :param may_not_happen: whether the test may pass without it.
    """

    what: str
    at: str | None = None
    times: int | None = 1
    in_task: str | None = None
    lasts: str | None = None
    may_not_happen: bool = False

    def __post_init__(self) -> None:
        kind = self.kind
        for name in ("at", "in_task", "lasts"):
            if getattr(self, name) is not None:
                require(getattr(self, name), name, str, "a text")
        require(self.may_not_happen, "may_not_happen", bool, "True or False")
        if self.times is not None:
            require_count(self.times, "times")
        if self.times != 1 and not kind.is_repeated:
            raise ToolkitMisuse(f"{self}: times={self.times}: it happens once; say how long by lasts=.")
        self._check_place(kind)
        self._check_length(kind)

    @classmethod
    def of(cls, sentence: str) -> Fault:
        """Return the fault that a sentence means.

        :param sentence: the sentence, such as ``worker killed after node 3``.
        :raises ToolkitMisuse: there is no such fault, or a part of the sentence has no meaning.
        """
        return parse_fault(sentence)

    @property
    def kind(self) -> FaultKind:
        """The kind of the fault.

        :raises ToolkitMisuse: there is no such kind.
        """
        if self.what not in KINDS:
            raise ToolkitMisuse(_unknown(str(self.what)))
        return KINDS[self.what]

    @property
    def place(self) -> str:
        """The place at which it happens, the default of its kind where ``at`` says nothing."""
        return self.kind.default if self.at is None else self.at

    @property
    def node(self) -> int | str | None:
        """The number or the name of the node after which it happens; None: it does not depend on a node."""
        word, _, value = self.place.partition(" ")
        return (int(value) if value.isdigit() else value) if word == _NODE else None

    @property
    def number(self) -> int:
        """The number of the request or the statement at which it happens."""
        word, _, value = self.place.partition(" ")
        return int(value) if word in (_REQUEST, _STATEMENT) else 1

    @property
    def length(self) -> tuple[float, str] | None:
        """The number and the unit of ``lasts``, which is ``s``, ``requests`` or ``connections``; None: to the end."""
        return None if self.lasts is None else _length(self.lasts)

    def __str__(self) -> str:
        """The fault as a sentence."""
        words = [KINDS[self.what].words if self.what in KINDS else str(self.what)]
        if self.at is not None:
            words.append(f"at {self.at}" if self.at in (START, END) else f"after {self.at}")
        if self.in_task is not None:
            words.append(f"in task {self.in_task}")
        if self.lasts is not None:
            words.append(f"for {self.lasts}")
        if self.times != 1:
            words.append("every time" if self.times is None else f"{self.times} times")
        return " ".join(words)

    def _check_place(self, kind: FaultKind) -> None:
        if self.at is None:
            return
        word, _, value = self.at.partition(" ")
        is_known = word in kind.places and bool(value) == (word not in (START, END))
        if word in (_REQUEST, _STATEMENT) or value.lstrip("-").isdigit():
            is_known = is_known and value.isdigit() and int(value) >= 1
        if not is_known:
            given = {_NODE: "'node 3', 'node orders'", _REQUEST: "'request 2'", _STATEMENT: "'statement 2'"}
            known = ", ".join(given.get(each, repr(each)) for each in kind.places) or "no at="
            raise ToolkitMisuse(f"{MARK}: at={self.at!r}: {kind.words!r} takes {known}.")

    def _check_length(self, kind: FaultKind) -> None:
        if self.lasts is None:
            return
        length = _length(self.lasts)
        if length is None or length[1] not in kind.lasts:
            known = " or ".join({"s": "'30 s'"}.get(unit, f"'3 {unit}'") for unit in kind.lasts)
            way = f"give {known}" if known else "it has no length"
            raise ToolkitMisuse(f"{MARK}: lasts={self.lasts!r}: {kind.words!r}: {way}.")


def parse_fault(sentence: str) -> Fault:
    """Return the fault that a sentence means, such as ``worker killed after node 3``.

    :param sentence: the words of a kind, and behind them in any order: ``after node 3`` (or ``at``), ``in task load``,
        ``for 30 s``, ``twice``.
    :raises ToolkitMisuse: there is no such fault, or a part of the sentence has no meaning.
    """
    require(sentence, MARK, str, "a sentence, such as 'worker killed after node 3'")
    text = " ".join(sentence.split())
    what = next((name for name, kind in KINDS.items() if _begins(text, kind.words)), None)
    if what is None:
        raise ToolkitMisuse(_unknown(sentence))
    rest = text[len(KINDS[what].words) :]
    found: dict[str, Any] = {}
    while rest.strip(" ,."):
        for name, clause in _CLAUSES:
            if name not in found and (match := clause.match(rest)):
                found[name] = match[name]
                rest = rest[match.end() :]
                break
        else:
            raise ToolkitMisuse(
                f"{MARK}({sentence!r}): {rest.strip()!r} has no meaning there. Behind {KINDS[what].words!r} may stand: "
                "'after node 3', 'at the end', 'in task load', 'for 30 s', 'for 3 requests', 'twice', '3 times', "
                "'every time'."
            )
    if "times" in found:
        found["times"] = {"once": 1, "twice": 2, "every time": None}.get(found["times"], _first_number(found["times"]))
    return Fault(what=what, **found)


def faults_of(marks: Iterable[pytest.Mark]) -> tuple[Fault, ...]:
    """Return the faults of all marks of a test, the nearest mark first.

    :param marks: the marks of the name ``cosmos_fault``.
    :raises ToolkitMisuse: a mark means no fault.
    """
    return tuple(fault for mark in marks for fault in _faults_of_mark(mark))


def _faults_of_mark(mark: pytest.Mark) -> list[Fault]:
    options = dict(mark.kwargs)
    known = [field.name for field in fields(Fault)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ToolkitMisuse(f"{MARK} knows {', '.join(known)}, and not {', '.join(unknown)}.")
    if not mark.args:
        if "what" not in options:
            raise ToolkitMisuse(f"{MARK}: say what happens. {_list_of_kinds()}")
        return [Fault(**options)]
    may_not_happen = options.pop("may_not_happen", False)
    if options:
        raise ToolkitMisuse(
            f"{MARK}({mark.args[0]!r}, {', '.join(f'{name}=…' for name in options)}): give a sentence or keywords, not "
            "both; beside a sentence only may_not_happen= can stand."
        )
    return [replace(parse_fault(sentence), may_not_happen=may_not_happen) for sentence in mark.args]


def _begins(text: str, words: str) -> bool:
    return text == words or text.startswith((f"{words} ", f"{words},"))


def _first_number(text: str) -> int:
    return int("".join(filter(str.isdigit, text)) or 0)


def _length(text: str) -> tuple[float, str] | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text)
    unit = _UNITS.get(match[2]) if match else None
    return None if match is None or unit is None else (float(match[1]) * unit[1], unit[0])


def _unknown(given: str) -> str:
    names = [*(kind.words for kind in KINDS.values()), *KINDS]
    near = get_close_matches(" ".join(given.split()[:4]), names, 1) or get_close_matches(given, names, 1)
    hint = f" Is {near[0]!r} meant?" if near else ""
    return f"{MARK}: there is no fault {given!r}.{hint} {_list_of_kinds()}"


def _list_of_kinds() -> str:
    return f"The faults are: {'; '.join(f'{kind.words!r} ({name})' for name, kind in KINDS.items())}."
