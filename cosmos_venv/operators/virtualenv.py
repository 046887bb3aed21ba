"""Operators that run dbt in an environment of their own: made on the fly, or kept in ``virtualenv_dir`` and shared.

A task runs through ``execute`` (``operators.base``), ``run_command`` (``operators.local_base``) and the steps of
``operators.run.run_steps``, which call ``_dbt_ready`` here for the environment: ``managed.resolve`` finds or builds it.
docs/explanation/architecture.md describes the whole path. The classes of ``operators.local`` give the dbt command, and
override nothing on this path.

The seed document "Implementation: Astronomer cosmos DbtVirtualenvBaseOperator" names the classes, parameters and
methods. A task calls no lock method: ``cosmos_venv.environments`` takes the lock for a build, and dbt runs without it.
The lock methods are for subclasses. A subclass that holds the lock may let the operator build in the same thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from cosmos_venv import settings
from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError, VirtualenvLockTimeout, warn
from cosmos_venv.managed import resolve
from cosmos_venv.managed.resolve import VirtualenvArguments, kept_directory
from cosmos_venv.operators import local
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.dbt.command import FullOutputSubprocessResult
    from cosmos_venv.environments.lock import LOCK_FILENAME, VirtualenvLock
    from cosmos_venv.environments.store import Environment
    from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtResult, DbtRun
    from cosmos_venv.operators.run.warm_start import WarmCandidate

__all__ = [
    "LOCK_FILENAME",
    "CosmosVirtualenvLockTimeout",
    "DbtBatchVirtualenvOperator",
    "DbtBuildVirtualenvOperator",
    "DbtCloneVirtualenvOperator",
    "DbtCompileVirtualenvOperator",
    "DbtDocsVirtualenvOperator",
    "DbtHooksVirtualenvOperator",
    "DbtLSVirtualenvOperator",
    "DbtRetryVirtualenvOperator",
    "DbtRunOperationVirtualenvOperator",
    "DbtRunVirtualenvOperator",
    "DbtSeedVirtualenvOperator",
    "DbtSelectVirtualenvOperator",
    "DbtSemanticMetricViewVirtualenvOperator",
    "DbtSnapshotVirtualenvOperator",
    "DbtSourceFreshnessVirtualenvSensor",
    "DbtSourceVirtualenvOperator",
    "DbtTestVirtualenvOperator",
    "DbtVirtualenvBaseOperator",
    "depends_on_virtualenv_dir",
]

_Result = TypeVar("_Result")


class CosmosVirtualenvLockTimeout(AirflowException):
    """Another process held the lock of ``virtualenv_dir`` for longer than this task may wait."""


def depends_on_virtualenv_dir(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """Decorate a method that has no meaning without ``virtualenv_dir``.

    :param method: a method of a virtualenv operator.
    :raises CosmosValueError: by the decorated method, when ``virtualenv_dir`` is None.
    """

    @functools.wraps(method)
    def checked(operator: Any, *args: Any, **kwargs: Any) -> _Result:
        if operator.virtualenv_dir is None:
            raise CosmosValueError("Method relies on value of parameter `virtualenv_dir` which is None.")
        return method(operator, *args, **kwargs)

    return checked


class DbtVirtualenvBaseOperator(local.DbtLocalBaseOperator):
    """A dbt command in a managed virtual environment.

    :param py_requirements: pip requirement strings, such as ``["dbt-core~=1.11.0", "dbt-postgres~=1.11.0"]``.
        Without requirements an error is logged, and the task will fail.
    :param pip_install_options: further options of ``pip install``, such as ``["--no-cache-dir"]``.
    :param py_system_site_packages: whether the environment sees the packages of the worker's Python.
    :param virtualenv_dir: where environments are kept and shared; None: a temporary one for each run. May be a
        template.
    :param is_virtualenv_dir_temporary: run in a temporary environment although ``virtualenv_dir`` is given; a
        boolean, or a template of one.
    :param py_executable: the Python of the environment, a name on PATH or a path; None: the worker's own.
    :param adbc_drivers: database drivers for dbt 2, put into the environment so that dbt downloads none: paths of
        shared libraries such as ``libduckdb.so``, paths of folders of libraries, or requirements of distributions that
        hold a library; None: those of ``[cosmos_venv] virtualenv_adbc_drivers``.
    :param **kwargs: of the local operator. ``invocation_mode`` is always SUBPROCESS and ``dbt_executable_path`` the
        environment's own dbt, as in Cosmos: another value of the two gives a UserWarning. Where ``warm_dbt`` is None,
        ``[cosmos_venv] virtualenv_warm_dbt`` counts.
    """

    own_template_fields: ClassVar[tuple[str, ...]] = ("virtualenv_dir", "is_virtualenv_dir_temporary")
    warm_setting: ClassVar[str] = "virtualenv_warm_dbt"
    _environment: Environment | None = None
    _temporary: Path | None = None
    _held_lock: ExitStack | None = None

    py_requirements: list[str]
    pip_install_options: list[str]
    py_system_site_packages: bool
    virtualenv_dir: str | None
    is_virtualenv_dir_temporary: bool | str
    py_executable: str | None
    adbc_drivers: list[str] | None

    def __init__(
        self,
        *,  # Airflow allows only keyword arguments, and the class gets only their defaults
        py_requirements: list[str] | None = None,
        pip_install_options: list[str] | None = None,
        py_system_site_packages: bool = False,
        virtualenv_dir: Path | str | None = None,
        is_virtualenv_dir_temporary: bool | str = False,
        py_executable: str | None = None,
        adbc_drivers: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "py_requirements": py_requirements,
            "pip_install_options": pip_install_options,
            "adbc_drivers": adbc_drivers,
        }
        arguments = VirtualenvArguments.of(given)
        kept_directory(virtualenv_dir, is_temporary=False)  # only for its errors: a wrong path fails the parse
        _tell_what_is_ignored(kwargs)
        super().__init__(**{**kwargs, "invocation_mode": InvocationMode.SUBPROCESS})
        self.__dict__.update(
            py_requirements=list(arguments.py_requirements),
            pip_install_options=list(arguments.pip_install_options),
            py_system_site_packages=py_system_site_packages,
            # Airflow renders templates in texts, not in Paths.
            virtualenv_dir=None if virtualenv_dir is None else str(virtualenv_dir),
            is_virtualenv_dir_temporary=is_virtualenv_dir_temporary,
            py_executable=py_executable,
            adbc_drivers=None if arguments.adbc_drivers is None else list(arguments.adbc_drivers),
        )
        if not py_requirements:
            self.log.error("Cosmos virtualenv operators require the `py_requirements` parameter")

    @property
    def kept_directory(self) -> Path | None:
        """The directory where this task's environment is kept; None when it gets a temporary one."""
        return kept_directory(self.virtualenv_dir, self.is_virtualenv_dir_temporary)

    @contextmanager
    def _dbt_ready(self, run: DbtRun) -> Iterator[str]:
        """Open the environment and keep it for ``run_subprocess``, which starts its dbt; yield its digest."""
        with resolve.managed_environment(
            VirtualenvArguments.of(vars(self)),
            self.kept_directory,
            cancellation=self._cancellation,
            report=self.log.info,
            warn=self.log.warning,
        ) as environment:
            self._environment = environment
            self._temporary = environment.path if environment.is_temporary else None
            try:
                yield environment.digest
            finally:
                self._environment = None

    def _start(self, run: DbtRun, command: DbtCommand) -> DbtResult:
        """Start one command. The environment is retired when dbt fails because files of the environment are lost.

        :raises VirtualenvError: when dbt could not be started, or did nothing, because of lost files.
        """
        from cosmos_venv.dbt.results import may_lack_files
        from cosmos_venv.dbt.workspace import Outputs
        from cosmos_venv.operators.run.dbt_run import DbtNotStarted

        command = replace(command, keep_open=(*self._opened_environment.keep_open, *command.keep_open))
        artifacts = Outputs.of(command.place, command.env, command.words).artifacts()
        try:
            result = super()._start(run, command)
        except DbtNotStarted:
            if damage := self._damage():
                raise VirtualenvError(damage) from None
            raise
        result = cast("FullOutputSubprocessResult", result)  # its mode is always SUBPROCESS
        code, lines = result.exit_code, result.full_output
        if may_lack_files(code, artifacts, lines=lines) and (damage := self._damage()):
            if not code:  # Python has run the rest of a truncated script, and ended with exit code 0
                raise VirtualenvError(f"dbt has done nothing. {damage}")
            self.log.warning("%s", damage)
        return result

    @property
    def _opened_environment(self) -> Environment:
        """The environment, while a command runs."""
        if self._environment is None:
            raise AirflowException("run_subprocess needs the environment that run_command prepares: call run_command.")
        return self._environment

    def _damage(self) -> str:
        """Retire the environment when it has lost files. Returns the loss as sentences; empty when nothing is lost."""
        directory = self.kept_directory
        if self._environment is None or directory is None:
            return ""
        return resolve.damage_of(self._environment, directory, cancellation=self._cancellation, report=self.log.info)

    def run_subprocess(
        self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run one dbt command with the dbt of the environment, whatever dbt the command names.

        :param command: the command line; its first word is replaced.
        :param env: all environment variables of the process; variables that lead to the worker's packages are left out.
        :param cwd: the folder in which it runs.
        :param **kwargs: as for the local operator.
        :returns: exit code and output of dbt.
        :raises AirflowException: outside of ``run_command``, which prepares the environment.
        """
        environment = self._opened_environment
        self.log.info("Using Python binary from virtualenv: %s", environment.python)
        return super().run_subprocess(
            [str(environment.script("dbt")), *command[1:]],
            resolve.without_worker_python(env),
            cwd,
            **kwargs,
        )

    def _why_not_started(self, executable: str, error: OSError) -> str:
        return resolve.why_not_started(self._opened_environment, error)

    def _warm_candidate(self, executable: str) -> WarmCandidate:
        from cosmos_venv.operators.run import warm_start

        return warm_start.WarmCandidate.of_environment(self._opened_environment)

    def _execute(self, context: Context, **kwargs: Any) -> Any:
        """Run the command to its end; a temporary environment is gone then.

        :param context: Airflow's context of the task.
        :param **kwargs: of ``build_and_run_cmd``.
        :raises AirflowException: when dbt failed, or its environment cannot be had.
        """
        try:
            return super()._execute(context, **kwargs)
        finally:
            self.clean_dir_if_temporary()

    def clean_dir_if_temporary(self) -> None:
        """Delete what is left of this operator's temporary environment, and nothing else."""
        left, self._temporary = self._temporary, None
        if left is not None and left.exists():
            self.log.info("Deleting the Python virtualenv %s", left)
            from cosmos_venv.processes import scratch

            scratch.remove(left)

    @contextmanager
    def _failing_as_a_task(self) -> Iterator[None]:
        try:
            with super()._failing_as_a_task():
                yield
        except VirtualenvLockTimeout as error:
            raise CosmosVirtualenvLockTimeout(str(error)) from None
        except VirtualenvError as error:
            raise AirflowException(str(error)) from None

    @depends_on_virtualenv_dir
    def _is_lock_available(self) -> bool:
        """Whether no process that must be respected holds the lock now. Changes nothing.

        :raises CosmosValueError: without ``virtualenv_dir``.
        """
        lock = self._virtualenv_lock()
        self.log.info("Checking if the virtualenv lock %s exists", lock.file)
        if self._held_lock is not None:
            self.log.info("This operator has the lock %s.", lock.file)
            return False
        return lock.is_available(report=self.log.info)

    @depends_on_virtualenv_dir
    def _acquire_venv_lock(self) -> None:
        """Take the lock, and wait for it no longer than ``[cosmos] virtualenv_max_retries_lock`` seconds.

        Until the lock is released, ``execute`` in the same thread builds under it.

        :raises CosmosValueError: without ``virtualenv_dir``, or when the operator holds it already.
        :raises CosmosVirtualenvLockTimeout: when another process keeps the lock; the text names the owner.
        :raises AirflowException: when the directory cannot be used.
        """
        if self._held_lock is not None:
            raise CosmosValueError(f"This operator holds the lock of virtualenv_dir={self.virtualenv_dir!r} already.")
        held = ExitStack()
        try:
            with self._failing_as_a_task():
                lock = self._virtualenv_lock(make=True).acquire(
                    max_tries=settings.virtualenv_max_retries_lock,
                    cancellation=self._cancellation,
                    report=self.log.info,
                )
                held.enter_context(lock)
        except OSError as error:
            raise AirflowException(f"virtualenv_dir={self.virtualenv_dir!r} cannot be locked: {error}") from None
        self._held_lock = held

    @depends_on_virtualenv_dir
    def _release_venv_lock(self) -> None:
        """Release the lock that ``_acquire_venv_lock`` took, and no other.

        :raises CosmosValueError: without ``virtualenv_dir``.
        """
        held, self._held_lock = self._held_lock, None
        if held is None:
            lock = self._virtualenv_lock()
            self.log.warning("The lock %s is not held by this operator. It is left alone.", lock.file)
            return
        held.close()

    def _virtualenv_lock(self, *, make: bool = False) -> VirtualenvLock:
        # Its imports are for subclasses that lock, not for every task.
        from cosmos_venv.environments.lock import VirtualenvLock
        from cosmos_venv.files.own_files import make_directory

        directory = Path(str(self.virtualenv_dir))
        if make:
            make_directory(directory, settings.virtualenv_dir_mode)
        return VirtualenvLock(directory)


def _tell_what_is_ignored(arguments: Mapping[str, Any]) -> None:
    for name in ("invocation_mode", "dbt_executable_path"):
        value = arguments.get(name)
        if value not in (None, InvocationMode.SUBPROCESS, InvocationMode.SUBPROCESS.value):
            warn(
                f"{name}={value!s} is ignored: a virtualenv operator starts the dbt of its own environment as a "
                "process. Drop it, or take the local operator.",
                UserWarning,
            )


class DbtBuildVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtBuildLocalOperator):
    """``dbt build`` in a managed environment."""


class DbtBatchVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtBatchLocalOperator):
    """``dbt build`` of the nodes of a batch in a managed environment."""


class DbtLSVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtLSLocalOperator):
    """``dbt ls`` in a managed environment."""


class DbtSeedVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtSeedLocalOperator):
    """``dbt seed`` in a managed environment."""


class DbtSelectVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtSelectLocalOperator):
    """The task that evaluates a run's selection, by ``dbt ls`` in a managed environment."""


class DbtSnapshotVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtSnapshotLocalOperator):
    """``dbt snapshot`` in a managed environment."""


class DbtSourceVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtSourceLocalOperator):
    """``dbt source freshness`` in a managed environment."""


class DbtSourceFreshnessVirtualenvSensor(DbtVirtualenvBaseOperator, local.DbtSourceFreshnessLocalSensor):
    """Waits until sources are fresh: ``dbt source freshness`` in a managed environment."""


class DbtRunVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtRunLocalOperator):
    """``dbt run`` in a managed environment."""


class DbtSemanticMetricViewVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtSemanticMetricViewLocalOperator):
    """``dbt run`` of views of metrics in a managed environment."""


class DbtTestVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtTestLocalOperator):
    """``dbt test`` in a managed environment."""


class DbtRunOperationVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtRunOperationLocalOperator):
    """``dbt run-operation`` in a managed environment."""


class DbtHooksVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtHooksLocalOperator):
    """The task that runs the hooks of a project once, in a managed environment."""


class DbtDocsVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtDocsLocalOperator):
    """``dbt docs generate`` in a managed environment."""


class DbtCloneVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtCloneLocalOperator):
    """``dbt clone`` in a managed environment."""


class DbtCompileVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtCompileLocalOperator):
    """``dbt compile`` in a managed environment."""


class DbtRetryVirtualenvOperator(DbtVirtualenvBaseOperator, local.DbtRetryLocalOperator):
    """``dbt retry`` in a managed environment."""


if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__, {"LOCK_FILENAME": "cosmos_venv.environments.lock:LOCK_FILENAME"})
