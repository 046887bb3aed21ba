"""Which managed environment does a dbt command run in? From operator arguments to a ready one.

The one place that wires environments (which know no dbt) with dbt (which knows no environments) and with the settings.
Operators, parsing and the command line all ask here, so they find one digest for the same arguments.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import settings
from cosmos_venv.compat import to_boolean, venv_install_method
from cosmos_venv.dbt.check import DBT_CHECK
from cosmos_venv.dbt.command import vars_text
from cosmos_venv.dbt.package_files import read_package_files
from cosmos_venv.dbt.package_store import LAYOUT as PACKAGES_LAYOUT
from cosmos_venv.dbt.package_store import PackageStore
from cosmos_venv.dbt.packages import ProjectPackages
from cosmos_venv.dbt.partial_parse import ParsedProject, default_cache_dir, kept_file, make_private
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.environments import trust
from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.search_path import find_first, stores_of
from cosmos_venv.environments.spec import EnvironmentSpec, refuse_anything_but_strings
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.temporary import temporary_environment
from cosmos_venv.environments.upkeep import DAY, PruneLimits, Upkeep
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.guarded import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.installer import InstallerPreference

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Foreground:
    """What ``building_in_foreground`` was told, and the paths of what was built there."""

    directory: Path | None
    built: set[Path] = field(default_factory=set)


_foreground_builds: ContextVar[_Foreground | None] = ContextVar("foreground_builds", default=None)


@dataclass(frozen=True, kw_only=True)
class VirtualenvArguments:
    """The arguments of an operator that decide about its environment."""

    py_requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...] = ()
    py_system_site_packages: bool = False
    py_executable: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> VirtualenvArguments:
        """From ``operator_args`` or an operator's attributes; what does not matter here is ignored.

        :raises CosmosValueError: for anything but lists of texts.
        """
        for name in ("py_requirements", "pip_install_options"):
            refuse_anything_but_strings(name, arguments.get(name) or ())
        return cls(
            py_requirements=tuple(arguments.get("py_requirements") or ()),
            pip_install_options=tuple(arguments.get("pip_install_options") or ()),
            py_system_site_packages=bool(arguments.get("py_system_site_packages")),
            py_executable=arguments.get("py_executable"),
        )

    def spec(self) -> EnvironmentSpec:
        """What the environment must be.

        :raises CosmosValueError: when there are no requirements, or one is none.
        """
        if not self.py_requirements:
            raise CosmosValueError(
                "py_requirements is empty, so the environment would have no dbt. Name the dbt adapter to install, "
                'for example py_requirements=["dbt-core~=1.11.0", "dbt-postgres"].'
            )
        return EnvironmentSpec(
            requirements=self.py_requirements,
            pip_install_options=self.pip_install_options,
            interpreter=Interpreter.of(self.py_executable),
            system_site_packages=self.py_system_site_packages,
            check=DBT_CHECK,
        )


def kept_directory(virtualenv_dir: str | Path | None, is_temporary: bool | str) -> Path | None:
    """Where environments are kept; None when each run gets a temporary one.

    :param is_temporary: a text is what a template rendered to.
    :raises CosmosValueError: for an empty text, which would be the working directory.
    """
    if virtualenv_dir is not None and not str(virtualenv_dir).strip():
        raise CosmosValueError(f"virtualenv_dir={str(virtualenv_dir)!r} is empty: name a directory, or leave it out.")
    return None if virtualenv_dir is None or to_boolean(is_temporary) else Path(virtualenv_dir)


def is_template(value: object) -> bool:
    """Whether only a running task knows what this text will be."""
    return any(mark in str(value) for mark in ("{{", "{%"))


@contextmanager
def managed_environment(
    arguments: VirtualenvArguments,
    directory: Path | None,
    *,
    cancellation: Cancellation,
    report: Report,
    warn: Report | None = None,
) -> Iterator[Environment]:
    """The environment for a task: found ready, else built in ``directory``; a fresh one when that is None.

    :param report: takes lines for the task's log.
    :param warn: takes those that somebody should act on; None: ``report`` does.
    :raises VirtualenvError: when it cannot be had.
    :raises CosmosValueError: when an argument cannot be what it is.
    """
    spec = arguments.spec()
    with ExitStack() as opened:

        def fresh() -> Environment:
            return opened.enter_context(
                temporary_environment(spec, preference=_installer(), cancellation=cancellation, report=report)
            )

        if directory is None:
            yield fresh()
            return
        try:
            environment = opened.enter_context(
                _kept_environment(spec, directory, may_upgrade=True, cancellation=cancellation, report=report)
            )
        except VirtualenvLockTimeout as error:
            if settings.virtualenv_lock_timeout_action != "private" or _foreground_builds.get() is not None:
                raise
            (warn or report)(
                f"{error} This task goes on in a temporary environment of its own "
                "([cosmos_venv] virtualenv_lock_timeout_action = private)."
            )
            environment = fresh()
        yield environment


@contextmanager
def environment_for_parsing(
    arguments: VirtualenvArguments, directory: Path, *, report: Report
) -> Iterator[Environment]:
    """The environment for ``dbt ls`` while a DAG file is imported, which Airflow cuts after 30 s.

    Where it is missing, a detached builder makes it; this parse waits for no more than half of what is left.

    :raises VirtualenvBeingBuilt: when it is not ready in time; a later parse will find it.
    """
    spec = arguments.spec()
    if _foreground_builds.get() is None and not _is_on_search_path(spec):
        _refuse_to_build(spec, directory)
        build_detached(
            directory,
            spec,
            preference=_installer(),
            max_tries=settings.virtualenv_max_retries_lock,
            directory_mode=directory_mode(),
            wait=seconds_for_a_parse(),
            report=report,
            upkeep=upkeep(),
        )
    with _kept_environment(
        spec, directory, may_upgrade=False, cancellation=Cancellation(), report=report
    ) as environment:
        yield environment


@contextmanager
def _kept_environment(
    spec: EnvironmentSpec, directory: Path, *, may_upgrade: bool, cancellation: Cancellation, report: Report
) -> Iterator[Environment]:
    """The environment of the search path, else that of ``directory``, built first where it may be.

    :param may_upgrade: whether there is time to resolve it anew.
    """
    foreground = _foreground_builds.get()
    if foreground is not None and foreground.directory is not None:
        directory = foreground.directory
    elif (ready := _on_search_path(spec)) is not None:
        with closing(ready):
            yield ready
        return
    _refuse_to_build(spec, directory)
    may_upgrade = may_upgrade and _may_build()
    with _store(directory).open(
        spec,
        preference=_installer(),
        max_tries=settings.virtualenv_max_retries_lock,
        upgrade_after=settings.virtualenv_upgrade_interval if may_upgrade else None,
        cancellation=cancellation,
        report=report,
        upkeep=upkeep(),
    ) as environment:
        if environment.was_built and foreground is not None:
            foreground.built.add(environment.path)
        yield environment


def prune_limits() -> PruneLimits:
    """What a ``virtualenv_dir`` may hold, as it is configured.

    :raises CosmosValueError: naming the setting that is negative.
    """
    for name in ("max_age_days", "max_count", "max_bytes", "min_age"):
        if (value := getattr(settings, f"virtualenv_prune_{name}")) < 0:
            raise CosmosValueError(f"[cosmos_venv] virtualenv_prune_{name} = {value}: it can be 0 or more.")
    return PruneLimits(
        max_age=settings.virtualenv_prune_max_age_days * DAY,
        max_count=settings.virtualenv_prune_max_count,
        max_bytes=settings.virtualenv_prune_max_bytes,
        min_age=settings.virtualenv_prune_min_age,
    )


def upkeep() -> Upkeep:
    """What happens to a ``virtualenv_dir`` with each build, as it is configured."""
    return Upkeep(limits=prune_limits(), keep_failed=settings.virtualenv_keep_failed)


def parsed_project(
    project_dir: Path,
    profiles_yml: Path,
    *,
    target_name: str,
    variables: Mapping[str, Any] | str | None,
    which_dbt: str,
) -> ParsedProject:
    """The parse file that a command of this project is offered and leaves to the next one.

    :param which_dbt: a text that differs where the dbt may be another one.
    :raises CosmosLoadDbtException: when the project's dbt_project.yml cannot be read.
    """
    if not (settings.enable_cache and settings.enable_cache_partial_parse):
        return ParsedProject(project_dir=project_dir)
    # The project's name and not its path: Airflow 3 gives each version of a bundle another one.
    project_name = read_dbt_project(project_dir).name or project_dir.name
    profile = profiles_yml.read_text(encoding="utf-8", errors="replace") if profiles_yml.is_file() else ""
    key = [project_name, profile, target_name, vars_text(variables) or "", which_dbt]
    return ParsedProject(project_dir=project_dir, kept=kept_file(_cache_dir(), key))


def project_packages(
    project_dir: Path,
    virtualenv_dir: Path | None,
    *,
    variables: Mapping[str, Any] | str | None,
    env: Mapping[str, str],
    which_dbt: str,
) -> ProjectPackages:
    """The packages that ``dbt deps`` installs for this project, or has installed for another command.

    :param virtualenv_dir: where they are kept; below the cache folder when it is None, or nothing can be written there
        (then what an image has brought along is found there all the same).
    :param env: the environment variables of the dbt command.
    :param which_dbt: a text that differs where the dbt may be another one.
    """
    if not settings.enable_cache:
        return ProjectPackages(project_dir=project_dir)
    foreground = _foreground_builds.get()
    if foreground is not None and foreground.directory is not None:
        virtualenv_dir = foreground.directory
    files = read_package_files(project_dir)
    return ProjectPackages(
        project_dir=project_dir,
        digest=files.digest(variables=vars_text(variables) or "", env=env, which_dbt=which_dbt),
        stores=_package_stores(virtualenv_dir),
        max_age=settings.packages_max_age,
        max_wait=settings.virtualenv_max_retries_lock,
    )


def _package_stores(virtualenv_dir: Path | None) -> tuple[PackageStore, ...]:
    # The cache folder is this user's alone, whoever makes it first; a virtualenv_dir may be shared by a group.
    stores = [_package_store(_cache_dir(), make_private)]
    if virtualenv_dir is not None:
        searched = [store.directory for store in stores_of(settings.virtualenv_search_path)]
        stores = [
            *(_package_store(directory, make_private, is_read_only=True) for directory in searched),
            _package_store(virtualenv_dir, partial(trust.make_directory, mode=directory_mode())),
            *stores,
        ]
    return tuple(stores)


def _package_store(directory: Path, make: Callable[[Path], None], *, is_read_only: bool = False) -> PackageStore:
    return PackageStore(
        folder=directory / PACKAGES_LAYOUT, make_directory=make, is_trusted=_is_trusted, is_read_only=is_read_only
    )


def _is_trusted(paths: Sequence[Path]) -> bool:
    try:
        trust.refuse_untrusted(paths)
    except (VirtualenvError, OSError):
        return False
    return True


def _cache_dir() -> Path:
    return Path(settings.cache_dir) if settings.cache_dir else default_cache_dir(tempfile.gettempdir())


@contextmanager
def building_in_foreground(directory: Path | None = None) -> Iterator[set[Path]]:
    """Within this block DAG files that are imported build their environments themselves (``cosmos-venv env build``).

    :param directory: where, whatever ``virtualenv_dir`` says; the search path does not count then.
    """
    foreground = _Foreground(directory=directory)
    token = _foreground_builds.set(foreground)
    try:
        yield foreground.built
    finally:
        _foreground_builds.reset(token)


def without_worker_python(env: Mapping[str, str]) -> dict[str, str]:
    """The environment variables without those that would lead the environment's Python to the worker's packages."""
    return {name: value for name, value in env.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def seconds_for_a_parse() -> float | None:
    """Half of what Airflow's import time-out leaves; None where none runs (``dag.test()``, pytest, a script)."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    return left / 2 if left else None


def directory_mode() -> int | None:
    """Permissions of the directories that are made for environments; None: as in the directory above.

    :raises CosmosValueError: when ``[cosmos_venv] virtualenv_dir_mode`` cannot be what it is.
    """
    return trust.directory_mode(settings.virtualenv_dir_mode)


def _installer() -> InstallerPreference:
    named = settings.virtualenv_installer
    if named == "airflow":
        from cosmos_venv.airflow_installer import AIRFLOW_INSTALLER

        return AIRFLOW_INSTALLER
    return "uv" if named == "uv" else "pip" if named == "pip" else "auto" if named else venv_install_method()


def _store(directory: Path) -> EnvironmentStore:
    return EnvironmentStore(directory, directory_mode=directory_mode())


def _on_search_path(spec: EnvironmentSpec) -> Environment | None:
    return find_first(stores_of(settings.virtualenv_search_path), spec)


def _is_on_search_path(spec: EnvironmentSpec) -> bool:
    if (ready := _on_search_path(spec)) is not None:
        ready.close()
    return ready is not None


def _may_build() -> bool:
    return settings.virtualenv_build != "never" or _foreground_builds.get() is not None


def _refuse_to_build(spec: EnvironmentSpec, directory: Path) -> None:
    """Raises unless the environment is ready in ``directory``, or may be built there."""
    if _may_build():
        return
    if (ready := _store(directory).find(spec)) is None:
        searched = settings.virtualenv_search_path
        raise VirtualenvError(
            f"virtualenv_dir={str(directory)!r} holds no environment for {spec}"
            + (f", nor does virtualenv_search_path={searched!r}" if searched else "")
            + ", and [cosmos_venv] virtualenv_build is never. Build it beforehand: cosmos-venv env build DAGFILE"
        )
    ready.close()
