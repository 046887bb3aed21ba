"""May the dbt of a task be forked from a process that has imported it? What the operator says, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from cosmos_venv import managed
from cosmos_venv.compat import count
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.guarded import Cancellation
from cosmos_venv.operators.invocation import DbtInvocation, DbtNotStarted


class WarmStarts(DbtInvocation):
    """The part of a local operator that decides it for each command."""

    #: the one of ``[cosmos_venv]`` that counts where the operator says nothing.
    warm_setting: ClassVar[str] = "local_warm_dbt"

    if TYPE_CHECKING:
        warm_dbt: str | None
        warm_dbt_keeps_project: bool | None

    def _warm_choice(self) -> str:
        return managed.warm_choice(self.warm_dbt, setting=self.warm_setting)

    def _starts_warm(self) -> bool:
        """Whether commands may need no guard."""
        return self._warm_choice() != "off"

    def _served(self, executable: str) -> managed.Served:
        """What a server for this command would import."""
        return managed.Served.of_executable(executable)

    def _how_to_start(self, executable: str) -> dict[str, Any]:
        """For ``run_subprocess``; nothing where commands are plain processes."""
        choice = self._warm_choice()
        if choice == "off":
            return {}  # most tasks need to know no more of it
        start = managed.warm_start(
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
