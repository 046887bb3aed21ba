"""How is one dbt command started on the worker? As a process under a guard, or inside the worker's own.

What only a run needs is imported by the run: a DAG file is parsed far more often.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import AirflowException, AirflowSkipException
from cosmos_venv.constants import InvocationMode
from cosmos_venv.guarded import Cancellation
from cosmos_venv.operators.base import AbstractDbtBase

if TYPE_CHECKING:
    from cosmos_venv.config import ProfileConfig
    from cosmos_venv.dbt.process import FullOutputSubprocessResult
    from cosmos_venv.dbt.results import Artifacts
    from cosmos_venv.dbt.runner import DbtRunnerResult

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
        from cosmos_venv.dbt import runner

        if self.invocation_mode is not None:
            return self.invocation_mode
        # Most workers have none, and so need to know nothing else.
        is_here = runner.is_importable() and runner.is_same_dbt(shutil.which(executable))
        return InvocationMode.DBT_RUNNER if is_here else InvocationMode.SUBPROCESS

    def _which_dbt(self, executable: str, mode: InvocationMode) -> str:
        """A text that differs where the dbt may be another one, without starting it.

        The same for both ways to start one dbt: what ``dbt ls`` has kept while the DAG was parsed is the tasks' too.
        """
        from cosmos_venv.dbt import installed, runner

        is_that = mode is InvocationMode.SUBPROCESS or (shutil.which(executable) and runner.is_same_dbt(executable))
        return installed.identity_of(executable) if is_that else installed.in_this_python()

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> DbtResult:
        """Run one dbt command in this process.

        :param command: its first element, the executable, is not used.
        :return: dbt's own ``dbtRunnerResult``.
        :raises CosmosDbtRunError: when dbt cannot be imported.
        """
        from cosmos_venv.dbt import runner

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

        :param kwargs: ``keep_open``: descriptors held until the last process of the command is gone; ``start``: what
            starts it, instead of a guard.
        :raises DbtNotStarted: when the executable cannot be started.
        """
        from cosmos_venv.dbt.process import run_dbt
        from cosmos_venv.environments import credentials

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
        from cosmos_venv.dbt import runner
        from cosmos_venv.dbt.process import FullOutputSubprocessResult
        from cosmos_venv.dbt.results import failure_text
        from cosmos_venv.environments import credentials

        if not isinstance(result, FullOutputSubprocessResult):
            runner.raise_for(result, artifacts)
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
