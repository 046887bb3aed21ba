"""The task by which the DAG of another domain learns that the nodes it reads are there (``DbtProjectDags``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import BaseOperator, asset

if TYPE_CHECKING:
    from airflow.sdk import Context


class DbtDomainReadyOperator(BaseOperator):
    """The task that gives an asset once the tasks before it have succeeded.

    :param asset_uri: URI of the asset, for which a DAG waits.
    :param **kwargs: of Airflow's operators. ``outlets`` are dropped: all tasks share them, for tasks that run dbt.
    """

    ui_color = "#DBCDF6"

    def __init__(self, *, asset_uri: str, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "outlets": [asset(asset_uri)]})
        self.asset_uri = asset_uri

    def execute(self, context: Context) -> None:
        """Do nothing: Airflow itself updates the asset when the task has succeeded.

        :param context: Airflow's context of the task.
        """
        self.log.info("Gives the asset %s.", self.asset_uri)
