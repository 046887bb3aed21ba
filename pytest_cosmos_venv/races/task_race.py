"""Starting a race, and its options.

A test names the work; a process of its own for each contender finds it by that name.
"""

from __future__ import annotations

import inspect
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from pytest_cosmos_venv.errors import ToolkitMisuse, require_path, take_former_name
from pytest_cosmos_venv.races.messages import RUNTIME_VARIABLE, ModuleAt, RaceOrder, Work
from pytest_cosmos_venv.races.plan import Plan, Point
from pytest_cosmos_venv.races.running import RunningRace
from pytest_cosmos_venv.races.supervisor import require_patterns
from pytest_cosmos_venv.races.supervisor_client import SupervisorLink
from pytest_cosmos_venv.throwaway import remove_folder

TIMEOUT = 60.0
GRACE = 5.0


class RaceOptions(TypedDict, total=False):
    """The options of a race, for both ways to start one.

    :param contenders: number of contenders; None: 2, or one for each function.
    :param prepare: modules to import once, before the contenders fork; none: the file that the work stands in.
    :param fresh: whether to start an interpreter for each contender instead of forking.
    :param kill_at: kill the first contender that comes to this point: a point; or ``creating``, ``locked``,
        ``waiting``, ``installing``, ``running``; or what contenders say by ``contender.point(name)``.
    :param stop_at: stop that contender there, with all that it started.
    :param continue_at: let it go on when a contender comes to this point; None: when all others have ended.
    :param victim: index of the only contender to be killed or stopped.
    :param virtualenv_dir: the directory that they share, for ``creating`` and ``locked``.
    :param timeout: seconds for all of it.
    :param deadline: the former name of ``timeout``.
    :param grace: seconds for processes that the contenders leave behind to end by themselves.
    :param services: processes that stay by design, as patterns of names or command lines (``dbt-server*``): told in
        ``race.services`` instead of ``left_behind``. They come on top of those that the implementation declares and of
        ``cosmos_services`` in the ini file; an empty list means that none of all these counts.
    :param plain: whether of what contenders return plain data alone is taken in (None, numbers, texts, bytes, lists,
        tuples, sets, dictionaries): nothing that they return can then run code in the test's process.
    """

    contenders: int | None
    prepare: Sequence[str]
    fresh: bool
    kill_at: str | Point | None
    stop_at: str | Point | None
    continue_at: str | Point | None
    victim: int | None
    virtualenv_dir: Path | str | None
    timeout: float
    deadline: float
    grace: float
    services: Sequence[str] | None
    plain: bool


def refuse_unknown(options: RaceOptions) -> None:
    """Refuse options that do not exist.

    :param options: the options as a test gave them.
    :raises ToolkitMisuse: an option has another name than those that there are.
    """
    known = [name for name in RaceOptions.__annotations__ if name != "deadline"]
    unknown = [name for name in options if name not in known]
    if unknown:
        given = ", ".join(f"{name}=…" for name in unknown)
        raise ToolkitMisuse(f"cosmos_task_race({given}): there is no such option; there are {', '.join(known)}.")


if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pytest_cosmos_venv.races.plan import FakeDbtBuilds
    from pytest_cosmos_venv.races.result import Race
    from pytest_cosmos_venv.races.supervisor_client import PreparedProcesses

    WorkFunction = Callable[..., Any]


@dataclass(frozen=True, repr=False)
class TaskRace:
    """Runs a function in several processes at the same instant: what the fixture ``cosmos_task_race`` gives."""

    _prepared: PreparedProcesses
    _new_folder: Callable[[], Path]
    _find_fake_dbt: Callable[[], FakeDbtBuilds]
    _services: Callable[[], tuple[str, ...]]
    _keep: Callable[[Any], None]
    _sockets: list[Path] = field(default_factory=list)
    _started: list[RunningRace] = field(default_factory=list)

    def __repr__(self) -> str:
        return "<cosmos_task_race>"

    def __call__(
        self,
        work: WorkFunction | Sequence[WorkFunction],
        *arguments: Any,
        check: bool = True,
        **options: Unpack[RaceOptions],
    ) -> Race:
        """Run a race to its end.

        :param work: a function at the top of a file, called as ``work(contender, *arguments)`` in each process; or one
            function for each contender.
        :param *arguments: plain data, paths, ``cosmos_implementation``: whatever can be pickled.
        :param check: whether to raise when a contender has failed that the race did not kill.
        :param **options: see ``RaceOptions``.
        :raises RaceFailure: a contender failed, none came to a point, or the time was over.
        :raises ToolkitMisuse: a race that cannot be run.
        """
        __tracebackhide__ = True
        take_former_name(cast("dict[str, Any]", options), stacklevel=2)
        with self.start(work, *arguments, **options) as race:
            return race.finish(check=check)

    def start(
        self, work: WorkFunction | Sequence[WorkFunction], *arguments: Any, **options: Unpack[RaceOptions]
    ) -> RunningRace:
        """Start a race that the test leads itself: ``with cosmos_task_race.start(...) as race``.

        :param work: the work, as for a race that is run to its end.
        :param *arguments: as for a race that is run to its end.
        :param **options: see ``RaceOptions``.
        :raises ToolkitMisuse: a race that cannot be run.
        """
        __tracebackhide__ = True
        take_former_name(cast("dict[str, Any]", options), stacklevel=2)
        refuse_unknown(options)
        functions = _functions(work, options.get("contenders"))
        prepare, fresh = options.get("prepare", ()), options.get("fresh", False)
        _require_names(prepare)
        plan = self._plan(options)
        plan.check(len(functions))
        services = self._services_of(options)
        # An argument may name what its use imports: `prepares`.
        prepare = [*prepare, *(name for argument in arguments for name in getattr(argument, "prepares", ()))]
        order = self._order(
            Work(functions=functions, arguments=arguments),
            plan,
            fresh=fresh,
            services=services,
            plain=options.get("plain", False),
        )
        _require_parameters(functions, arguments)
        connection = self._prepared.get(_imports_of(order, prepare)).fork_supervisor(order)
        self._started.append(RunningRace(SupervisorLink(connection, len(functions)), order, plan, self._keep))
        return self._started[-1]

    def _plan(self, options: RaceOptions) -> Plan:
        directory = options.get("virtualenv_dir")
        if directory is not None:
            require_path(directory, "virtualenv_dir")
        return Plan(
            kill_at=options.get("kill_at"),
            stop_at=options.get("stop_at"),
            continue_at=options.get("continue_at"),
            victim=options.get("victim"),
            virtualenv_dir=None if directory is None else Path(directory),
            fakes=self._find_fake_dbt(),
            timeout=options.get("timeout", TIMEOUT),
            grace=options.get("grace", GRACE),
        )

    def _close(self) -> None:
        """End what was started and not left: a race whose ``with`` was forgotten."""
        # A race that cannot be ended keeps no other one running. The stack unwinds from its end: races before folders.
        with ExitStack() as stack:
            for folder in self._sockets:
                stack.callback(remove_folder, folder)
            for race in self._started:
                stack.callback(race.close)

    def _folder_for_sockets(self) -> Path:
        """Return a folder that no running race uses.

        Later races use it again, so a task finds files of an earlier one. Its path is short, as a socket's path has at
        most 107 bytes.
        """
        in_use = {race.folder_for_sockets for race in self._started if not race.is_over}
        free = next((folder for folder in self._sockets if folder not in in_use), None)
        if free is None:
            free = Path(tempfile.mkdtemp(prefix="cosmos-race-"))
            self._sockets.append(free)
        return free

    def _services_of(self, options: RaceOptions) -> tuple[str, ...]:
        given = options.get("services")
        own = () if given is None else require_patterns(given, "services")
        # Before a process is started: a declaration that cannot be read is told, whatever the race would show.
        return () if given is not None and not own else tuple(dict.fromkeys([*self._services(), *own]))

    def _order(self, work: Work, plan: Plan, *, fresh: bool, services: tuple[str, ...], plain: bool) -> RaceOrder:
        order = RaceOrder(
            folder=self._new_folder(),
            names=tuple(f"contender-{index}" for index in range(len(work.functions))),
            sys_path=tuple(sys.path),
            directory=str(Path.cwd()),
            variables={**self._prepared.variables(), RUNTIME_VARIABLE: str(self._folder_for_sockets())},
            fresh=fresh,
            modules=tuple(dict.fromkeys(map(_module_of, work.functions))),
            work=_pickled(work),
            acts=plan.acts,
            services=services,
            plain=plain,
        )
        if fresh:
            order.save()
        return order


def _imports_of(order: RaceOrder, prepare: Sequence[str]) -> tuple[ModuleAt, ...]:
    """Return what is imported before contenders are forked: the named modules, or else those that define the work.

    Test files that name the same modules share one process, and their contenders import the modules of the work. Each
    process with an Airflow that is not started saves eight seconds of CPU.
    """
    if order.fresh:
        return ()
    return tuple(ModuleAt(name=name, file=None) for name in dict.fromkeys(prepare)) or order.modules


def _functions(work: WorkFunction | Sequence[WorkFunction], contenders: int | None) -> tuple[WorkFunction, ...]:
    _require_functions(work)
    if callable(work):
        count = 2 if contenders is None else contenders
        if isinstance(count, bool) or not isinstance(count, int):
            raise ToolkitMisuse(f"contenders={count!r}: give a number.")
        if count < 1:
            raise ToolkitMisuse(f"contenders={count}: a race needs at least one, and two to be one.")
        return (work,) * count
    if contenders not in {None, len(work)}:
        raise ToolkitMisuse(f"contenders={contenders} for {len(work)} functions: leave it out, each is one contender.")
    if not work:
        raise ToolkitMisuse("No function was given: cosmos_task_race(work, ...), or a list of them.")
    return tuple(work)


def _require_functions(work: object) -> None:
    several = work if isinstance(work, (list, tuple)) else [work]
    strange = [each for each in several if not callable(each)]
    if strange:
        raise ToolkitMisuse(f"cosmos_task_race({strange[0]!r}): give the function that is to race, not its name.")


def _require_parameters(functions: Sequence[WorkFunction], arguments: Sequence[object]) -> None:
    for function in dict.fromkeys(functions):
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # of some functions that are written in C there is none to be had
            continue
        try:
            signature.bind(object(), *arguments)
        except TypeError as error:
            name = getattr(function, "__name__", repr(function))
            raise ToolkitMisuse(
                f"cosmos_task_race calls {name}{signature} with the contender and {len(arguments)} arguments, and that "
                f"does not fit: {error}. Its first parameter is the contender."
            ) from None


def _require_names(prepare: object) -> None:
    is_list = isinstance(prepare, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(name, str) for name in prepare):  # type: ignore[attr-defined]
        raise ToolkitMisuse(f"prepare={prepare!r}: give a list of the names of modules, such as ['json'].")


def _module_of(function: WorkFunction) -> ModuleAt:
    plain = getattr(function, "func", function)  # of a functools.partial
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    if "<" in name:  # <locals>, <lambda>
        raise ToolkitMisuse(
            f"{name} is made inside a function, and a contender, which has a process of its own, finds its work by "
            "name only. Move it to the top of the file, and hand what it took from the test as arguments: "
            "cosmos_task_race(work, tmp_path)."
        )
    module = getattr(plain, "__module__", type(plain).__module__)
    return ModuleAt(name=module, file=getattr(sys.modules.get(module), "__file__", None))


def _pickled(work: Work) -> bytes:
    for at, argument in enumerate(work.arguments):
        try:
            pickle.dumps(argument)
        except Exception as error:  # noqa: BLE001 - pickling raises whatever the object does
            raise ToolkitMisuse(
                f"Argument {at + 1} of the work, a {type(argument).__name__}, cannot be handed to another process "
                f"({error}). Hand plain data, and make the object inside the function."
            ) from None
    try:
        return pickle.dumps(work)
    except Exception as error:  # noqa: BLE001 - as above
        raise ToolkitMisuse(f"The work cannot be handed to another process: {error}.") from None
