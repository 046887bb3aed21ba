"""A dbt project as several DAGs, one for each domain, which wait for each other by assets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cosmos_venv.compat import DAG, asset_schedule, awaited_uris, is_partitioned, running_task
from cosmos_venv.config.validation import refuse_unknown_names
from cosmos_venv.dag import DbtDag, keywords
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.rendering.airflow_tasks import refuse_unknown_arguments
from cosmos_venv.rendering.configuration import Configuration
from cosmos_venv.rendering.project_split import DomainGraph, ProjectSplit, SplitBy

if TYPE_CHECKING:
    from cosmos_venv.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

__all__ = ["DbtProjectDags"]


class DbtProjectDags(dict[str, DbtDag]):
    """The DAGs of a dbt project by the names of its domains, each a :class:`DbtDag`. Airflow finds them without a
    variable for each.

    The DAG of a domain that reads nodes of other domains runs when all these nodes have been built anew. A test belongs
    to the last domain that it reads. A source or an ephemeral model is in each domain that reads it, and in none
    otherwise.

    :param project_config: where the project is.
    :param split_by: what a domain is: the first ``folder`` below ``models``, ``seeds`` or ``snapshots`` (all nodes of
        an installed package are one domain), the one ``tag`` of a node, dbt's ``group``, or a function that is called
        with a node and returns the name of its domain. What Airflow does not take in an id becomes ``_``.
    :param schedules: Airflow's ``schedule`` by domain. A domain that reads no other domain must be named here, with
        None where only a user starts it. A domain that is named here does not wait for other domains.
    :param dag_id: the beginning of the DAGs' ids, before ``_`` and the domain; None: the project's name.
    :param profile_config: how dbt reaches the warehouse.
    :param execution_config: how and where dbt runs.
    :param render_config: which nodes become tasks, and how.
    :param operator_args: arguments for every dbt task, as for :class:`DbtDag`.
    :param on_warning_callback: for the tasks that run tests or look at the freshness of sources.
    :param run_params: as for :class:`DbtDag`.
    :param **kwargs: of Airflow's DAG, for all DAGs: ``start_date``, ``default_args`` ...
    :raises CosmosValueError: when the configuration is wrong; when domains read each other in a circle, naming the
        nodes; when a DAG would wait for an asset that no other DAG updates.
    :raises CosmosLoadDbtException: when the project cannot be loaded.
    """

    def __init__(
        self,
        project_config: ProjectConfig,
        *,
        split_by: SplitBy = "folder",
        schedules: Mapping[str, Any] | None = None,
        dag_id: str | None = None,
        profile_config: ProfileConfig | None = None,
        execution_config: ExecutionConfig | None = None,
        render_config: RenderConfig | None = None,
        operator_args: Mapping[str, Any] | None = None,
        on_warning_callback: Callable[..., Any] | None = None,
        run_params: bool | Mapping[str, str | None] = False,
        **kwargs: Any,
    ) -> None:
        taken = {*keywords(DbtProjectDags), *keywords(DAG)} - {"schedule", "schedule_interval"}  # of each domain
        refuse_unknown_names("DbtProjectDags", kwargs, taken)
        configuration = Configuration.of(
            project_config,
            profile_config,
            execution_config,
            render_config,
            operator_args,
            on_warning_callback,
            run_params=run_params,
        )
        refuse_unknown_arguments("operator_args", configuration.operator_args)  # before dbt is asked
        split = ProjectSplit(configuration, split_by, dag_id or project_config.project_name or "dbt")
        file = sys._getframe(1).f_code.co_filename
        super().__init__(
            {
                domain: _DomainDag(split, domain, file, schedule=schedule, **kwargs)
                for domain, schedule in _schedules(split, schedules or {}).items()
            }
        )
        if running_task() is None:  # a worker does not make all DAGs
            _refuse_dead_waits(self)


class _DomainDag(DbtDag):
    """The DAG of one domain.

    :param split: the project.
    :param domain: the domain's name.
    :param file: the DAG file.
    :param **kwargs: of Airflow's DAG, beside its id.
    """

    def __init__(self, split: ProjectSplit, domain: str, file: str, **kwargs: Any) -> None:
        DAG.__init__(self, split.dag_id(domain), **kwargs)
        self.fileloc = file
        with self:  # Airflow registers the DAG here, while it has no tasks to look at
            pass
        self._render(split.configuration, dag=self, task_group=None, domain=DomainGraph(split, domain))


def _schedules(split: ProjectSplit, given: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule of each domain, in order."""
    refuse_unknown_names("DbtProjectDags.schedules", given, split.above)
    found: dict[str, Any] = {}
    has_keys: dict[str, bool] = {}
    for domain, above in split.above.items():
        if domain in given:
            found[domain], has_keys[domain] = given[domain], is_partitioned(given[domain])
            continue
        if not above:
            raise CosmosValueError(
                f"DbtProjectDags.schedules lacks {domain!r}, which reads no other domain: its DAG would never run. "
                f"Give schedules={{{domain!r}: '@daily'}}, or None where a user starts it."
            )
        # A user starts a domain without a schedule now and then, and the others do not wait for that.
        awaited = [each for each in above if found[each] is not None] or above
        has_keys[domain] = has_keys[awaited[0]]
        if (unlike := next((each for each in awaited if has_keys[each] != has_keys[domain]), None)) is not None:
            raise CosmosValueError(
                f"The domain {domain!r} reads {awaited[0]!r} and {unlike!r}, and the runs of only one of these have "
                "partition keys: Airflow would never start it. Give both a schedule of one kind, or give "
                f"schedules[{domain!r}]."
            )
        uris = [split.asset_uri(each, domain) for each in awaited]
        found[domain] = asset_schedule(uris, is_partitioned=has_keys[domain])
    return found


def _refuse_dead_waits(dags: Mapping[str, DbtDag]) -> None:
    """Refuse a DAG that waits for an asset of this project if no task updates the asset.

    A schedule of the user may name a domain that is gone, or a domain that no longer reads the other domain.
    """
    given = {task.arguments.get("asset_uri") for dag in dags.values() for task in dag.plan.tasks}
    own = {quote(dag.dag_id) for dag in dags.values()}
    for domain, dag in dags.items():
        for uri in awaited_uris(dag):
            if uri.startswith("dbt://") and own & {*uri.removeprefix("dbt://").split("/")} and uri not in given:
                raise CosmosValueError(
                    f"DbtProjectDags.schedules[{domain!r}] waits for the asset {uri}, which no task gives: no domain "
                    "reads another one so. Correct it."
                )
