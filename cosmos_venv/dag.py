"""A whole dbt project as an Airflow DAG, or as a group of tasks inside one."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import DAG, TaskGroup
from cosmos_venv.config.validation import refuse_unknown_names
from cosmos_venv.constants import DEFAULT_DBT_TASK_GROUP_ID
from cosmos_venv.exceptions import deprecated
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.project_rendering import RenderedGroup, RenderedProject

if TYPE_CHECKING:
    from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

__all__ = ["DbtDag", "DbtTaskGroup"]

_OLD_SCHEDULE = "schedule_interval"


class DbtDag(DAG, RenderedProject):
    """A dbt project as a DAG of its own.

    :param *args: positional arguments of Airflow's DAG: its ``dag_id``.
    :param project_config: where the project is.
    :param profile_config: how dbt reaches the warehouse.
    :param execution_config: how and where dbt runs.
    :param render_config: which nodes become tasks, and how.
    :param operator_args: arguments for every dbt task, such as
        ``{"py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"]}``.
    :param on_warning_callback: for the tasks that run tests or look at the freshness of sources.
    :param run_params: whether the DAG has params by which each run chooses nodes (``select``, ``exclude``) and how
        they run (``full_refresh``, ``vars``). A dict gives other names to some of the four, or None to a param that is
        not wanted.
    :param **kwargs: of Airflow's DAG: ``dag_id``, ``schedule``, ``start_date``, ``catchup``, ``default_args`` ...
    :raises CosmosValueError: when the configuration is wrong.
    :raises CosmosLoadDbtException: when the project cannot be loaded.
    """

    def __init__(
        self,
        *args: Any,
        project_config: ProjectConfig,
        profile_config: ProfileConfig | None = None,
        execution_config: ExecutionConfig | None = None,
        render_config: RenderConfig | None = None,
        operator_args: Mapping[str, Any] | None = None,
        on_warning_callback: Callable[..., Any] | None = None,
        run_params: bool | Mapping[str, str | None] = False,
        **kwargs: Any,
    ) -> None:
        _refuse_misspelt(DbtDag, DAG, kwargs)
        configuration = Configuration.of(
            project_config,
            profile_config,
            execution_config,
            render_config,
            operator_args,
            on_warning_callback,
            run_params=run_params,
        )
        super().__init__(*args, **_as_airflow_takes(kwargs))
        # Airflow takes the file that calls DAG's constructor, which is this file.
        self.fileloc = sys._getframe(1).f_code.co_filename
        self._render(configuration, dag=self, task_group=None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy the whole project, in a worker too: Airflow walks through the attributes of a DAG to copy it.

        :param memo: the copies that are made already.
        """
        self._make_rest()
        return super().__deepcopy__(memo)


class DbtTaskGroup(RenderedGroup):
    """A dbt project as one group of tasks, to be put in relation to the other tasks of a DAG.

    :param group_id: its id, with which its tasks' ids begin.
    :param project_config: where the project is.
    :param profile_config: how dbt reaches the warehouse.
    :param execution_config: how and where dbt runs.
    :param render_config: which nodes become tasks, and how.
    :param operator_args: arguments for every dbt task, as for :class:`DbtDag`.
    :param on_warning_callback: for the tasks that run tests or look at the freshness of sources.
    :param run_params: as for :class:`DbtDag`; the params are those of the DAG around the group.
    :param **kwargs: of Airflow's TaskGroup.
    :raises CosmosValueError: when the configuration is wrong.
    :raises CosmosLoadDbtException: when the project cannot be loaded.
    """

    def __init__(
        self,
        group_id: str = DEFAULT_DBT_TASK_GROUP_ID,
        *,
        project_config: ProjectConfig,
        profile_config: ProfileConfig | None = None,
        execution_config: ExecutionConfig | None = None,
        render_config: RenderConfig | None = None,
        operator_args: Mapping[str, Any] | None = None,
        on_warning_callback: Callable[..., Any] | None = None,
        run_params: bool | Mapping[str, str | None] = False,
        **kwargs: Any,
    ) -> None:
        _refuse_misspelt(DbtTaskGroup, TaskGroup, kwargs)
        configuration = Configuration.of(
            project_config,
            profile_config,
            execution_config,
            render_config,
            operator_args,
            on_warning_callback,
            run_params=run_params,
        )
        super().__init__(group_id=group_id, **kwargs)
        self._render(configuration, dag=kwargs.get("dag") or self.dag, task_group=self)


def _refuse_misspelt(cls: type, base: type, arguments: Mapping[str, Any]) -> None:
    """Refuse a keyword that neither the class nor its base in Airflow takes; the error lists similar keywords."""
    refuse_unknown_names(cls.__name__, arguments, {*keywords(cls), *keywords(base), _OLD_SCHEDULE})


@functools.cache  # a DAG file may make hundreds
def keywords(cls: type) -> frozenset[str]:
    """The names of the parameters of a class.

    :param cls: the class.
    """
    return frozenset(inspect.signature(cls.__init__).parameters) - {"self", "args", "kwargs"}  # type: ignore[misc]


def _as_airflow_takes(arguments: dict[str, Any]) -> dict[str, Any]:
    # Airflow 2.4 renamed it, and DAG files of Cosmos still have the old name.
    if _OLD_SCHEDULE not in arguments:
        return arguments
    deprecated("schedule_interval", "schedule, as Airflow calls it now")
    others = {name: value for name, value in arguments.items() if name != _OLD_SCHEDULE}
    return {"schedule": arguments[_OLD_SCHEDULE], **others}
