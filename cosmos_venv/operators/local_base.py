"""How does a dbt command run on the worker itself? In a workspace of its own, with a profile made for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import managed, scratch
from cosmos_venv.compat import AirflowException, AirflowSkipException, to_boolean
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import Selection, vars_flags
from cosmos_venv.dbt.package_files import has_packages
from cosmos_venv.dbt.process import FullOutputSubprocessResult, run_dbt
from cosmos_venv.dbt.results import failure_text
from cosmos_venv.dbt.workspace import (
    descriptors_of,
    downloading_in_place,
    require_project,
    workspace,
    written_in_place,
)
from cosmos_venv.exceptions import CommandKilled, CosmosLoadDbtException, CosmosValueError
from cosmos_venv.guarded import Cancellation
from cosmos_venv.operators.base import (
    AbstractDbtBase,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.partial_parse import ParsedProject


class DbtLocalBaseOperator(AbstractDbtBase):
    """A dbt command as a process of the worker.

    :param project_dir: folder of the dbt project. It is never written to: dbt runs in a folder of links to it.
    :param profile_config: where the profile comes from.
    :param select, exclude, selector, models: dbt's selection, a text or a list of texts (their union).
    :param vars: dbt's ``--vars``, a dict or YAML text.
    :param env: environment variables for dbt; ``append_env`` adds them to the worker's own.
    :param skip_exit_code: an exit code of dbt that skips the task; None: none does.
    :param partial_parse: False adds ``--no-partial-parse``.
    :param dbt_executable_path: the dbt to run; None: the first on PATH.
    :param dbt_cmd_flags: further flags, last of the command; ``dbt_cmd_global_flags`` stand before the sub-command.
    :param install_deps: run ``dbt deps`` before the command where the project lists packages.
    :param extra_context: merged into the task's context.
    """

    own_template_fields: ClassVar[tuple[str, ...]] = ("install_deps",)
    _cancellation: Cancellation | None = None
    _has_run = False

    def __init__(
        self,
        *,
        task_id: str,
        project_dir: str | Path,
        profile_config: ProfileConfig,
        select: Selection = None,
        exclude: Selection = None,
        selector: Selection = None,
        models: Selection = None,
        vars: Mapping[str, Any] | str | None = None,  # noqa: A002 - Cosmos's name
        indirect_selection: str | None = None,
        no_version_check: bool = False,
        cache_selected_only: bool = False,
        fail_fast: bool = False,
        quiet: bool = False,
        warn_error: bool = False,
        env: Mapping[str, Any] | None = None,
        append_env: bool = True,
        output_encoding: str = "utf-8",
        skip_exit_code: int | None = 99,
        partial_parse: bool = True,
        dbt_executable_path: str | Path | None = None,
        dbt_cmd_flags: Sequence[str] | None = None,
        dbt_cmd_global_flags: Sequence[str] | None = None,
        install_deps: bool | str = True,
        invocation_mode: InvocationMode | None = None,
        extra_context: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        own = self.take_own_parameters(kwargs)
        super().__init__(task_id=task_id, **kwargs)
        # One update instead of an assignment each: Airflow checks every attribute that is assigned.
        self.__dict__.update(
            own,
            project_dir=project_dir,
            profile_config=profile_config,
            select=select,
            exclude=exclude,
            selector=selector,
            models=models,
            vars=vars,
            indirect_selection=indirect_selection,
            no_version_check=no_version_check,
            cache_selected_only=cache_selected_only,
            fail_fast=fail_fast,
            quiet=quiet,
            warn_error=warn_error,
            env=dict(env or {}),
            append_env=append_env,
            output_encoding=output_encoding,
            skip_exit_code=skip_exit_code,
            partial_parse=partial_parse,
            dbt_executable_path=str(dbt_executable_path or "dbt"),
            dbt_cmd_flags=list(dbt_cmd_flags or ()),
            dbt_cmd_global_flags=list(dbt_cmd_global_flags or ()),
            install_deps=install_deps,
            invocation_mode=invocation_mode or InvocationMode.SUBPROCESS,
            extra_context=dict(extra_context or {}),
        )

    if TYPE_CHECKING:
        project_dir: str | Path
        profile_config: ProfileConfig
        select: Selection
        exclude: Selection
        selector: Selection
        models: Selection
        vars: Mapping[str, Any] | str | None
        output_encoding: str
        skip_exit_code: int | None
        partial_parse: bool
        install_deps: bool | str
        invocation_mode: InvocationMode

    def build_and_run_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Sequence[str] | None = None
    ) -> FullOutputSubprocessResult:
        # A kill before the first run counts: Airflow may kill while it still renders templates. After one it is late.
        if self._has_run or self._cancellation is None:
            self._cancellation = Cancellation()
        self._has_run = True
        with self._failing_as_a_task():
            return super().build_and_run_cmd(context, cmd_flags)

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run the command in a workspace, with its profile; ``dbt deps`` first where that is wanted.

        :raises AirflowException: when dbt fails.
        """
        project_dir = Path(self.project_dir)
        require_project(project_dir)
        wants_deps = to_boolean(self.install_deps) and has_packages(project_dir)
        with (
            self.profile_config.ensure_profile() as (profile, secrets),
            self._dbt_ready(),
            workspace(project_dir, install_deps=wants_deps, parsed=self._parsed_project(profile)) as place,
        ):
            place_flags = ["--project-dir", str(place), *self.profile_config.flags(profile)]
            env = written_in_place(place, {**env, **secrets})
            held = (*descriptors_of(place), *scratch.descriptors_of(profile.parent))
            deps = [cmd[0], "deps", *place_flags, *vars_flags(self.vars)]
            with self._packages_installed(deps, env, place, held) if wants_deps else nullcontext(()) as packages:
                command = [*cmd, *place_flags]
                result = self.run_subprocess(command, env, str(place), keep_open=(*held, *packages))
            self.handle_exception(result, place)
        return result

    @contextmanager
    def _packages_installed(
        self, deps: list[str], env: dict[str, str], place: Path, held: tuple[int, ...]
    ) -> Iterator[tuple[int, ...]]:
        """Within this block the project's packages are in ``place``: kept ones, else those that ``deps`` installs."""

        def install() -> None:
            env_of_deps = downloading_in_place(place, env)
            self.handle_exception(self.run_subprocess(deps, env_of_deps, str(place), keep_open=held), place)

        packages = managed.project_packages(
            Path(self.project_dir),
            self._packages_directory(),
            variables=self.vars,
            env=env,
            which_dbt=self._which_dbt(),
        )
        with packages.installed(
            place, install=install, cancellation=self._cancellation or Cancellation(), report=self.log.info
        ) as keep_open:
            yield keep_open

    def _packages_directory(self) -> Path | None:
        """Where installed packages are kept; None: below the cache folder."""
        return None

    @contextmanager
    def _dbt_ready(self) -> Iterator[None]:
        """Within this block there is a dbt to run. Entered after everything that can be known without it."""
        yield

    def _parsed_project(self, profiles_yml: Path) -> ParsedProject | None:
        if not self.partial_parse:
            return None
        return managed.parsed_project(
            Path(self.project_dir),
            profiles_yml,
            target_name=self.profile_config.target_name,
            variables=self.vars,
            which_dbt=self._which_dbt(),
        )

    def _which_dbt(self) -> str:
        """A text that differs where the dbt may be another one."""
        return self.dbt_executable_path

    def run_subprocess(
        self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run one dbt command to its end, its lines streaming into the task's log.

        :param kwargs: ``keep_open``: descriptors held until the last process of the command is gone.
        :raises AirflowException: when the executable cannot be started.
        """
        self.log.info("Running %s", " ".join(command))
        try:
            result = run_dbt(
                command,
                env=env,
                cwd=Path(cwd),
                on_line=self.log.info,
                cancellation=self._cancellation,
                encoding=self.output_encoding,
                **kwargs,
            )
        except OSError as error:
            raise AirflowException(
                f"dbt_executable_path={command[0]!r} cannot be started: {error.strerror}. Install dbt there, name "
                "another, or use ExecutionMode.VIRTUALENV, which installs dbt itself."
            ) from error
        self.log.info("Command exited with return code %s", result.exit_code)
        return result

    def handle_exception(self, result: FullOutputSubprocessResult, place: Path) -> None:
        """Turn an exit code into what Airflow understands.

        :param place: where dbt ran; its target folder says which nodes failed.
        """
        if self.skip_exit_code is not None and result.exit_code == self.skip_exit_code:
            raise AirflowSkipException(f"dbt command returned exit code {self.skip_exit_code}. Skipping.")
        if result.exit_code:
            reason = failure_text(target=place / "target", lines=result.full_output)
            raise AirflowException(
                f"dbt command failed. The command returned a non-zero exit code {result.exit_code}.\n{reason}"
            )

    def on_kill(self) -> None:
        """End dbt and all it started: SIGINT, on which it cancels its queries, then SIGTERM, then SIGKILL."""
        self._cancellation = self._cancellation or Cancellation()
        self._cancellation.request()

    @contextmanager
    def _failing_as_a_task(self) -> Iterator[None]:
        """What went wrong below, as the exception that Airflow shows."""
        try:
            yield
        except CommandKilled as error:
            raise AirflowException(f"Task {self.task_id} was killed; its dbt was ended.") from error
        except (CosmosValueError, CosmosLoadDbtException) as error:
            raise AirflowException(str(error)) from None  # the text says it all, and twice would bury it
