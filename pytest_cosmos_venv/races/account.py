"""What is known of a race? The contenders' own words, what was seen from outside, and when each died."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from pytest_cosmos_venv.environments.dbt_record import DbtCall
from pytest_cosmos_venv.environments.sdist import SourceBuild
from pytest_cosmos_venv.errors import RecordDict, RecordTuple
from pytest_cosmos_venv.races.contender import TASK
from pytest_cosmos_venv.races.link import MarshalLink
from pytest_cosmos_venv.races.orders import EVENTS, RaceOrder
from pytest_cosmos_venv.races.points import Sighting
from pytest_cosmos_venv.races.result import Outcome, Race, read_outcome
from pytest_cosmos_venv.races.timeline import ACTOR_VARIABLE, INSTALL, Span, Timeline

_OUTSIDE = "seen from outside"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Everything that is written about one race, to be read at any moment of it.

    :param calls: what look-alike dbts have on record.
    :param seen: name -> sighting, of points that no contender tells of itself.
    :param builds: what a wheelhouse of the test has on record of its sdists.
    :param stops: index -> when it was stopped and when it was let go on, None before that.
    """

    order: RaceOrder
    link: MarshalLink
    calls: Callable[[], list[DbtCall]]
    builds: Callable[[], list[SourceBuild]]
    seen: Mapping[str, Sighting]
    stops: Mapping[int, tuple[float, float | None]]

    @property
    def timeline(self) -> Timeline:
        """All of it."""
        told = [self._closed_by_death(span) for span in self.told]
        return Timeline([*told, *self._seen(), *self._installs(), *self._stops(), *self._deaths()]).with_calls(
            self._calls()
        )

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Of all contenders, in their order."""
        codes = {index: code for index, (code, _) in self.link.deaths.items()}
        return tuple(read_outcome(self.order, at, pid, codes.get(at)) for at, pid in enumerate(self.link.pids))

    def race(self, sightings: Mapping[str, Sighting]) -> Race:
        """The race, once it is over."""
        starts = [span.started_at for span in self.told.spans(TASK)]
        return Race(
            outcomes=RecordTuple(self.outcomes, of="outcomes", none="nobody raced", word=lambda outcome: outcome.actor),
            timeline=self.timeline,
            sightings=RecordDict(sightings, what="point that this race waited for"),
            left_behind=self.link.remains.left_behind,
            services=self.link.remains.services,
            start_spread=max(starts) - min(starts) if starts else 0.0,
        )

    @property
    def told(self) -> Timeline:
        """What contenders have said of themselves."""
        return Timeline.read(self.order.folder / EVENTS)

    def _closed_by_death(self, span: Span) -> Span:
        """What a contender was doing when it died has ended then."""
        if span.ended_at is not None or span.pid not in self.link.pids:
            return span
        death = self.link.deaths.get(self.link.pids.index(span.pid))
        return span if death is None else replace(span, ended_at=death[1])

    def _seen(self) -> Iterator[Span]:
        for name, sighting in self.seen.items():
            yield Span(sighting.actor or _OUTSIDE, name, sighting.at, sighting.at, sighting.pid)

    def _installs(self) -> Iterator[Span]:
        known = {sighting.pid: sighting.actor for sighting in self.seen.values() if sighting.actor}
        for build in self.builds():
            yield Span(known.get(build.pid, _OUTSIDE), INSTALL, build.started_at, build.ended_at, build.pid)

    def _stops(self) -> Iterator[Span]:
        for index, (begin, end) in self.stops.items():
            yield Span(self.order.names[index], "stopped", begin, end, self.link.pids[index])

    def _deaths(self) -> Iterator[Span]:
        for outcome in self.outcomes:
            if outcome.signal is not None:
                index = self.order.names.index(outcome.actor)
                at = self.link.deaths[index][1]
                yield Span(outcome.actor, outcome.in_words, at, at, outcome.pid)

    def _calls(self) -> list[DbtCall]:
        """Those that contenders made: a test's record may hold others."""
        return [call for call in self.calls() if call.env.get(ACTOR_VARIABLE) in self.order.names]
