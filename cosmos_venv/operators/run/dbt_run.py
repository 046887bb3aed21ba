"""DbtRun and the one function that runs it.

How is one dbt command started on the worker? As a process under a guard, or inside the worker's own.

What only a run needs is imported by the run: a DAG file is parsed far more often.

May the dbt of a task be forked from a process that has imported it? What the operator says, and what is counted.

How does a dbt command run on the worker itself? In a workspace of its own, with a profile made for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv.compat import AirflowException, AirflowSkipException, count, to_boolean
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import CommandFlags, Flags, Selection, vars_flags
from cosmos_venv.exceptions import CommandKilled, CosmosLoadDbtException, CosmosValueError, NotWarm
from cosmos_venv.files import os_errors
from cosmos_venv.operators.base import AbstractDbtBase
from cosmos_venv.processes.guarded_process import Cancellation

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.invocation import FullOutputSubprocessResult
    from cosmos_venv.dbt.packages import ProjectPackages
    from cosmos_venv.dbt.partial_parse import ParsedProject
    from cosmos_venv.managed.warm_start import Served
    from cosmos_venv.operators.run.post_run import Outcome


if TYPE_CHECKING:
    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.invocation import DbtRunnerResult, FullOutputSubprocessResult
    from cosmos_venv.dbt.results import Artifacts

    DbtResult = FullOutputSubprocessResult | DbtRunnerResult


class DbtNotStarted(AirflowException):
    """No dbt could be started, so nothing of the command has run."""


class DbtInvocation(AbstractDbtBase):
    """The part of a local operator that starts dbt and judges how it ended."""

    _cancellation: Cancellation | None = None

    if TYPE_CHECKING:
        output_encoding: str
        skip_exit_code: int | None
        dbt_runner_callbacks: Sequence[Callable[[Any], object]] | None
        cancel_query_on_kill: bool
        invocation_mode: InvocationMode | None
        profile_config: ProfileConfig

    def _found(self, executable: str) -> str:
        """The whole path where the worker finds it: dbt runs in another folder, and it may be without any PATH."""
        found = shutil.which(executable)
        return str(Path(found).absolute()) if found else executable

    def _chosen_mode(self, executable: str) -> InvocationMode:
        """How dbt is started here: as it was given, else in a way that makes no difference to which dbt it is."""
        from cosmos_venv.dbt import invocation

        if self.invocation_mode is not None:
            return self.invocation_mode
        # Most workers have none, and so need to know nothing else.
        is_here = invocation.is_importable() and invocation.is_same_dbt(shutil.which(executable))
        return InvocationMode.DBT_RUNNER if is_here else InvocationMode.SUBPROCESS

    def _which_dbt(self, executable: str, mode: InvocationMode) -> str:
        """A text that differs where the dbt may be another one, without starting it.

        The same for both ways to start one dbt: what ``dbt ls`` has kept while the DAG was parsed is the tasks' too.
        """
        from cosmos_venv.dbt import installation, invocation

        is_that = mode is InvocationMode.SUBPROCESS or (shutil.which(executable) and invocation.is_same_dbt(executable))
        return installation.identity_of(executable) if is_that else installation.in_this_python()

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> DbtResult:
        """Run one dbt command in this process.

        :param command: its first element, the executable, is not used.
        :return: dbt's own ``dbtRunnerResult``.
        :raises CosmosDbtRunError: when dbt cannot be imported.
        """
        from cosmos_venv.dbt import invocation

        self.log.info("Running %s in this process", " ".join(["dbt", *command[1:]]))
        return invocation.run_in_process(
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

        :param kwargs: ``keep_open``: descriptors held until the last process of the command is gone; ``start``: what
            starts it, instead of a guard.
        :raises DbtNotStarted: when the executable cannot be started.
        """
        from cosmos_venv import credentials
        from cosmos_venv.dbt.invocation import run_dbt

        def log(line: str) -> None:
            # dbt deps names the addresses of packages; what other commands say may be data.
            self.log.info(credentials.mask(line) if "deps" in command[1:2] else line)

        self.log.info("Running %s", " ".join(command))
        try:
            result = run_dbt(
                command,
                env=env,
                cwd=Path(cwd),
                on_line=log,
                cancellation=self._cancellation,
                encoding=self.output_encoding,
                cancels_queries=self.cancel_query_on_kill,
                **kwargs,
            )
        except OSError as error:
            if error.filename != command[0]:  # of the guard, the worker or the folder
                raise
            raise DbtNotStarted(self._why_not_started(command[0], error)) from error
        self.log.info("Command exited with return code %s", result.exit_code)
        return result

    def _why_not_started(self, executable: str, error: OSError) -> str:
        return (
            f"dbt_executable_path={executable!r} cannot be started: {error.strerror}. Install dbt there, name "
            "another, or use ExecutionMode.VIRTUALENV, which installs dbt itself."
        )

    def handle_exception(self, result: DbtResult, artifacts: Artifacts) -> None:
        """Turn what came of dbt into what Airflow understands.

        :param artifacts: they say which nodes failed, and why.
        :raises AirflowException: when a dbt process failed.
        :raises AirflowSkipException: when it ended with ``skip_exit_code``.
        :raises CosmosDbtRunError: when a dbt in this process failed.
        """
        from cosmos_venv import credentials
        from cosmos_venv.dbt import invocation
        from cosmos_venv.dbt.invocation import FullOutputSubprocessResult
        from cosmos_venv.dbt.results import failure_text

        if not isinstance(result, FullOutputSubprocessResult):
            invocation.raise_for(result, artifacts)
        elif self.skip_exit_code is not None and result.exit_code == self.skip_exit_code:
            raise AirflowSkipException(f"dbt command returned exit code {self.skip_exit_code}. Skipping.")
        elif result.exit_code:
            reason = credentials.mask(failure_text(artifacts, lines=result.full_output))
            reason += self.profile_config.advice_about(reason)
            raise AirflowException(
                f"dbt command failed. The command returned a non-zero exit code {result.exit_code}.\n{reason}"
            )

    def on_kill(self) -> None:
        """End dbt and all it started: SIGINT (``cancel_query_on_kill``), then SIGTERM, then SIGKILL."""
        self._cancellation = self._cancellation or Cancellation()
        self._cancellation.request()


class WarmStarts(DbtInvocation):
    """The part of a local operator that decides it for each command."""

    #: the one of ``[cosmos_venv]`` that counts where the operator says nothing.
    warm_setting: ClassVar[str] = "local_warm_dbt"

    if TYPE_CHECKING:
        warm_dbt: str | None
        warm_dbt_keeps_project: bool | None

    def _warm_choice(self) -> str:
        from cosmos_venv.managed import warm_start

        return warm_start.warm_choice(self.warm_dbt, setting=self.warm_setting)

    def _starts_warm(self) -> bool:
        """Whether commands may need no guard."""
        return self._warm_choice() != "off"

    def _served(self, executable: str) -> Served:
        """What a server for this command would import."""
        from cosmos_venv.managed import warm_start

        return warm_start.Served.of_executable(executable)

    def _how_to_start(self, executable: str) -> dict[str, Any]:
        """For ``run_subprocess``; nothing where commands are plain processes."""
        from cosmos_venv.managed import warm_start

        choice = self._warm_choice()
        if choice == "off":
            return {}  # most tasks need to know no more of it
        start = warm_start.warm_start(
            self._served(executable),
            choice=choice,
            keeps_project=self.warm_dbt_keeps_project,
            runs_as_another=bool(self.run_as_user),
            cancellation=self._cancellation or Cancellation(),
            report=self.log.info,
            count=self._tell_start,
        )
        return {"start": start}

    def _tell_that_dbt_is_imported_here(self) -> None:
        """With DBT_RUNNER each task pays the import, in its own process.

        :raises DbtNotStarted: where dbt is required to start warm.
        """
        choice = self._warm_choice()
        if choice == "off":
            return
        self._tell_start("runner")
        if choice == "require":
            with self._saying_who_wants_it_warm():
                raise NotWarm("runner", "with DBT_RUNNER the task imports dbt itself; SUBPROCESS can start warm")

    def _tell_start(self, how: str) -> None:
        """By Airflow's metrics; a warm one in the log too, where a cold one stands already with its reason."""
        tags = {"dag_id": self.dag_id, "task_id": self.task_id}
        if how == "warm":
            self.log.info("dbt starts warm: it is forked from a process that has imported it.")
            count("cosmos_venv.dbt.warm", tags)
        else:
            count("cosmos_venv.dbt.cold", {**tags, "reason": how})

    @contextmanager
    def _saying_who_wants_it_warm(self) -> Iterator[None]:
        try:
            yield
        except NotWarm as error:
            raise DbtNotStarted(
                f"dbt cannot start warm: {error}, and warm_dbt or [cosmos_venv] {self.warm_setting} is 'require'. "
                "With 'auto' it starts as a plain process then."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all dbt commands of one task have in common.

    :param mode: how they are started.
    :param flags: by which dbt finds project and profile.
    :param keep_open: descriptors that each of them holds.
    """

    mode: InvocationMode
    executable: str
    which_dbt: str
    place: Path
    flags: Sequence[str]
    env: dict[str, str] = field(repr=False)  # secrets are in it
    keep_open: tuple[int, ...]


class LocalRun(WarmStarts):
    """The part of a local operator that runs; its parameters are those of ``DbtLocalBaseOperator``."""

    own_template_fields: ClassVar[tuple[str, ...]] = (
        *("compiled_sql", "freshness", "install_deps"),
        *("state", "defer_to_state", "favor_state"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"compiled_sql": "sql", "freshness": "json"}
    #: what dbt made of the selection, for Airflow's page of rendered fields; written by the task.
    compiled_sql = ""
    freshness = ""
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
        state: str | None
        state_conn_id: str | None
        defer_to_state: bool | str
        favor_state: bool | str
        calls_back_without_warnings: bool

    def build_and_run_cmd(
        self, context: Context | Mapping[str, Any], cmd_flags: Flags | None = None, **kwargs: Any
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
        from cosmos_venv.dbt.project_files import has_packages
        from cosmos_venv.dbt.workspace import Outputs, descriptors_of, named_folders, require_project
        from cosmos_venv.operators.run.post_run import Outcome, require_place_for
        from cosmos_venv.processes import scratch
        from cosmos_venv.processes.guarded_process import started_ahead

        project_dir = Path(self.project_dir)
        require_project(project_dir)
        require_place_for(self)
        wants_deps = to_boolean(self.install_deps) and has_packages(project_dir)
        executable = self._found(cmd[0])
        mode = self._chosen_mode(executable)
        with (
            started_ahead(1 if mode is InvocationMode.SUBPROCESS and not self._starts_warm() else 0),
            self.profile_config.ensure_profile() as (profile, secrets),
            self._dbt_ready(),
        ):
            which_dbt = self._which_dbt(executable, mode)
            parsed = self._parsed_project(profile, env, which_dbt)
            with self._workspace(parsed, env, wants_deps=wants_deps) as place:
                flags = ["--project-dir", str(place), *self.profile_config.flags(profile)]
                command = [executable, *cmd[1:], *flags, *self._state_flags(context, place)]
                outputs = Outputs.of(place, named_folders(env, self.env or {}), command)
                run = Run(
                    mode=mode,
                    executable=executable,
                    which_dbt=which_dbt,
                    place=place,
                    flags=flags,
                    env=outputs.variables({**env, **secrets}),
                    keep_open=(*descriptors_of(place), *scratch.descriptors_of(profile.parent)),
                )
                outcome = Outcome(
                    operator=self,
                    context=context,
                    place=place,
                    artifacts=outputs.artifacts(),
                    profiles_yml=profile,
                    env=run.env,
                    pushes_run_results=bool(kwargs.get("push_run_results_to_xcom")),
                )
                result = self._result_of(command, run, outcome, wants_deps=wants_deps)
                if parsed is not None:
                    parsed.keep(outcome.artifacts)
                self._settle(result, outcome)
        return result

    def _workspace(
        self, parsed: ParsedProject | None, env: Mapping[str, str], *, wants_deps: bool
    ) -> AbstractContextManager[Path]:
        from cosmos_venv.dbt.workspace import workspace
        from cosmos_venv.managed import project_cache

        return workspace(
            Path(self.project_dir),
            install_deps=wants_deps,
            copies_packages=project_cache.copies_packages(self.copy_dbt_packages),
            manifest=Path(self.manifest_filepath) if self.manifest_filepath else None,
            parsed=parsed,
            environment=env,
        )

    def _state_flags(self, context: Context | Mapping[str, Any], place: Path) -> list[str]:
        if not (self.state or self.defer_to_state or self.favor_state):
            return []
        from cosmos_venv.operators.run.state import state_flags  # few tasks need it

        return state_flags(self, context, place)

    def _result_of(self, command: list[str], run: Run, outcome: Outcome, *, wants_deps: bool) -> DbtResult:
        """What came of the command, with the project's packages there."""
        if not wants_deps:
            return self._start(command, run)
        failed: list[Exception] = []
        try:
            with self._packages_installed(run, failed) as packages:
                return self._start(command, run, keep_open=packages)
        except Exception as error:
            # Here, and not where dbt deps has failed: other tasks wait there until it is their turn.
            if error in failed:
                outcome.tell(failed=True)
            raise

    def _start(self, command: list[str], run: Run, *, keep_open: tuple[int, ...] = ()) -> DbtResult:
        if run.mode is InvocationMode.SUBPROCESS:
            held = (*run.keep_open, *keep_open)
            start = self._how_to_start(run.executable)
            with self._saying_who_wants_it_warm():
                return self.run_subprocess(command, run.env, str(run.place), keep_open=held, **start)
        self._tell_that_dbt_is_imported_here()
        return self.run_dbt_runner(command, run.env, str(run.place))

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
        if self.state:
            from cosmos_venv.operators.run.state import keep_success

            keep_success(self, outcome.context, outcome.artifacts)

    def _after_success(self, outcome: Outcome) -> None:
        """What else this command owes its user, while the folder in which dbt ran is still there."""

    @contextmanager
    def _packages_installed(self, run: Run, failed: list[Exception]) -> Iterator[tuple[int, ...]]:
        """Within this block the project's packages are in the workspace: kept ones, else ``dbt deps`` installs them.

        :param failed: gets what a ``dbt deps`` that failed raises.
        """

        from cosmos_venv.dbt.workspace import Outputs, downloading_in_place

        def install() -> None:
            deps = [run.executable, "deps", *run.flags, *vars_flags(self.vars)]
            artifacts = Outputs.of(run.place, run.env).artifacts()
            result = self._start(deps, replace(run, env=downloading_in_place(run.place, run.env)))
            try:
                self.handle_exception(result, artifacts)
            except Exception as error:
                failed.append(error)
                raise

        with self._packages(run.env, run.which_dbt).installed(
            run.place, install=install, cancellation=self._cancellation or Cancellation(), report=self.log.info
        ) as keep_open:
            yield keep_open

    def packages_before_dbt(self, executable: str, env: Mapping[str, str]) -> ProjectPackages | None:
        """The packages that a command gets which is about to begin; None where its dbt is not known yet.

        :param env: as dbt will get it, but for what its profile adds.
        """
        which_dbt = self._which_dbt_will_run(executable)
        return None if which_dbt is None else self._packages(env, which_dbt)

    def _packages(self, env: Mapping[str, str], which_dbt: str) -> ProjectPackages:
        from cosmos_venv.managed import project_cache

        return project_cache.project_packages(
            Path(self.project_dir), self._packages_directory(), variables=self.vars, env=env, which_dbt=which_dbt
        )

    def _which_dbt_will_run(self, executable: str) -> str | None:
        """As ``_which_dbt``, before it is ready; None where only a process could tell."""
        found = self._found(executable)
        return self._which_dbt(found, self._chosen_mode(found))

    def _packages_directory(self) -> Path | None:
        """Where installed packages are kept; None: below the cache folder."""
        return None

    @contextmanager
    def _dbt_ready(self) -> Iterator[None]:
        """Within this block there is a dbt to run. Entered after everything that can be known without it."""
        yield

    def _parsed_project(self, profiles_yml: Path, env: Mapping[str, str], which_dbt: str) -> ParsedProject | None:
        from cosmos_venv.managed import project_cache

        if not self.partial_parse:
            return None
        return project_cache.parsed_project(
            Path(self.project_dir),
            profiles_yml,
            target_name=self.profile_config.target_name,
            variables=self.vars,
            env=env,
            which_dbt=which_dbt,
            folder=Path(self.cache_dir) if self.cache_dir else None,
        )

    @contextmanager
    def _failing_as_a_task(self) -> Iterator[None]:
        """What went wrong below, as the exception that Airflow shows."""
        try:
            yield
        except CommandKilled as error:
            raise AirflowException(f"Task {self.task_id} was killed; its dbt was ended.") from error
        except (CosmosValueError, CosmosLoadDbtException) as error:
            raise AirflowException(str(error)) from None  # the text says it all, and twice would bury it
        except OSError as error:
            words = os_errors.shortage(error)
            if words is None:
                raise
            raise AirflowException(words) from error
