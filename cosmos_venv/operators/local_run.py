"""How does a dbt command run on the worker itself? In a workspace of its own, with a profile made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import managed, os_errors
from cosmos_venv.compat import AirflowException, to_boolean
from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt.command import CommandFlags, Flags, Selection, vars_flags
from cosmos_venv.exceptions import CommandKilled, CosmosLoadDbtException, CosmosValueError
from cosmos_venv.guarded import Cancellation
from cosmos_venv.operators.warm_starts import WarmStarts

if TYPE_CHECKING:
    from airflow.sdk import Context

    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.packages import ProjectPackages
    from cosmos_venv.dbt.partial_parse import ParsedProject
    from cosmos_venv.dbt.process import FullOutputSubprocessResult
    from cosmos_venv.operators.invocation import DbtResult
    from cosmos_venv.operators.outcome import Outcome


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
        from cosmos_venv import scratch
        from cosmos_venv.dbt.outputs import Outputs, named_folders
        from cosmos_venv.dbt.package_files import has_packages
        from cosmos_venv.dbt.workspace import descriptors_of, require_project
        from cosmos_venv.operators.outcome import Outcome, require_place_for
        from cosmos_venv.started_guard import started_ahead

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

        return workspace(
            Path(self.project_dir),
            install_deps=wants_deps,
            copies_packages=managed.copies_packages(self.copy_dbt_packages),
            manifest=Path(self.manifest_filepath) if self.manifest_filepath else None,
            parsed=parsed,
            environment=env,
        )

    def _state_flags(self, context: Context | Mapping[str, Any], place: Path) -> list[str]:
        if not (self.state or self.defer_to_state or self.favor_state):
            return []
        from cosmos_venv.operators.state import state_flags  # few tasks need it

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
            from cosmos_venv.operators.state import keep_success

            keep_success(self, outcome.context, outcome.artifacts)

    def _after_success(self, outcome: Outcome) -> None:
        """What else this command owes its user, while the folder in which dbt ran is still there."""

    @contextmanager
    def _packages_installed(self, run: Run, failed: list[Exception]) -> Iterator[tuple[int, ...]]:
        """Within this block the project's packages are in the workspace: kept ones, else ``dbt deps`` installs them.

        :param failed: gets what a ``dbt deps`` that failed raises.
        """

        from cosmos_venv.dbt.outputs import Outputs, downloading_in_place

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
        return managed.project_packages(
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
        if not self.partial_parse:
            return None
        return managed.parsed_project(
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
