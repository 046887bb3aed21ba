"""How does a dbt command run in an environment of its own? Made on the fly, or kept in ``virtualenv_dir`` and shared.

The page "Implementation: Astronomer cosmos DbtVirtualenvBaseOperator" names the classes, parameters and methods; how an
environment is made and shared safely is the business of ``cosmos_venv.environments``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.exceptions import VirtualenvError, VirtualenvLockTimeout
from cosmos_venv.managed import resolve
from cosmos_venv.operators.local import (
    DbtBuildLocalOperator,
    DbtCloneLocalOperator,
    DbtDocsLocalOperator,
    DbtLocalBaseOperator,
    DbtLSLocalOperator,
    DbtRunLocalOperator,
    DbtRunOperationLocalOperator,
    DbtSeedLocalOperator,
    DbtSnapshotLocalOperator,
    DbtSourceLocalOperator,
    DbtTestLocalOperator,
)
from cosmos_venv.operators.lock_methods import (
    LOCK_FILENAME,
    CosmosVirtualenvLockTimeout,
    VirtualenvLockMethods,
    depends_on_virtualenv_dir,
)
from cosmos_venv.operators.run.dbt_run import DbtNotStarted
from cosmos_venv.processes import scratch
from cosmos_venv.processes.guarded_process import Cancellation
from cosmos_venv.public_names import name_lookup

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.dbt.invocation import FullOutputSubprocessResult
    from cosmos_venv.environments.environment import Damaged, Environment
    from cosmos_venv.managed.warm_start import Served
    from cosmos_venv.operators.run.dbt_run import DbtResult, Run

__all__ = [
    "LOCK_FILENAME",
    "PY_INTERPRETER",
    "CosmosVirtualenvLockTimeout",
    "DbtBuildVirtualenvOperator",
    "DbtCloneVirtualenvOperator",
    "DbtDocsVirtualenvOperator",
    "DbtLSVirtualenvOperator",
    "DbtRunOperationVirtualenvOperator",
    "DbtRunVirtualenvOperator",
    "DbtSeedVirtualenvOperator",
    "DbtSnapshotVirtualenvOperator",
    "DbtSourceVirtualenvOperator",
    "DbtTestVirtualenvOperator",
    "DbtVirtualenvBaseOperator",
    "depends_on_virtualenv_dir",
]

PY_INTERPRETER = "python3"
"""Name of Cosmos's module; the interpreter of an environment is ``py_executable`` here."""


class DbtVirtualenvBaseOperator(VirtualenvLockMethods, DbtLocalBaseOperator):
    """A dbt command in a managed virtual environment.

    :param py_requirements: pip requirement strings, such as ``["dbt-core~=1.11.0", "dbt-postgres~=1.11.0"]``.
        Without any an error is logged, and the task will fail.
    :param pip_install_options: further options of ``pip install``, such as ``["--no-cache-dir"]``.
    :param py_system_site_packages: whether the environment sees the packages of the worker's Python.
    :param virtualenv_dir: where environments are kept and shared; None: a temporary one for each run.
    :param is_virtualenv_dir_temporary: run in a temporary environment although ``virtualenv_dir`` is given.
    :param py_executable: the Python of the environment, a name on PATH or a path; None: the worker's own.
    :param kwargs: of the local operator. ``invocation_mode`` is always SUBPROCESS and ``dbt_executable_path`` the
        environment's own dbt, as in Cosmos: another value of the two gives a UserWarning. Where ``warm_dbt`` is None,
        ``[cosmos_venv] virtualenv_warm_dbt`` counts.
    """

    own_template_fields: ClassVar[tuple[str, ...]] = ("virtualenv_dir", "is_virtualenv_dir_temporary")
    warm_setting: ClassVar[str] = "virtualenv_warm_dbt"
    _environment: Environment | None = None
    _environments: ExitStack | None = None
    _was_replaced = False
    _temporary: Path | None = None

    def __init__(
        self,
        py_requirements: list[str] | None = None,
        pip_install_options: list[str] | None = None,
        py_system_site_packages: bool = False,
        virtualenv_dir: Path | str | None = None,
        is_virtualenv_dir_temporary: bool | str = False,
        py_executable: str | None = None,
        **kwargs: Any,
    ) -> None:
        given = {"py_requirements": py_requirements, "pip_install_options": pip_install_options}
        arguments = resolve.VirtualenvArguments.of(given)  # refuses what cannot be, as does the next
        resolve.kept_directory(virtualenv_dir, is_temporary=False)
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
        )
        if not py_requirements:
            self.log.error("Cosmos virtualenv operators require the `py_requirements` parameter")

    if TYPE_CHECKING:
        py_requirements: list[str]
        pip_install_options: list[str]
        py_system_site_packages: bool
        py_executable: str | None
        virtualenv_dir: str | None
        is_virtualenv_dir_temporary: bool | str

    @property
    def kept_directory(self) -> Path | None:
        """Where this task's environment is kept; None when it gets a temporary one."""
        return resolve.kept_directory(self.virtualenv_dir, self.is_virtualenv_dir_temporary)

    @contextmanager
    def _dbt_ready(self) -> Iterator[None]:
        with ExitStack() as environments:
            self._environments = environments
            self._was_replaced = False
            self._take_environment()
            try:
                yield
            finally:
                self._environment = self._environments = None

    def _take_environment(self, *, instead_of: Damaged | None = None) -> None:
        """Have an environment until ``_dbt_ready`` ends."""
        assert self._environments is not None  # noqa: S101 - set by the only caller of this and of what calls it
        self._environment = self._environments.enter_context(
            resolve.managed_environment(
                resolve.VirtualenvArguments.of(vars(self)),
                self.kept_directory,
                cancellation=self._cancellation or Cancellation(),
                report=self.log.info,
                warn=self.log.warning,
                instead_of=instead_of,
            )
        )
        self._temporary = self._environment.path if self._environment.is_temporary else None

    def _start(self, command: list[str], run: Run, *, keep_open: tuple[int, ...] = ()) -> DbtResult:
        """As for the local operator. Where dbt fails for files that its environment has lost, another one is built.

        dbt then starts again there, unless it may have done something already: no command runs twice.
        """
        from cosmos_venv.dbt.results import did_nothing, may_lack_files, tells_of_code
        from cosmos_venv.dbt.workspace import Outputs

        artifacts = Outputs.of(run.place, run.env, command).artifacts()
        try:
            result = super()._start(command, run, keep_open=keep_open)
        except DbtNotStarted:
            if (damaged := self._damage(content=True)) is None:
                raise
            self._replace(damaged, "dbt starts there.")
            return super()._start(command, run, keep_open=keep_open)
        result = cast("FullOutputSubprocessResult", result)  # its mode is always SUBPROCESS
        code, lines = result.exit_code, result.full_output
        if not may_lack_files(code, artifacts, lines=lines):
            return result
        if (damaged := self._damage(content=tells_of_code(code, lines=lines))) is None:
            return result
        has_broken_script = any(fault.startswith("bin/dbt ") for fault in damaged.faults)
        if not did_nothing(artifacts, lines=lines, has_broken_script=has_broken_script):
            self._replace(damaged, "This dbt had begun its work, so the task's next try is the first one there.")
            return result
        self._replace(damaged, "This dbt had not begun its work, so it starts there once more.")
        return super()._start(command, run, keep_open=keep_open)

    def _damage(self, *, content: bool) -> Damaged | None:
        """What the environment has lost; None when nothing, or when another one has taken its place already."""
        if self._environment is None or self._was_replaced or self.kept_directory is None:
            return None
        return resolve.damage_of(self._environment, content=content)

    def _replace(self, damaged: Damaged, then: str) -> None:
        """:param then: a sentence that says what becomes of dbt.
        :raises VirtualenvError: when no other environment can be had.
        """
        assert self.kept_directory is not None  # noqa: S101 - what is temporary is never damaged
        self._was_replaced = True
        self.log.warning("%s %s %s", damaged, resolve.advice_about(damaged, self.kept_directory), then)
        try:
            self._take_environment(instead_of=damaged)
        except VirtualenvError as error:
            raise type(error)(f"{damaged} No other one can be had. {error}") from error

    def run_subprocess(
        self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run one dbt command with the dbt of the environment, whatever dbt the command names."""
        if self._environment is None:
            raise AirflowException("run_subprocess needs the environment that run_command prepares: call run_command.")
        keep_open = (*self._environment.keep_open, *kwargs.pop("keep_open", ()))
        self.log.info("Using Python binary from virtualenv: %s", self._environment.python)
        return super().run_subprocess(
            [str(self._environment.script("dbt")), *command[1:]],
            resolve.without_worker_python(env),
            cwd,
            keep_open=keep_open,
            **kwargs,
        )

    def _why_not_started(self, executable: str, error: OSError) -> str:
        environment = self._environment
        return (
            resolve.why_not_started(environment, error) if environment else super()._why_not_started(executable, error)
        )

    def _starts_warm(self) -> bool:
        return self.kept_directory is not None and super()._starts_warm()

    def _served(self, executable: str) -> Served:
        from cosmos_venv.managed import warm_start

        environment = self._environment
        return warm_start.Served.of_environment(environment) if environment else super()._served(executable)

    def execute(self, context: Context, **kwargs: Any) -> Any:
        """Run the command to its end; a temporary environment is gone then.

        :raises AirflowException: when dbt failed, or its environment cannot be had.
        """
        try:
            return super().execute(context, **kwargs)
        finally:
            self.clean_dir_if_temporary()

    def clean_dir_if_temporary(self) -> None:
        """Delete what is left of this operator's temporary environment. What stood anywhere before is not touched."""
        left, self._temporary = self._temporary, None
        if left is not None and left.exists():
            self.log.info("Deleting the Python virtualenv %s", left)
            scratch.remove(left)

    def _which_dbt(self, executable: str, mode: InvocationMode) -> str:
        return self._environment.digest if self._environment else super()._which_dbt(executable, mode)

    def _which_dbt_will_run(self, executable: str) -> str | None:
        # Another Python would have to be asked what it is.
        return None if self.py_executable else resolve.VirtualenvArguments.of(vars(self)).spec().digest

    def _packages_directory(self) -> Path | None:
        return self.kept_directory

    @contextmanager
    def _failing_as_a_task(self) -> Iterator[None]:
        try:
            with super()._failing_as_a_task():
                yield
        except VirtualenvLockTimeout as error:
            raise CosmosVirtualenvLockTimeout(str(error)) from None
        except VirtualenvError as error:
            raise AirflowException(str(error)) from None


def _tell_what_is_ignored(arguments: Mapping[str, Any]) -> None:
    mode = arguments.get("invocation_mode")
    ignored = {
        "invocation_mode": None if mode in (InvocationMode.SUBPROCESS, InvocationMode.SUBPROCESS.value) else mode,
        "dbt_executable_path": arguments.get("dbt_executable_path"),
    }
    for name, value in ignored.items():
        if value is not None:
            warnings.warn(
                f"{name}={value!s} is ignored: a virtualenv operator starts the dbt of its own environment as a "
                "process. Drop it, or take the local operator.",
                UserWarning,
                stacklevel=4,
            )


class DbtBuildVirtualenvOperator(DbtVirtualenvBaseOperator, DbtBuildLocalOperator):
    """``dbt build`` in a managed environment."""


class DbtLSVirtualenvOperator(DbtVirtualenvBaseOperator, DbtLSLocalOperator):
    """``dbt ls`` in a managed environment."""


class DbtSeedVirtualenvOperator(DbtVirtualenvBaseOperator, DbtSeedLocalOperator):
    """``dbt seed`` in a managed environment."""


class DbtSnapshotVirtualenvOperator(DbtVirtualenvBaseOperator, DbtSnapshotLocalOperator):
    """``dbt snapshot`` in a managed environment."""


class DbtSourceVirtualenvOperator(DbtVirtualenvBaseOperator, DbtSourceLocalOperator):
    """``dbt source freshness`` in a managed environment."""


class DbtRunVirtualenvOperator(DbtVirtualenvBaseOperator, DbtRunLocalOperator):
    """``dbt run`` in a managed environment."""


class DbtTestVirtualenvOperator(DbtVirtualenvBaseOperator, DbtTestLocalOperator):
    """``dbt test`` in a managed environment."""


class DbtRunOperationVirtualenvOperator(DbtVirtualenvBaseOperator, DbtRunOperationLocalOperator):
    """``dbt run-operation`` in a managed environment."""


class DbtDocsVirtualenvOperator(DbtVirtualenvBaseOperator, DbtDocsLocalOperator):
    """``dbt docs generate`` in a managed environment."""


class DbtCloneVirtualenvOperator(DbtVirtualenvBaseOperator, DbtCloneLocalOperator):
    """``dbt clone`` in a managed environment."""


if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
