"""How does a dbt command run on the worker itself? In a workspace of its own, with a profile made for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import managed, scratch
from cosmos_venv.compat import AirflowException, AirflowSkipException, to_boolean
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt import runner
from cosmos_venv.dbt.command import CommandFlags, Selection, vars_flags
from cosmos_venv.dbt.package_files import has_packages
from cosmos_venv.dbt.process import FullOutputSubprocessResult, run_dbt
from cosmos_venv.dbt.results import Artifacts, failure_text
from cosmos_venv.dbt.workspace import (
    artifacts_of,
    descriptors_of,
    downloading_in_place,
    require_project,
    workspace,
    written_in_place,
)
from cosmos_venv.exceptions import CommandKilled, CosmosLoadDbtException, CosmosValueError
from cosmos_venv.guarded import Cancellation
from cosmos_venv.operators.base import AbstractDbtBase
from cosmos_venv.operators.outcome import Outcome, require_place_for
from cosmos_venv.started_guard import started_ahead

DbtResult = FullOutputSubprocessResult | runner.DbtRunnerResult

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.partial_parse import ParsedProject


class LocalRun(AbstractDbtBase):
    """The part of a local operator that runs; its parameters are those of ``DbtLocalBaseOperator``."""

    own_template_fields: ClassVar[tuple[str, ...]] = ("compiled_sql", "freshness", "install_deps")
    template_fields_renderers: ClassVar[dict[str, str]] = {"compiled_sql": "sql", "freshness": "json"}
    #: what dbt made of the selection, for Airflow's page of rendered fields; written by the task.
    compiled_sql = ""
    freshness = ""
    _cancellation: Cancellation | None = None
    _has_run = False

    if TYPE_CHECKING:
        emit_datasets: bool
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
        cache_dir: str | Path | None
        install_deps: bool | str
        copy_dbt_packages: bool | None
        manifest_filepath: str | Path
        dbt_cmd_flags: CommandFlags
        callback: Callable[..., object] | str | Sequence[Callable[..., object] | str] | None
        callback_args: Mapping[str, Any]
        should_store_compiled_sql: bool
        should_upload_compiled_sql: bool | None
        push_run_results_to_xcom: bool
        dbt_runner_callbacks: Sequence[Callable[[Any], object]] | None
        calls_back_without_warnings: bool
        cancel_query_on_kill: bool
        invocation_mode: InvocationMode | None

    def build_and_run_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Sequence[str] | None = None, **kwargs: Any
    ) -> FullOutputSubprocessResult:
        # A kill before the first run counts: Airflow may kill while it still renders templates. After one it is late.
        if self._has_run or self._cancellation is None:
            self._cancellation = Cancellation()
        self._has_run = True
        with self._failing_as_a_task():
            return super().build_and_run_cmd(context, cmd_flags, **kwargs)

    def run_command(
        self, cmd: list[str], env: dict[str, str], context: Context | Mapping[str, Any], **kwargs: Any
    ) -> FullOutputSubprocessResult:
        """Run the command in a workspace, with its profile; ``dbt deps`` first where that is wanted.

        :param kwargs: ``push_run_results_to_xcom``, as the parameter of the operator.
        :raises AirflowException: when dbt fails.
        """
        project_dir = Path(self.project_dir)
        require_project(project_dir)
        require_place_for(self)
        wants_deps = to_boolean(self.install_deps) and has_packages(project_dir)
        with (
            started_ahead(1 if self._chosen_mode() is InvocationMode.SUBPROCESS else 0),
            self.profile_config.ensure_profile() as (profile, secrets),
            self._dbt_ready(),
            workspace(
                project_dir,
                install_deps=wants_deps,
                copies_packages=managed.copies_packages(self.copy_dbt_packages),
                manifest=Path(self.manifest_filepath) if self.manifest_filepath else None,
                parsed=self._parsed_project(profile),
            ) as place,
        ):
            place_flags = ["--project-dir", str(place), *self.profile_config.flags(profile)]
            env = written_in_place(place, {**env, **secrets})
            artifacts = artifacts_of(place, env)
            held = (*descriptors_of(place), *scratch.descriptors_of(profile.parent))
            deps = [cmd[0], "deps", *place_flags, *vars_flags(self.vars)]
            with self._packages_installed(deps, env, place, held) if wants_deps else nullcontext(()) as packages:
                command = [*cmd, *place_flags]
                result = self._run(command, env, place, keep_open=(*held, *packages))
            self._settle(
                result,
                Outcome(
                    operator=self,
                    context=context,
                    place=place,
                    artifacts=artifacts,
                    profiles_yml=profile,
                    env=env,
                    pushes_run_results=bool(kwargs.get("push_run_results_to_xcom")),
                ),
            )
        return result

    def _settle(self, result: DbtResult, outcome: Outcome) -> None:
        """Do what is left to do after dbt, and fail where it has failed."""
        try:
            self.handle_exception(result, outcome.artifacts)
        except Exception:
            outcome.tell(failed=True)
            raise
        outcome.tell(failed=False)
        self._after_success(outcome)
        outcome.tell_of_warnings(getattr(result, "full_output", ()))

    def _after_success(self, outcome: Outcome) -> None:
        """What else this command owes its user, while the folder in which dbt ran is still there."""

    @contextmanager
    def _packages_installed(
        self, deps: list[str], env: dict[str, str], place: Path, held: tuple[int, ...]
    ) -> Iterator[tuple[int, ...]]:
        """Within this block the project's packages are in ``place``: kept ones, else those that ``deps`` installs."""

        def install() -> None:
            env_of_deps = downloading_in_place(place, env)
            artifacts = artifacts_of(place, env)
            self.handle_exception(self._run(deps, env_of_deps, place, keep_open=held), artifacts)

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
            folder=Path(self.cache_dir) if self.cache_dir else None,
        )

    def _which_dbt(self) -> str:
        """A text that differs where the dbt may be another one."""
        return self.dbt_executable_path

    def _run(self, command: list[str], env: dict[str, str], place: Path, *, keep_open: tuple[int, ...]) -> DbtResult:
        if self._chosen_mode() is InvocationMode.SUBPROCESS:
            return self.run_subprocess(command, env, str(place), keep_open=keep_open)
        return self.run_dbt_runner(command, env, str(place))

    def _chosen_mode(self) -> InvocationMode:
        """How dbt is started here: as it was given, else in a way that makes no difference to which dbt it is."""
        if self.invocation_mode is not None:
            return self.invocation_mode
        # Most workers have none, and so need to know nothing else.
        is_here = runner.is_importable() and runner.is_same_dbt(shutil.which(self.dbt_executable_path))
        return InvocationMode.DBT_RUNNER if is_here else InvocationMode.SUBPROCESS

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> DbtResult:
        """Run one dbt command in this process.

        :param command: its first element, the executable, is not used.
        :return: dbt's own ``dbtRunnerResult``.
        :raises CosmosDbtRunError: when dbt cannot be imported.
        """
        self.log.info("Running %s in this process", " ".join(["dbt", *command[1:]]))
        return runner.run_in_process(
            command[1:],
            env=env,
            cwd=Path(cwd),
            callbacks=self.dbt_runner_callbacks or (),
            cancellation=self._cancellation,
        )

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
                cancels_queries=self.cancel_query_on_kill,
                **kwargs,
            )
        except OSError as error:
            raise AirflowException(
                f"dbt_executable_path={command[0]!r} cannot be started: {error.strerror}. Install dbt there, name "
                "another, or use ExecutionMode.VIRTUALENV, which installs dbt itself."
            ) from error
        self.log.info("Command exited with return code %s", result.exit_code)
        return result

    def handle_exception(self, result: DbtResult, artifacts: Artifacts) -> None:
        """Turn what came of dbt into what Airflow understands.

        :param artifacts: they say which nodes failed, and why.
        :raises AirflowException: when a dbt process failed.
        :raises AirflowSkipException: when it ended with ``skip_exit_code``.
        :raises CosmosDbtRunError: when a dbt in this process failed.
        """
        if not isinstance(result, FullOutputSubprocessResult):
            runner.raise_for(result, artifacts)
        elif self.skip_exit_code is not None and result.exit_code == self.skip_exit_code:
            raise AirflowSkipException(f"dbt command returned exit code {self.skip_exit_code}. Skipping.")
        elif result.exit_code:
            reason = failure_text(artifacts, lines=result.full_output)
            raise AirflowException(
                f"dbt command failed. The command returned a non-zero exit code {result.exit_code}.\n{reason}"
            )

    def on_kill(self) -> None:
        """End dbt and all it started: SIGINT (``cancel_query_on_kill``), then SIGTERM, then SIGKILL."""
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
