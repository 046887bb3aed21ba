"""The requirements of ``SPEC.md``, read: each one's id, level, sentence, sources and needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

SPECIFICATION = Path(__file__).with_name("SPEC.md")
MARK = "cosmos_requirement"

_HEAD = re.compile(r"### (?P<id>[A-Z]+-\d{3}) \((?P<level>MUST|SHOULD|BEYOND|withdrawn)\)")
_AREA = re.compile(r"^## (?P<name>[A-Z]+): (?P<title>.+)$", re.MULTILINE)
_FACT = re.compile(r"- (?P<name>source|needs|depends on|since|run): (?P<text>.+)")
FIRST = "1.0"
"""The version of the specification of which a requirement is that names none."""
COMPATIBILITIES: Mapping[str, str] = {
    "renders_as_cosmos_1_15": "the ids, operators, groups and edges of tasks are those of astronomer-cosmos 1.15",
}
"""Compatibility -> what an implementation promises that declares it: its requirements apply to no other."""
PYTHON_DBT = "python_dbt"
"""What a requirement needs of the fake dbt of a run, and of no implementation: that it is a Python package."""
_DRAFT = ", draft"
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


class SpecificationError(Exception):
    """``SPEC.md`` contradicts itself; the text names the requirement and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One numbered sentence that is true or false of an implementation.

    :param id: such as ``LOCK-003``; it is for ever.
    :param level: None: it is withdrawn, and its sentence says why.
    :param sentence: what is required.
    :param sources: what it follows from, as Markdown, each with a quoted sentence.
    :param needs: capabilities and compatibilities without which it does not apply.
    :param depends_on: ids; where one of them failed, a failure of this one is listed under it.
    :param since: the version of the specification that it came with: ``1.0``; ``1.2, draft`` where that is not
        released.
    :param has_servers: whether it is judged in the run with servers of Airflow, and not in the ordinary run.
    """

    id: str
    level: Level | None
    sentence: str
    sources: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    since: str = FIRST
    has_servers: bool = False

    @property
    def area(self) -> str:
        """The area, such as ``LOCK``."""
        return self.id.partition("-")[0]

    @property
    def is_draft(self) -> bool:
        """Whether its version of the specification is not released: it is judged and shown, and counts for nothing."""
        return is_draft(self.since)

    @property
    def counted_as(self) -> str:
        """The group in which it is counted: its level, or the version of which it is a draft."""
        return self.since if self.is_draft or self.level is None else self.level.value


def is_draft(since: str) -> bool:
    """Whether a version of the specification is not released.

    :param since: such as ``1.0``, or ``1.2, draft``.
    """
    return since.endswith(_DRAFT)


def requirement(requirement_id: str) -> pytest.MarkDecorator:
    """Mark a test as one that shows whether this requirement holds.

    :param requirement_id: such as ``LOCK-003``.
    """
    mark: pytest.MarkDecorator = getattr(pytest.mark, MARK)(requirement_id)
    return mark


def case(requirement_id: str, *values: Any) -> ParameterSet:
    """A case of a parametrised test, which shows whether this requirement holds; its id is the first text in it.

    :param requirement_id: such as ``LOCK-003``.
    :param *values: the parameters of the case.
    """
    first = values[0]
    return pytest.param(*values, marks=requirement(requirement_id), id=first if isinstance(first, str) else first[0])


def read_specification(text: str | None = None) -> dict[str, Requirement]:
    """All requirements by id, withdrawn ones too, in the order of the document.

    :param text: a document; None: that of this suite.
    :raises SpecificationError: an id stands there twice, or a requirement lacks its sentence or its source, or depends
        on one that there is not, or on a draft where it is none.
    """
    document = SPECIFICATION.read_text(encoding="utf-8") if text is None else text
    found: dict[str, Requirement] = {}
    for one in map(_read, _blocks(document)):
        if one.id in found:
            raise SpecificationError(f"{one.id} stands there twice: an id is for ever, and one requirement's.")
        found[one.id] = one
    _check(found.values(), found)
    return found


def read_areas(text: str | None = None) -> dict[str, str]:
    """Area -> its title, such as ``LOCK`` -> ``one environment, many tasks``, in the order of the document.

    :param text: the text, as for ``read_specification``.
    """
    document = SPECIFICATION.read_text(encoding="utf-8") if text is None else text
    return {found["name"]: found["title"] for found in _AREA.finditer(document)}


def _blocks(document: str) -> Iterable[list[str]]:
    block: list[str] | None = None
    for line in document.splitlines():
        if line.startswith("#"):
            if block is not None:
                yield block
            block = [line] if _HEAD.fullmatch(line) else None
        elif block is not None:
            block.append(line)
    if block is not None:
        yield block


def _read(block: list[str]) -> Requirement:
    head = _HEAD.fullmatch(block[0])
    assert head is not None
    facts: dict[str, list[str]] = {"source": [], "needs": [], "depends on": [], "since": [], "run": []}
    sentence: list[str] = []
    into = sentence
    for line in block[1:]:
        if fact := _FACT.fullmatch(line):
            into = facts[fact["name"]]
            into.append(fact["text"])
        elif line.startswith("  ") and into is not sentence:
            into[-1] += f" {line.strip()}"
        elif line.strip():
            into.append(line.strip())
    if facts["run"] not in ([], [_WITH_SERVERS]):
        raise SpecificationError(
            f"{head['id']} has the run {', '.join(facts['run'])}: there is `{_WITH_SERVERS}` alone."
        )
    return Requirement(
        id=head["id"],
        level=None if head["level"] == "withdrawn" else Level(head["level"]),
        sentence=" ".join(sentence),
        sources=tuple(facts["source"]),
        needs=_words(facts["needs"]),
        depends_on=_words(facts["depends on"]),
        since=" ".join(facts["since"]) or FIRST,
        has_servers=facts["run"] == [_WITH_SERVERS],
    )


def _words(lines: list[str]) -> tuple[str, ...]:
    return tuple(word.strip("` ") for line in lines for word in line.split(",") if word.strip("` "))


def _check(found: Iterable[Requirement], known: Mapping[str, Requirement]) -> None:
    for one in found:
        if not one.sentence:
            raise SpecificationError(f"{one.id} has no sentence.")
        if one.level is not None and not one.sources:
            raise SpecificationError(f"{one.id} has no source: say what it follows from.")
        strange = [each for each in one.depends_on if each not in known]
        if strange:
            raise SpecificationError(f"{one.id} depends on {', '.join(strange)}, which there is not.")
        drafts = [each for each in one.depends_on if known[each].is_draft and not one.is_draft]
        if drafts:
            raise SpecificationError(f"{one.id} depends on {', '.join(drafts)}, which is a draft, and is none itself.")
