"""The schedules that follow from a schedule that was run: before which steps another contender must be tried.

Two steps race when they touch one resource in modes that do not commute, and no other step puts them in order. Only
another order of racing steps can change the result. So the other contender is tried before the first of two racing
steps. It is also tried before the stretch of steps that holds this step, since a switch there may cost no preemption
(bounded partial order reduction: Coons, Musuvathi and McKinley, OOPSLA 2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pytest_cosmos_venv.explore.schedule import ASLEEP, DUE, OVER, READY, Choice
from pytest_cosmos_venv.explore.steps import EVERYTHING, GO, KILL, READ, ExploredStep, commute, is_change

_NEED_SPACE = "open write pwrite truncate ftruncate mkdir link symlink rename replace".split()
_USE_THE_DISK = "unlink remove rmdir utime read pread fsync fdatasync listdir scandir".split()
ERRORS = {
    **dict.fromkeys(_NEED_SPACE, ("ENOSPC", "EIO")),
    **dict.fromkeys(_USE_THE_DISK, ("EIO",)),
    **dict.fromkeys(("flock", "fcntl"), ("EINTR",)),
}
"""The errors with which a step can fail. Python itself repeats other calls that a signal interrupts (PEP 475)."""


@dataclass(frozen=True)
class Cost:
    """The cost of a schedule, which its bounds limit.

    :param preemptions: switches away from a contender that could go on.
    :param kills: number of contenders that were killed.
    :param errors: number of steps that failed.
    """

    preemptions: int = 0
    kills: int = 0
    errors: int = 0

    def within(self, most: Cost) -> bool:
        """Return whether the cost is within the bounds.

        :param most: the bounds.
        """
        return self.preemptions <= most.preemptions and self.kills <= most.kills and self.errors <= most.errors


@dataclass
class Analysis:
    """The analysis of one schedule.

    :param steps: its steps.
    :param standing: the states of all contenders before each step, as letters.
    :param faultless: how many contenders, the last ones, get no kills and errors: 1 if there is ``after``, else 0.
    """

    steps: Sequence[ExploredStep]
    standing: Sequence[str]
    faultless: int = 0
    signatures: list[int] = field(default_factory=list)
    """After each step, a hash that is equal for schedules that are equivalent up to this step."""

    def __post_init__(self) -> None:
        self._count = len(self.standing[0]) if self.standing else 0
        self._next_of = self._next_steps()
        self._costs, self._last = self._used()

    def cost(self, at: int, choice: Choice) -> Cost:
        """Return the cost of a schedule that begins like this one and goes on with another choice.

        :param at: the number of steps that are kept.
        :param choice: the next choice.
        """
        return self._with(self._costs[at], at, choice, self._last[at])

    @property
    def used(self) -> Cost:
        """The cost of the whole schedule."""
        return self._costs[-1]

    def state(self, at: int) -> int:
        """Return a hash that is equal for equivalent schedules in which the same contender ran last.

        :param at: the number of steps that were made.
        """
        return hash((self.signatures[at - 1] if at else 0, self._last[at]))

    def all_others(self, start: int) -> Iterator[tuple[int, Choice]]:
        """Yield each contender that could have gone on, before each step.

        :param start: the first step of this schedule that no earlier schedule has had.
        """
        for at in range(start, len(self.steps)):
            for index, letter in enumerate(self.standing[at]):
                if letter in {READY, ASLEEP, DUE}:
                    yield at, (index, GO)

    def races(self, start: int) -> Iterator[tuple[int, Choice]]:
        """Yield the contenders that must be tried before a step that races with one of their later steps.

        :param start: the first step of this schedule that no earlier schedule has had.
        """
        # contender -> other contender -> the last step of the other that is known to precede the contender's next step
        known = [[-1] * self._count for _ in range(self._count)]
        known_at: list[list[int]] = []
        touched: dict[str, list[tuple[int, str]]] = {}
        signature = [0] * self._count
        of_steps: list[int] = []
        for at, step in enumerate(self.steps):
            footprint = (*step.footprint, (EVERYTHING, READ))
            dependent = {
                earlier
                for resource, mode in footprint
                for earlier, other_mode in touched.get(resource, ())
                if not commute(mode, other_mode)
            }
            mine = known[step.contender]
            raced = self._raced(dependent, step.contender, mine)
            for earlier in dependent:
                mine[:] = map(max, mine, known_at[earlier])
            mine[step.contender] = at
            known_at.append(list(mine))
            follows = sum(of_steps[earlier] for earlier in dependent)
            of_steps.append(hash((*step[:5], signature[step.contender], follows)))
            signature[step.contender] = of_steps[-1]
            self.signatures.append(hash(tuple(signature)))
            for resource, mode in footprint:
                touched.setdefault(resource, []).append((at, mode))
            if at >= start:
                for earlier in raced:
                    yield from self._first(earlier, step.contender)
                    yield from self._first(self._stretch_of(earlier), step.contender)

    def _raced(self, dependent: Iterable[int], contender: int, known: Sequence[int]) -> list[int]:
        """The last step of each other contender that races with the next step of this contender."""
        last: dict[int, int] = {}
        for earlier in dependent:
            other = self.steps[earlier].contender
            if other != contender and earlier > known[other]:
                last[other] = max(last.get(other, -1), earlier)
        return list(last.values())

    def faults(self, start: int, *, with_others: bool = False) -> Iterator[tuple[int, Choice]]:
        """Yield the kills and errors that can replace a step.

        A contender is killed only right after a step that changed something: a later kill would leave the same state.

        :param start: the first step of this schedule that no earlier schedule has had.
        :param with_others: whether contenders that do not make the step are killed too.
        """
        has_changed = [False] * self._count
        for at, step in enumerate(self.steps):
            if step.action == GO and at >= start and step.contender < self._count - self.faultless:
                if has_changed[step.contender] and step.name != "end":
                    yield at, (step.contender, KILL)
                for error in ERRORS.get(step.name, ()):
                    yield at, (step.contender, error)
            if at >= start and with_others:
                for index, letter in enumerate(self.standing[at][: self._count - self.faultless]):
                    following = self._next_of[at][index]
                    is_at_end = following is not None and self.steps[following].name == "end"
                    if has_changed[index] and letter != OVER and not is_at_end:
                        yield at, (index, KILL)
            has_changed[step.contender] = is_change(step.footprint)

    def _first(self, at: int, contender: int) -> Iterator[tuple[int, Choice]]:
        """Yield the choice that lets a contender go on before a step; if it cannot, a choice for each that can."""
        if self.standing[at][contender] in {READY, ASLEEP, DUE}:
            following = self._next_of[at][contender]
            yield at, (contender, GO if following is None else self.steps[following].action)
            return
        for index, letter in enumerate(self.standing[at]):
            if letter in {READY, DUE}:
                yield at, (index, GO)

    def _stretch_of(self, at: int) -> int:
        """Return the start of the contender's stretch of steps up to ``at``, where a switch costs no preemption."""
        contender = self.steps[at].contender
        while at and self.steps[at - 1].contender == contender and self.standing[at][contender] == READY:
            at -= 1
        return at

    def _next_steps(self) -> list[list[int | None]]:
        """Before each step, the next step of each contender."""
        following: list[int | None] = [None] * self._count
        found = []
        for at in range(len(self.steps) - 1, -1, -1):
            following = list(following)
            following[self.steps[at].contender] = at
            found.append(following)
        return found[::-1]

    def _used(self) -> tuple[list[Cost], list[int | None]]:
        costs, lasts = [Cost()], list[int | None]([None])
        for at, step in enumerate(self.steps):
            costs.append(self._with(costs[-1], at, (step.contender, step.action), lasts[-1]))
            lasts.append(lasts[-1] if step.action == KILL else step.contender)
        return costs, lasts

    def _with(self, used: Cost, at: int, choice: Choice, last: int | None) -> Cost:
        index, action = choice
        if action == KILL:
            return Cost(used.preemptions, used.kills + 1, used.errors)
        more = self._is_preemption(at, index, last)
        return Cost(used.preemptions + more, used.kills, used.errors + (action != GO))

    def _is_preemption(self, at: int, index: int, last: int | None) -> bool:
        standing = self.standing[at]
        if last is not None and last != index and standing[last] == READY:
            return True
        # Waking a sleeper early counts: another contender could go on, or would wake first.
        return standing[index] == ASLEEP
