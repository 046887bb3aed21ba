"""The arguments of an operator that decide about its environment, and the ready environment for them.

The environment is for a task, for a parse, or for the command line, which builds beforehand. The settings about
environments become the values that ``environments`` takes, which knows no settings. A parse has little time, so a
detached builder makes a missing environment.

DAG files construct operators by the thousand and make no environment, and most tasks find theirs. So this module
imports little, and imports that only a build needs stand inside the functions that build.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.command import word_text
from cosmos_venv.dbt.native.program import LIBRARY_ENDINGS
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBeingBuilt, VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.installer import InstallerPreference
    from cosmos_venv.environments.maintenance.pruner import PruneLimits
    from cosmos_venv.environments.publisher import BuildRequest
    from cosmos_venv.environments.remote_store import RemoteStore
    from cosmos_venv.environments.spec import EnvironmentSpec, Library
    from cosmos_venv.environments.store import Environment, EnvironmentStore

Report = Callable[[str], None]
_SHOWN_FAULTS = 3


class VirtualenvArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of an operator that decide about its environment.

    :param py_requirements: as ``pip install`` takes them.
    :param pip_install_options: words for ``pip install``.
    :param py_system_site_packages: whether packages of the worker are visible in the environment.
    :param py_executable: name or path of the Python to make it of; None: the worker's own.
    :param adbc_drivers: database drivers for dbt 2: paths of shared libraries, or requirements of distributions that
        hold one; None: those of ``[cosmos_venv] virtualenv_adbc_drivers``.
    """

    py_requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...] = ()
    py_system_site_packages: bool = False
    py_executable: str | None = None
    adbc_drivers: tuple[str, ...] | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> VirtualenvArguments:
        """Pick these arguments from all arguments of an operator. The others are ignored.

        :param arguments: ``operator_args``, or an operator's attributes.
        :raises CosmosValueError: for anything but lists of texts, paths and numbers.
        """
        return cls(
            py_requirements=_words("py_requirements", arguments),
            pip_install_options=_words("pip_install_options", arguments),
            py_system_site_packages=bool(arguments.get("py_system_site_packages")),
            py_executable=arguments.get("py_executable"),
            adbc_drivers=None if arguments.get("adbc_drivers") is None else _words("adbc_drivers", arguments),
        )

    def spec(self, *, cancellation: Cancellation | None = None) -> EnvironmentSpec:
        """Return the spec of the environment.

        :param cancellation: ends the wait for the answer of another Python; None: nothing does.
        :raises CosmosValueError: when there are no requirements, or a text is no requirement.
        :raises CommandKilled: when ``cancellation`` was requested while another Python was asked for its version.
        """
        from cosmos_venv.dbt.installation import DBT_CHECK
        from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter

        if not self.py_requirements:
            raise CosmosValueError(
                "py_requirements is empty, so the environment would have no dbt. Name the dbt adapter to install, "
                'for example py_requirements=["dbt-core~=1.11.0", "dbt-postgres"].'
            )
        requirements, libraries = self._drivers()
        return EnvironmentSpec(
            requirements=(*self.py_requirements, *requirements),
            pip_install_options=self.pip_install_options,
            interpreter=Interpreter.of(self.py_executable, cancellation=cancellation),
            system_site_packages=self.py_system_site_packages,
            check=DBT_CHECK,
            libraries=libraries,
        )

    def _drivers(self) -> tuple[list[str], tuple[Library, ...]]:
        """The requirements of the distributions that hold a driver, and all drivers."""
        given = settings.virtualenv_adbc_drivers.split() if self.adbc_drivers is None else self.adbc_drivers
        if not given:
            return [], ()
        from cosmos_venv.environments.spec import Library, parsed_requirement

        requirements, libraries = [], []
        for driver in map(str.strip, given):
            if "://" not in driver and ("/" in driver or driver.endswith(LIBRARY_ENDINGS)):
                libraries += [_library(path) for path in _libraries_at(driver)]
            else:
                libraries.append(Library(source=parsed_requirement(driver, "adbc_drivers").name))
                requirements.append(driver)
        return requirements, tuple(libraries)


def _words(name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    given = arguments.get(name) or ()
    words = tuple(map(word_text, given)) if isinstance(given, list | tuple) else given
    if not (isinstance(words, tuple) and all(isinstance(word, str) for word in words)):
        from cosmos_venv.environments.requirement_files import refuse_anything_but_strings

        refuse_anything_but_strings(name, words)
    return tuple(words)


def _libraries_at(driver: str) -> list[Path]:
    path = Path(os.path.expanduser(driver)).absolute()  # noqa: PTH111 - Path.expanduser raises for ~somebody
    endings = LIBRARY_ENDINGS if path.is_dir() else ()
    found = sorted(file for ending in endings for file in path.glob(f"lib*{ending}")) if endings else [path]
    if not found:
        raise CosmosValueError(f"adbc_drivers: {path} is a folder without a shared library (lib….so or lib….dylib).")
    return found


def _library(path: Path) -> Library:
    from cosmos_venv.environments.spec import Library
    from cosmos_venv.files.file_cache import digest_of_file
    from cosmos_venv.files.os_errors import reason_of
    from cosmos_venv.managed import caches

    try:
        # The digest is cached by size and times: a driver has 70 MB, and each task needs its digest.
        digest = digest_of_file(path, known=caches.kept_fingerprints())
    except OSError as error:
        raise CosmosValueError(
            f"adbc_drivers: {path} cannot be read ({reason_of(error)}). Give the path of a shared library such as "
            f"libduckdb.so, or the name of a distribution that holds one."
        ) from None
    return Library(source=str(path), digest=digest)


def kept_directory(virtualenv_dir: str | Path | None, is_temporary: bool | str) -> Path | None:
    """Return where environments are kept; None when each run gets a temporary one.

    :param virtualenv_dir: as the user gave it; None: nothing is kept.
    :param is_temporary: whether the user wants a temporary one all the same; a text is what a template rendered to.
    :raises CosmosValueError: for an empty text, which would be the working directory.
    """
    if virtualenv_dir is not None and not str(virtualenv_dir).strip():
        raise CosmosValueError(f"virtualenv_dir={str(virtualenv_dir)!r} is empty: name a directory, or leave it out.")
    if isinstance(is_temporary, str):
        from cosmos_venv.compat import to_boolean  # imports Airflow, which a detached process does without

        is_temporary = to_boolean(is_temporary)
    return None if virtualenv_dir is None or is_temporary else Path(virtualenv_dir)


def prune_limits() -> PruneLimits:
    """Return the limits of what a ``virtualenv_dir`` may hold, as they are configured."""
    from cosmos_venv.environments.maintenance.pruner import DAY, PruneLimits

    return PruneLimits(
        max_age=settings.virtualenv_prune_max_age_days * DAY,
        max_count=settings.virtualenv_prune_max_count,
        max_bytes=settings.virtualenv_prune_max_bytes,
        min_age=settings.virtualenv_prune_min_age,
    )


def wanted_installer() -> InstallerPreference:
    """The installer of ``[cosmos_venv] virtualenv_installer``; if empty, of ``[standard] venv_install_method``."""
    named = settings.virtualenv_installer
    # Few choose it, and its module is not needed by the others.
    if named == "airflow":
        from cosmos_venv.managed.airflow_installer import AIRFLOW_INSTALLER

        return AIRFLOW_INSTALLER
    if named:
        return "uv" if named == "uv" else "pip" if named == "pip" else "auto"
    from cosmos_venv.compat import venv_install_method  # imports Airflow, which a detached process does without

    return venv_install_method()


def environment_store(directory: Path) -> EnvironmentStore:
    """Return the environments below a ``virtualenv_dir``.

    :param directory: the ``virtualenv_dir``; made when the first environment is built.
    """
    from cosmos_venv.environments.store import EnvironmentStore

    mode, may_be_open = settings.virtualenv_dir_mode, settings.virtualenv_dir_may_be_open
    return EnvironmentStore(directory, directory_mode=mode, may_be_open=may_be_open)


def build_request(spec: EnvironmentSpec, directory: Path) -> BuildRequest:
    """Return the order to build an environment, should it be missing.

    :param spec: what it must hold.
    :param directory: the ``virtualenv_dir``.
    """
    from cosmos_venv.environments.publisher import BuildRequest

    return BuildRequest(
        store=environment_store(directory),
        spec=spec,
        preference=wanted_installer(),
        max_tries=settings.virtualenv_max_retries_lock,
        # env warm prunes nothing: it fills stores that tasks read by the search path. No use is noted there, so each
        # environment would look unused.
        limits=None if foreground_builds.get().is_on else prune_limits(),
    )


def search_path() -> list[EnvironmentStore]:
    """Return the stores of ``virtualenv_search_path``.

    :raises CosmosValueError: for a relative path.
    """
    from cosmos_venv.environments.store import stores_of

    return stores_of(settings.virtualenv_search_path, may_be_open=settings.virtualenv_dir_may_be_open)


def without_worker_python(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that would lead the environment's Python to the worker's packages.

    :param env: environment variables of a command.
    """
    return {name: value for name, value in env.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


class Foreground(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for DAG files that are imported within ``foreground_imports``, and the environments made there.

    :param directory: the directory to build in, in place of ``virtualenv_dir``; the search path does not count then.
        None: the directory in which each task looks.
    :param report: gets the lines on builds, in place of the log; None: the log gets them.
    :param before: is called with the arguments of an environment before an import looks for it.
    :param source: the store that must provide every missing environment (``cosmos-venv env fetch``); None: the remote
        store of the settings, where there is one, or a build provides it.
    :param is_on: whether builds are wanted in the foreground at all.
    :param made: the environments that were built or fetched, by their paths.
    """

    directory: Path | None = None
    report: Report | None = None
    before: Callable[[VirtualenvArguments], None] = lambda _: None
    source: RemoteStore | None = None
    is_on: bool = True
    made: dict[Path, Environment] = msgspec.field(default_factory=dict)


_NO_FOREGROUND = Foreground(is_on=False)
foreground_builds: ContextVar[Foreground] = ContextVar("foreground_builds", default=_NO_FOREGROUND)


@contextmanager
def foreground_imports(foreground: Foreground) -> Iterator[None]:
    """Let DAG files that are imported within this block build their environments themselves (``cosmos-venv env warm``).

    :param foreground: how they are built. Its ``made`` gets each new environment while the block runs.
    """
    token = foreground_builds.set(foreground)
    try:
        yield
    finally:
        foreground_builds.reset(token)


@contextmanager
def holding_the_lock(directory: Path, *, cancellation: Cancellation, report: Report) -> Iterator[None]:
    """Let several threads of this process build in a directory at once, under one owner of its lock.

    :param directory: a ``virtualenv_dir``; made when it is missing.
    :param cancellation: ends the wait for the lock.
    :param report: gets lines on the wait.
    :raises VirtualenvLockTimeout: when another builder holds the lock for too long.
    :raises VirtualenvError: when the directory cannot be written, or somebody else can have written there.
    """
    from cosmos_venv.environments.lock import VirtualenvLock

    store = environment_store(directory)
    with store.errors_name_the_directory():
        store.make_directory()
        held = VirtualenvLock(store.directory).acquire(
            max_tries=settings.virtualenv_max_retries_lock,
            cancellation=cancellation,
            report=report,
            for_all_threads=True,
        )
        with held:
            yield


@contextmanager
def managed_environment(
    arguments: VirtualenvArguments,
    directory: Path | None,
    *,
    cancellation: Cancellation,
    report: Report,
    warn: Report | None = None,
) -> Iterator[Environment]:
    """Open the environment for a task: found ready, else built.

    :param arguments: of the operator.
    :param directory: where it is kept; None: a fresh one is made for this task alone.
    :param cancellation: ends waiting and building.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on; None: ``report`` does.
    :raises VirtualenvError: when it cannot be had.
    :raises CosmosValueError: when an argument has a wrong value.
    """
    spec = arguments.spec(cancellation=cancellation)
    warn = warn or report
    with ExitStack() as opened:
        environment = None
        try:
            if directory is not None:
                kept = _kept_environment(spec, directory, cancellation=cancellation, report=report, warn=warn)
                environment = opened.enter_context(kept)
        except VirtualenvLockTimeout as error:
            # env warm must fail: an environment for it alone would be gone before a task could find it.
            if settings.virtualenv_lock_timeout_action != "private" or foreground_builds.get().is_on:
                raise
            warn(
                f"{error} This task goes on in a temporary environment of its own "
                "([cosmos_venv] virtualenv_lock_timeout_action = private)."
            )
        if environment is None:
            from cosmos_venv.environments.builder import temporary_environment

            alone = temporary_environment(spec, preference=wanted_installer(), cancellation=cancellation, report=report)
            environment = opened.enter_context(alone)
        if not environment.was_built:
            report(f"The virtualenv for {spec} is ready: {environment.path}.")
        yield environment


@contextmanager
def environment_for_parsing(
    arguments: VirtualenvArguments, directory: Path, *, report: Report
) -> Iterator[Environment]:
    """Open the environment for ``dbt ls`` while a DAG file is imported, which Airflow cuts after 30 s.

    A detached builder makes a missing environment; this parse waits for at most half of the time that is left.

    :param arguments: of the operator.
    :param directory: where it is kept.
    :param report: gets lines for the log.
    :raises VirtualenvBeingBuilt: when it is not ready in time; a later parse will find it.
    :raises VirtualenvError: when it cannot be had.
    """
    foreground = foreground_builds.get()
    foreground.before(arguments)
    spec = arguments.spec()
    if not (foreground.is_on or is_ready(spec, directory)):
        _refuse_to_build(spec, directory)
        # Imported here: a parse that finds its environment needs no builder, and no wrong setting of building fails it.
        from cosmos_venv.environments.detached import build_detached
        from cosmos_venv.managed.remote_environments import variables_of_the_connection

        try:
            build_detached(
                build_request(spec, directory),
                wait=seconds_for_a_parse(),
                report=report,
                remote=_remote_store(report),
                variables=variables_of_the_connection(),
            )
        except VirtualenvBeingBuilt as error:
            raise VirtualenvBeingBuilt(f"{error} {_warm_command()} builds it beforehand.") from None
    kept = _kept_environment(
        spec, directory, may_upgrade=False, cancellation=Cancellation(), report=report, warn=report
    )
    with kept as environment:
        yield environment


@contextmanager
def _kept_environment(
    spec: EnvironmentSpec,
    directory: Path,
    *,
    may_upgrade: bool = True,
    cancellation: Cancellation,
    report: Report,
    warn: Report,
) -> Iterator[Environment]:
    """Open the environment in the search path, else in ``directory``. There it is built first if builds are allowed.

    :param may_upgrade: whether there is time to install a newer build.
    """
    foreground = foreground_builds.get()
    report = foreground.report or report
    directory = foreground.directory or directory
    upgrade_after = None
    if may_upgrade and spec.asks_for_upgrade and foreground.source is None and _may_build():
        upgrade_after = settings.virtualenv_upgrade_interval
    # Most tasks end here, without the imports of a build. ``open_environment`` searches the store of ``directory``
    # itself, and that is enough where an upgrade may be due.
    *searched, own = _stores(directory)
    for store in searched if upgrade_after is not None else [*searched, own]:
        if (ready := store.find(spec, cancellation=cancellation)) is not None:
            with closing(ready):
                yield ready
            return
    _refuse_to_build(spec, directory)
    from cosmos_venv.environments.publisher import open_environment

    with open_environment(
        build_request(spec, directory),
        upgrade_after=upgrade_after,
        cancellation=cancellation,
        report=report,
        warn=warn,
        remote=lambda: foreground.source or _remote_store(warn),
    ) as environment:
        if environment.was_built and foreground.is_on:
            foreground.made[environment.path] = environment
        yield environment


def _stores(directory: Path) -> list[EnvironmentStore]:
    """Return the stores in which a task looks for its environment, the store of ``directory`` last."""
    # No setting about building is read here: a wrong one must fail only a builder.
    searched = [] if foreground_builds.get().directory is not None else search_path()
    return [*searched, environment_store(directory)]


def is_ready(spec: EnvironmentSpec, directory: Path) -> bool:
    """Return whether a task would find its environment.

    :param spec: what it must hold.
    :param directory: its ``virtualenv_dir``.
    :raises VirtualenvError: when a store cannot be read.
    """
    return any(store.holds(spec) for store in _stores(directory))


def damage_of(environment: Environment, directory: Path, *, cancellation: Cancellation, report: Report) -> str:
    """Return the damage of an environment, as sentences; empty when there is none, or it was built for this caller.

    A damaged environment is retired, so that the next try builds another one.

    :param environment: the caller's.
    :param directory: the ``virtualenv_dir`` of the task.
    :param cancellation: ends waiting for the lock of the directory.
    :param report: gets lines on the wait.
    :raises OSError: when this process may open no more files.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    # Imported here: only a task that has failed comes so far.
    from cosmos_venv.environments.maintenance.pruner import retire_damaged
    from cosmos_venv.environments.maintenance.verification import damage

    faults = [] if environment.was_built else damage(environment)
    if not faults:
        return ""
    more = f"; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
    damaged = f"The virtualenv {environment.path} is damaged: {'; '.join(faults[:_SHOWN_FAULTS])}{more}."
    store = environment_store(directory)
    if environment.path.parent != store.root:
        return (
            f"{damaged} It stands in virtualenv_search_path, where nothing is ever written: fill that store anew "
            "(cosmos-venv env warm)."
        )
    max_tries = settings.virtualenv_max_retries_lock if seconds_for_a_parse() is None else 0
    try:
        retire_damaged(store, environment.path, max_tries=max_tries, cancellation=cancellation, report=report)
    except (VirtualenvError, CosmosValueError) as error:
        return f"{damaged} It cannot be retired: {error} Remove it: cosmos-venv env prune --digest."
    return (
        f"{damaged} It is retired: the next try builds another one (where retries=0, clear the task). If that one is "
        "damaged alike, the cache of uv is: uv cache clean."
    )


def why_not_started(environment: Environment, error: OSError) -> str:
    """Return the message for a dbt that cannot be started, although its environment has all its files.

    :param environment: whose ``dbt`` was to be started.
    :param error: that of the operating system.
    """
    dbt = environment.script("dbt")
    why = f"The dbt of the environment cannot be started: {dbt}: {error.strerror}. "
    if not dbt.exists():
        return why + "Nothing in py_requirements brings it: name dbt-core, or an adapter that requires it."
    return why + (
        "Its files are as they were installed: see whether their file system is mounted noexec now, and whether user "
        f"id {os.geteuid()} may execute the file and the program that its first line names."
    )


def seconds_for_a_parse() -> float | None:
    """Return half of what Airflow's import time-out leaves; None where none runs (``dag.test()``, pytest, a script)."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    return left / 2 if left else None


def _warm_command() -> str:
    """Return the command that builds beforehand, with the DAG file that is imported now."""
    from cosmos_venv.compat import parsed_file  # imports Airflow, which a detached process does without

    return f"cosmos-venv env warm {shlex.quote(str(parsed_file() or 'DAGFILE'))}"


def _remote_store(warn: Report) -> RemoteStore | None:
    """Return the remote store for a task or a parse; None where none is configured, or its key cannot be had now."""
    if not settings.remote_environment_dir:
        return None
    from cosmos_venv.managed.remote_environments import configured_store

    try:
        return configured_store()
    except VirtualenvError as error:
        warn(str(error))
        return None


def _may_build() -> bool:
    return settings.virtualenv_build != "never" or foreground_builds.get().is_on


def _refuse_to_build(spec: EnvironmentSpec, directory: Path) -> None:
    """Raise where the environment, which is not ready, may not be built."""
    if _may_build():
        return
    searched = settings.virtualenv_search_path
    beside = f", nor does virtualenv_search_path={searched!r}" if searched else ""
    raise VirtualenvError(
        f"virtualenv_dir={str(directory)!r} holds no environment for {spec}{beside}, and [cosmos_venv] "
        f"virtualenv_build is never. Build it beforehand: {_warm_command()}"
    )
