"""DAGs of ExecutionMode.WATCHER in a stack that runs: three models, of which each reads the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv import FakeVenv
from tests.operators.executors import Running
from tests.operators.real_scheduler import wait_until

NODES = ("staging", "mart", "report")
PRODUCER, DONE = "dbt_producer_watcher", "dbt_producer_watcher_done"


def make_three_models(dbt_project: Path) -> None:
    """Give the project three models in place of what it has.

    :param dbt_project: its folder.
    """
    for file in (*(dbt_project / "models").rglob("*.sql"), *(dbt_project / "seeds").iterdir()):
        file.unlink()
    (dbt_project / "models" / "staging.sql").write_text("select 1 as id")
    (dbt_project / "models" / "mart.sql").write_text("select * from {{ ref('staging') }}")
    (dbt_project / "models" / "report.sql").write_text("select * from {{ ref('mart') }}")


@dataclass
class Watched:
    """A stack whose DAGs watch three models of which each reads the one before, and the dbt that they run."""

    stack: Running
    dbt: FakeVenv

    def begin(self, dag_id: str) -> None:
        """Let a DAG run; what was called before is forgotten."""
        self.before = len(self.dbt.calls)
        self.stack.unpause(dag_id)

    def act(self, act: Callable[[], None], dag_id: str) -> None:
        """Do something by which a run that has ended goes on; what was called before is forgotten.

        :param act: does it.
        :param dag_id: of the run.
        """
        self.before = len(self.dbt.calls)
        act()
        goes_on = f"select 1 from dag_run where dag_id = '{dag_id}' and state in ('queued', 'running')"  # noqa: S608
        assert self.stack.airflow.ask(goes_on)

    def states(self, dag_id: str) -> dict[str, str]:
        """The states of the producer, of the task behind it, and of the models by name."""
        return {task_id.removesuffix("_run"): state for task_id, state in self.stack.states(dag_id).items()}

    def end(self, dag_id: str) -> tuple[str, dict[str, str]]:
        """The state of the run when it is over, and those of its tasks."""
        ended = f"select state from dag_run where dag_id = '{dag_id}' and state in ('success', 'failed')"  # noqa: S608
        wait_until(lambda: bool(self.stack.airflow.ask(ended)), f"{dag_id} ends", self.stack.airflow)
        return self.stack.airflow.ask(ended)[0][0], self.states(dag_id)

    def commands(self) -> list[tuple[str | None, set[str]]]:
        """What dbt was called for since the DAG has begun, and the nodes that it was told."""
        calls = [call for call in self.dbt.calls[self.before :] if call.command != "ls"]
        return [(each.command, {word.rpartition(".")[2] for word in each.arguments} & {*NODES}) for each in calls]
