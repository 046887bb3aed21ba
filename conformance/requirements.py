"""The requirements of ``SPEC.md``, read: each one's id, level, sentence, sources and needs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from packaging.version import Version

SPECIFICATION = Path(__file__).with_name("SPEC.md")
MARK, NEEDS_MARK = "cosmos_requirement", "cosmos_needs"

_BLOCK = re.compile(
    r"^### (?P<id>[A-Z]+-\d{3}) \((?P<level>MUST|SHOULD|BEYOND)\)\n(?P<body>(?:(?!#).*\n)*)", re.MULTILINE
)
"""A requirement. A withdrawn requirement has another level, so it does not match."""
_AREA = re.compile(r"^## (?P<name>[A-Z]+): (?P<title>.+)$", re.MULTILINE)
_FACT = re.compile(r"^- (source|profile|needs|depends on|since|run): (.+(?:\n  .+)*)", re.MULTILINE)
FIRST = "1.0"
"""The version of the specification of a requirement that names none."""
COMPATIBILITIES: Mapping[str, str] = {
    "renders_as_cosmos_1_15": "the ids, operators, groups and edges of tasks are those of astronomer-cosmos 1.15",
}
"""Compatibility -> the promise of an implementation that declares it. Its requirements apply to no other
implementation."""
CORE = "core"
PROFILES: Mapping[str, str] = {
    CORE: "tasks run dbt in environments that they make themselves",
    "dags": "operators, DAGs and task groups with Cosmos's names and arguments show dbt projects",
    "seeds": "in these DAGs a seed's content decides whether dbt loads it, and Airflow Variables remember it",
    "locks": "cosmos_virtualenv.lock in virtualenv_dir holds the PID of the task that installs",
    "watcher": "these DAGs have the execution mode WATCHER",
    "async": "these DAGs have the execution mode AIRFLOW_ASYNC",
    "machines": "a worker fetches environments that another one has built, from a folder that both reach",
}
"""Profile -> what an implementation that opts into it has; ``core`` is always judged."""
PYTHON_DBT = "python_dbt"
"""A need that concerns the fake dbt of a run and no implementation: the fake dbt is a Python package."""
_WITH_SERVERS = "with servers"


class Level(str, Enum):
    """The level of a requirement, the most binding first: the order of the option ``--cosmos-level``."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    BEYOND = "BEYOND"

    @property
    def rank(self) -> int:
        """0 for the most binding level."""
        return list(Level).index(self)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One numbered sentence that is true or false of an implementation.

    :param id: such as ``LOCK-003``; it never changes.
    :param level: how binding it is.
    :param sentence: what is required.
    :param sources: what it follows from, as Markdown, each with a quoted sentence.
    :param needs: capabilities and compatibilities without which it does not apply.
    :param depends_on: ids; where one of them failed, a failure of this one is listed under it.
    :param since: the version of the specification that it came with, such as ``1.0``.
    :param profile: a key of ``PROFILES``.
    :param has_servers: whether it is judged in the run with servers of Airflow, and not in the ordinary run.
    """

    id: str
    level: Level
    sentence: str
    sources: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    since: str = FIRST
    profile: str = CORE
    has_servers: bool = False

    @property
    def area(self) -> str:
        """The area, such as ``LOCK``."""
        return self.id.partition("-")[0]


def requirement(requirement_id: str) -> pytest.MarkDecorator:
    """Mark a test that shows whether this requirement holds.

    :param requirement_id: such as ``LOCK-003``.
    """
    mark: pytest.MarkDecorator = getattr(pytest.mark, MARK)(requirement_id)
    return mark


def needing(capability: str) -> pytest.MarkDecorator:
    """Mark a test, or one case of it, that does not apply without this capability, though its requirement may.

    :param capability: such as ``command_test``.
    """
    mark: pytest.MarkDecorator = getattr(pytest.mark, NEEDS_MARK)(capability)
    return mark


def case(requirement_id: str, *values: Any, needs: str | None = None) -> ParameterSet:
    """A case of a parametrised test, which shows whether this requirement holds. The first text of the case is its id.

    :param requirement_id: such as ``LOCK-003``.
    :param *values: the parameters of the case.
    :param needs: a capability, as for ``needing``.
    """
    first = values[0]
    marks = [requirement(requirement_id), *([] if needs is None else [needing(needs)])]
    return pytest.param(*values, marks=marks, id=first if isinstance(first, str) else first[0])


def read_specification() -> dict[str, Requirement]:
    """All requirements by id, in the order of the document; withdrawn ones are left out."""
    found = map(_read, _BLOCK.finditer(SPECIFICATION.read_text(encoding="utf-8")))
    return {one.id: one for one in found}


def versions(specification: Mapping[str, Requirement]) -> list[str]:
    """The versions of the specification that requirements came with, the newest first.

    :param specification: all requirements by id.
    """
    return sorted({one.since for one in specification.values()}, key=Version, reverse=True)


def read_areas() -> dict[str, str]:
    """Area -> its title, such as ``LOCK`` -> ``one environment, many tasks``, in the order of the document."""
    return {found["name"]: found["title"] for found in _AREA.finditer(SPECIFICATION.read_text(encoding="utf-8"))}


def _read(block: re.Match[str]) -> Requirement:
    facts: dict[str, list[str]] = defaultdict(list)
    for name, text in _FACT.findall(block["body"]):
        facts[name].append(" ".join(text.split()))
    return Requirement(
        id=block["id"],
        level=Level(block["level"]),
        sentence=" ".join(_FACT.sub("", block["body"]).split()),
        sources=tuple(facts["source"]),
        needs=_words(facts["needs"]),
        depends_on=_words(facts["depends on"]),
        since=" ".join(facts["since"]) or FIRST,
        profile=" ".join(facts["profile"]) or CORE,
        has_servers=facts["run"] == [_WITH_SERVERS],
    )


def _words(lines: list[str]) -> tuple[str, ...]:
    return tuple(word.strip("` ") for line in lines for word in line.split(",") if word.strip("` "))
