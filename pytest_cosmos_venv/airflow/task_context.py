"""The context of a task that runs with nothing of Airflow around it.

The names are those of Airflow's "Templates reference" that need no database: names about earlier runs, Variables,
connections and consumers of assets are missing. XComs stay with the task instance.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from pytest_cosmos_venv.airflow import clock
from pytest_cosmos_venv.airflow.versions import this_airflow

_NUMBERS = itertools.count(1)
RETURNED = "return_value"
"""The key of the XCom that ``xcom_pull`` gives where no key is named."""


def dag_around(operator: Any) -> None:
    """Give an operator a DAG, since every task that Airflow runs has one.

    :param operator: an operator without a DAG.
    """
    from airflow import DAG

    dag_class: Any = DAG
    dag_id = f"cosmos_airflow_run_{next(_NUMBERS)}"
    dag_class(dag_id, schedule=None, start_date=datetime(1970, 1, 2, tzinfo=timezone.utc)).add_task(operator)


def context_without_airflow(operator: Any, run_id: str) -> dict[str, Any]:
    """Return the context of the first try of a task, in a manual run that starts now.

    :param operator: an operator; one without a DAG gets one.
    :param run_id: the id of the run.
    """
    import pendulum

    if not operator.has_dag():
        dag_around(operator)
    when = pendulum.instance(clock.now() or datetime.now(timezone.utc))
    kept = TaskXComs(operator.task_id)
    instance, run = this_airflow().instance_without_airflow(operator, run_id, when)
    instance.xcom_push, instance.xcom_pull = kept.push, kept.pull
    context = {
        "dag": operator.dag,
        "task": operator,
        "ti": instance,
        "task_instance": instance,
        "task_instance_key_str": f"{operator.dag_id}__{operator.task_id}__{when:%Y%m%d}",
        "dag_run": run,
        "run_id": run_id,
        "params": operator.params.dump(),
        "inlets": operator.inlets,
        "outlets": operator.outlets,
        "map_index_template": operator.map_index_template,
        "data_interval_start": when,
        "data_interval_end": when,
        "logical_date": when,
        **({"execution_date": when} if hasattr(instance, "execution_date") else {}),  # Airflow 2
        "ds": f"{when:%Y-%m-%d}",
        "ds_nodash": f"{when:%Y%m%d}",
        "ts": when.isoformat(),
        "ts_nodash": f"{when:%Y%m%dT%H%M%S}",
        "ts_nodash_with_tz": when.isoformat().replace("-", "").replace(":", ""),
    }
    instance.get_template_context = lambda *_, **__: context
    return context


def export(context: Mapping[str, Any]) -> None:
    """Put the variables of a context, ``AIRFLOW_CTX_DAG_ID`` and so on, into the environment of this process.

    :param context: the context of a task.
    """
    os.environ.update(this_airflow().exported(context))


class TaskXComs:
    """The XComs of one task, for that task alone: there is no database.

    :param task_id: the id of the task.
    """

    def __init__(self, task_id: str) -> None:
        self._task_id = task_id
        self._kept: dict[str, Any] = {}

    def push(self, key: str, value: Any, *_: Any, **__: Any) -> None:
        """Keep a value; other arguments of Airflow's ``xcom_push`` have no effect.

        :param key: the key of the XCom.
        :param value: the value.
        """
        self._kept[key] = value

    def pull(
        self,
        task_ids: str | Sequence[str] | None = None,
        dag_id: str | None = None,  # noqa: ARG002 - it may be given by its place
        key: str = RETURNED,
        *_: Any,
        default: Any = None,
        **__: Any,
    ) -> Any:
        """Return a value of this task, or ``default`` for another task, which has not run; a list where several are
        named.

        :param task_ids: one id or several; None: the task itself.
        :param dag_id: has no effect, since there is one DAG.
        :param key: the key of the XCom.
        :param default: returned where there is no such value.
        """
        if task_ids is None or isinstance(task_ids, str):
            return self._kept.get(key, default) if task_ids in (None, self._task_id) else default
        return [self._kept.get(key, default) if task_id == self._task_id else default for task_id in task_ids]
