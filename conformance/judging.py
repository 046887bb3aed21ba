"""What is the verdict on each requirement? Of what its tests came to, and what the implementation declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .requirements import Level, Requirement


class Verdict(str, Enum):
    """What is said of one requirement."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN_FAILURE = "known failure"
    UNEXPECTED_PASS = "unexpected pass"
    NOT_APPLICABLE = "not applicable"
    DIFFERS = "differs on purpose"
    NOT_RUN = "not run"
    HARNESS_ERROR = "harness error"


DECIDED = (Verdict.PASSED, Verdict.UNEXPECTED_PASS, Verdict.FAILED, Verdict.KNOWN_FAILURE)
"""Those that say whether a sentence is true of the implementation: the others are in no "2 of 3"."""
_WORST_FIRST = (
    Verdict.HARNESS_ERROR,
    Verdict.FAILED,
    Verdict.KNOWN_FAILURE,
    Verdict.DIFFERS,
    Verdict.UNEXPECTED_PASS,
    Verdict.NOT_RUN,
    Verdict.PASSED,
    Verdict.NOT_APPLICABLE,
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one test came to.

    :param test: its node id, with which it can be run again.
    :param requirement: id.
    :param evidence: what was required and what was seen, or why it was not judged.
    :param seconds: that it took.
    :param pictures: of what happened, each an SVG.
    """

    test: str
    requirement: str
    verdict: Verdict
    evidence: str = ""
    seconds: float = 0.0
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One requirement, judged.

    :param seen: what its tests came to.
    :param root: id of a requirement that it depends on and that failed too.
    """

    requirement: Requirement
    verdict: Verdict
    seen: tuple[Seen, ...] = ()
    root: str | None = None

    @property
    def cannot_be_judged_here(self) -> bool:
        """Whether the run came to it, and what it needs cannot be made or seen here. It was not left out or cut off."""
        return self.verdict is Verdict.NOT_RUN and bool(self.seen)

    @property
    def evidence(self) -> tuple[str, ...]:
        """What was seen by the tests that led to the verdict, then what the others told where they passed.

        A provoked race that fails says more with the number of free rounds that did not; why nothing was judged says no
        more with it.
        """
        leading = [each for each in self.seen if each.verdict is self.verdict]
        beside = () if self.verdict in (Verdict.PASSED, Verdict.NOT_RUN) else (Verdict.PASSED,)
        passed = [each for each in self.seen if each.verdict in beside]
        return tuple(each.evidence for each in (*leading, *passed) if each.evidence)


def judge(specification: Mapping[str, Requirement], seen: Iterable[Seen]) -> list[Judgement]:
    """A judgement on each requirement that is not withdrawn, in the order of the specification."""
    by_id: dict[str, list[Seen]] = {}
    for each in seen:
        by_id.setdefault(each.requirement, []).append(each)
    verdicts = {unique: _verdict(by_id.get(unique, ())) for unique in specification}
    return [
        Judgement(
            requirement=one,
            verdict=verdicts[one.id],
            seen=tuple(by_id.get(one.id, ())),
            root=_root(one, verdicts) if verdicts[one.id] is Verdict.FAILED else None,
        )
        for one in specification.values()
        if one.level is not None
    ]


def _verdict(seen: Sequence[Seen]) -> Verdict:
    """The worst of its tests; where some do not apply, the others decide."""
    found = {each.verdict for each in seen}
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.NOT_RUN)


def _root(one: Requirement, verdicts: Mapping[str, Verdict]) -> str | None:
    ill = (Verdict.FAILED, Verdict.KNOWN_FAILURE, Verdict.HARNESS_ERROR)
    return next((each for each in one.depends_on if verdicts.get(each) in ill), None)


def counts_against(judgement: Judgement, *, level: Level, beyond: frozenset[str], strict: bool = False) -> bool:
    """Whether the verdict makes the run fail.

    :param level: the one that was asked for: failures of it and of those above it count.
    :param beyond: ids of the BEYOND requirements that the implementation declares.
    :param strict: whether an unexpected pass counts as a failure.
    """
    own = judgement.requirement.level
    if own is None or (own.rank > level.rank and judgement.requirement.id not in beyond):
        return False
    return judgement.verdict is Verdict.FAILED or (strict and judgement.verdict is Verdict.UNEXPECTED_PASS)
