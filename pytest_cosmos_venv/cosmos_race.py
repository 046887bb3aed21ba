"""The value of the fixture ``cosmos_race`` in a test without the race mark: it runs functions in processes of their
own.

A race starts them at one instant, an exploration runs them in every order of their steps.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from pytest_cosmos_venv.errors import ToolkitMisuse, require_count, require_seconds
from pytest_cosmos_venv.explore.explorer import Exploration, explore, replay
from pytest_cosmos_venv.explore.reduction import Cost
from pytest_cosmos_venv.explore.schedule import ExplorationPlan
from pytest_cosmos_venv.races.contender import RUNTIME_VARIABLE, ModuleAt, RaceOrder
from pytest_cosmos_venv.races.functions import (
    Function,
    functions_of,
    module_of,
    pickled_work,
)
from pytest_cosmos_venv.races.meeting import Meeting
from pytest_cosmos_venv.races.running import RacePlan, RunningRace
from pytest_cosmos_venv.races.supervisor import require_patterns
from pytest_cosmos_venv.throwaway import remove_folder

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pytest_cosmos_venv.explore.run import Schedule
    from pytest_cosmos_venv.races.contender import Contender
    from pytest_cosmos_venv.races.points import FakeDbtBuilds, Point
    from pytest_cosmos_venv.races.prepared import PreparedProcesses
    from pytest_cosmos_venv.races.result import Race

TIMEOUT = 60.0
GRACE = 5.0
_MOST_EXPLORED = 8
_OF_A_COPY = ("index", "count", "name", "folder", "barrier", "once", "span", "point", "timeline")


class RaceOptions(TypedDict, total=False):
    """The options of a race.

    :param contenders: number of contenders; None: 2, or one for each function.
    :param prepare: modules to import once, before the contenders fork; none: the file of the function.
    :param kill_at: kill the first contender that comes to this point: a point; or ``creating``, ``locked``,
        ``waiting``, ``installing``, ``running``; or a name that contenders pass to ``contender.point(name)``.
    :param virtualenv_dir: the directory that they share, for ``creating`` and ``locked``.
    :param timeout: seconds for all of it.
    :param grace: seconds for processes that the contenders leave behind to end by themselves.
    :param services: patterns of names or command lines (``dbt-server*``) of processes that stay by design:
        ``race.services`` lists them, not ``left_behind``. The patterns are added to those of the implementation; an
        empty list switches all patterns off.
    :param plain: whether contenders may return plain data only (None, numbers, texts, bytes, lists, tuples, sets,
        dictionaries). Then no returned object can run code in the test's process.
    """

    contenders: int | None
    prepare: Sequence[str]
    kill_at: str | Point | None
    virtualenv_dir: Path | str | None
    timeout: float
    grace: float
    services: Sequence[str] | None
    plain: bool


class ExploreOptions(TypedDict, total=False):
    """The options that ``explore`` and ``replay`` share.

    :param contenders: number of contenders; None: 2, or one for each function.
    :param check: gets each ``Schedule`` that was run, and raises an error where something is wrong. It runs in another
        process, so the test does not see its changes in memory.
    :param fresh: fills the new folder before the contenders begin.
    :param after: the function of one more contender, which begins when all others have ended or were killed.
    :param may_raise: exceptions with which a contender may end. A contender with a step that was made to fail may end
        with any exception.
    :param most_steps: number of steps after which a contender counts as endless.
    """

    contenders: int | None
    check: Callable[[Schedule], object] | None
    fresh: Callable[[Path], object] | None
    after: Callable[[Contender], object] | None
    may_raise: type[BaseException] | tuple[type[BaseException], ...]
    most_steps: int


@dataclass(frozen=True, repr=False)
class CosmosRace:
    """Runs functions in processes of their own, the contenders: what the fixture ``cosmos_race`` gives."""

    _prepared: Callable[[], PreparedProcesses]
    _new_folder: Callable[[], Path]
    _find_fakes: Callable[[], FakeDbtBuilds]
    _services: Callable[[], tuple[str, ...]]
    _keep: Callable[[Any], None]
    _sockets: list[Path] = field(default_factory=list)
    _started: list[RunningRace] = field(default_factory=list)

    def __repr__(self) -> str:
        return "<cosmos_race>"

    if not TYPE_CHECKING:  # for mypy these attributes do not exist

        def __getattr__(self, name: str) -> NoReturn:
            if name in _OF_A_COPY:
                raise ToolkitMisuse(
                    f"cosmos_race.{name}: this test is no contender. Mark it @pytest.mark.cosmos_race(contenders=2), "
                    f"and it runs in two copies. A function that races has .{name} at its first argument."
                )
            raise AttributeError(name)

    def __call__(
        self,
        function: Function | Sequence[Function],
        *arguments: Any,
        check: bool = True,
        **options: Unpack[RaceOptions],
    ) -> Race:
        """Run a race to its end: all contenders start at one instant.

        :param function: a function at the top of a file, called as ``function(contender, *arguments)`` in each process;
            or a list with one function for each contender.
        :param *arguments: plain data, paths, ``cosmos_implementation``: whatever can be pickled.
        :param check: whether to raise when a contender has failed without being killed by the race.
        :param **options: see ``RaceOptions``.
        :raises RaceFailure: a contender failed, no contender came to the point, or the time was over.
        :raises ToolkitMisuse: a race that cannot be run.
        """
        __tracebackhide__ = True
        with self.start(function, *arguments, **options) as race:
            return race.finish(check=check)

    def start(
        self, function: Function | Sequence[Function], *arguments: Any, **options: Unpack[RaceOptions]
    ) -> RunningRace:
        """Start a race that the test leads itself: ``with cosmos_race.start(...) as race``.

        :param function: as for a race that is run to its end.
        :param *arguments: as for a race that is run to its end.
        :param **options: see ``RaceOptions``.
        :raises ToolkitMisuse: a race that cannot be run.
        """
        __tracebackhide__ = True
        _refuse_unknown("cosmos_race", options, RaceOptions)
        functions = functions_of(function, options.get("contenders"))
        prepare = options.get("prepare", ())
        if isinstance(prepare, str):
            raise ToolkitMisuse(f"prepare={prepare!r}: give a list of the names of modules, such as ['json'].")
        directory = options.get("virtualenv_dir")
        plan = RacePlan(
            kill_at=options.get("kill_at"),
            virtualenv_dir=None if directory is None else Path(directory),
            fakes=self._find_fakes(),
            timeout=options.get("timeout", TIMEOUT),
            grace=options.get("grace", GRACE),
        )
        plan.check()
        order = RaceOrder(
            meeting=Meeting(folder=self._new_folder(), count=len(functions)),
            directory=str(Path.cwd()),
            variables={**self._prepared().variables(), RUNTIME_VARIABLE: str(self._folder_for_sockets())},
            modules=tuple(dict.fromkeys(map(module_of, functions))),
            work=pickled_work(functions, arguments),
            kill_at=plan.own_kill_at,
            services=self._services_of(options.get("services")),
            plain=options.get("plain", False),
        )
        # An argument may name modules to prepare, in its attribute `prepares`.
        prepare = [*prepare, *(name for argument in arguments for name in getattr(argument, "prepares", ()))]
        named = tuple(ModuleAt(name=name, file=None) for name in dict.fromkeys(prepare))
        # One process imports the named modules, or else the modules of the functions, and forks the contenders. Test
        # files that name the same modules share this process: each Airflow that need not be imported saves eight
        # seconds of CPU.
        link = self._prepared().get(named or order.modules).fork_supervisor(order)
        self._started.append(RunningRace(link, order, plan, self._keep))
        return self._started[-1]

    def explore(
        self,
        function: Function | Sequence[Function],
        *arguments: Any,
        preemptions: int = 2,
        kills: int = 1,
        errors: int = 0,
        at_most: int = 20_000,
        seconds: float = 60.0,
        reduction: bool = True,
        **options: Unpack[ExploreOptions],
    ) -> Exploration:
        """Run the contenders in every order of their steps within the bounds, each time in a new folder.

        :param function: called as ``function(contender, *arguments)``; or a list with one function for each contender.
            It need not be at the top of a file.
        :param *arguments: any objects.
        :param preemptions: the most switches away from a contender that could go on, in one schedule.
        :param kills: the most contenders that are killed in one schedule.
        :param errors: the most steps that fail in one schedule, with ENOSPC, EIO or EINTR.
        :param at_most: number of schedules after which the exploration stops with a warning.
        :param seconds: time after which the exploration stops with a warning.
        :param reduction: whether to leave out schedules that are equivalent to others.
        :param **options: see ``ExploreOptions``.
        :returns: what was seen.
        :raises FailingSchedule: a schedule failed. The error shows the failing schedule with the fewest preemptions,
            then the fewest kills and errors, then the fewest steps.
        :raises ToolkitMisuse: it is called in a way that cannot work.
        """
        __tracebackhide__ = True
        for value, name in ((preemptions, "preemptions"), (kills, "kills"), (errors, "errors")):
            require_count(value, name, least=0)
        require_count(at_most, "at_most")
        require_seconds(seconds, "seconds", is_positive=True)
        plan = _exploration(function, arguments, options)
        most = Cost(preemptions, kills, errors)
        return explore(plan, most, self._new_folder, at_most=at_most, seconds=seconds, is_reduced=reduction)

    def replay(
        self, seed: str, function: Function | Sequence[Function], *arguments: Any, **options: Unpack[ExploreOptions]
    ) -> Schedule:
        """Run one schedule again: the one that an exploration has found.

        If changed code cannot follow the schedule, the replay goes on as far as it can. ``divergence`` of the returned
        schedule says where it left the seed.

        :param seed: the schedule, as the failure has named it.
        :param function: as for the exploration.
        :param *arguments: as for the exploration.
        :param **options: see ``ExploreOptions``.
        :returns: the schedule as it went.
        :raises FailingSchedule: something is wrong in it.
        :raises ToolkitMisuse: the seed is no schedule.
        """
        __tracebackhide__ = True
        return replay(seed, _exploration(function, arguments, options), self._new_folder)

    def _close(self) -> None:
        """End the races whose ``with`` was forgotten, and remove their folders."""
        # An error while one race ends must not keep another race running. The stack unwinds from its end: races end
        # before their folders go.
        with ExitStack() as stack:
            for folder in self._sockets:
                stack.callback(remove_folder, folder)
            for race in self._started:
                stack.callback(race.close)

    def _folder_for_sockets(self) -> Path:
        """Return a folder that no running race uses.

        Later races reuse the folder, so a task may find files of an earlier race. The folder's path is short, because a
        socket's path has at most 107 bytes.
        """
        in_use = {race.folder_for_sockets for race in self._started if not race.is_over}
        free = next((folder for folder in self._sockets if folder not in in_use), None)
        if free is None:
            free = Path(tempfile.mkdtemp(prefix="cosmos-race-"))
            self._sockets.append(free)
        return free

    def _services_of(self, given: Sequence[str] | None) -> tuple[str, ...]:
        own = () if given is None else require_patterns(given, "services")
        return () if given is not None and not own else tuple(dict.fromkeys([*self._services(), *own]))


def _exploration(
    given: Function | Sequence[Function], arguments: tuple[Any, ...], options: ExploreOptions
) -> ExplorationPlan:
    _refuse_unknown("cosmos_race.explore", options, ExploreOptions)
    if sys.platform != "linux":
        raise ToolkitMisuse("cosmos_race.explore needs Linux: it looks at files and processes as they are there.")
    functions = functions_of(given, options.get("contenders"))
    if len(functions) > _MOST_EXPLORED:
        raise ToolkitMisuse(
            f"cosmos_race.explore: {len(functions)} contenders; at most {_MOST_EXPLORED} can be explored."
        )
    may_raise = options.get("may_raise", ())
    return ExplorationPlan(
        contenders=tuple(_with_arguments(function, arguments) for function in functions),
        after=options.get("after"),
        fresh=options.get("fresh"),
        check=options.get("check"),
        may_raise=may_raise if isinstance(may_raise, tuple) else (may_raise,),
        most_steps=options.get("most_steps", 2_000),
    )


def _with_arguments(function: Function, arguments: tuple[Any, ...]) -> Callable[[Contender], object]:
    return (lambda contender: function(contender, *arguments)) if arguments else function


def _refuse_unknown(called: str, options: RaceOptions | ExploreOptions, known: type) -> None:
    unknown = [name for name in options if name not in known.__annotations__]
    if unknown:
        given = ", ".join(f"{name}=…" for name in unknown)
        raise ToolkitMisuse(
            f"{called}({given}): there is no such option; there are {', '.join(known.__annotations__)}."
        )
