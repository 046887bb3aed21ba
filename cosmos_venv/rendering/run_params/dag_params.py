"""The params of a DAG by which a run chooses nodes and flags. Airflow shows a form of them when a run is triggered."""

from __future__ import annotations

from typing import Any

from cosmos_venv.compat import DAG, Param
from cosmos_venv.config.run_params import RunParams
from cosmos_venv.exceptions import CosmosValueError

_SYNTAX = "in dbt's selection syntax, such as tag:daily or stg_orders+"
_PARAMS: dict[str, dict[str, Any]] = {
    "select": {
        "default": None,
        "type": ["null", "string"],
        "description": f"The dbt nodes that run, {_SYNTAX}. Empty: all nodes of this DAG. The others are skipped.",
    },
    "exclude": {
        "default": None,
        "type": ["null", "string"],
        "description": f"The dbt nodes that are skipped, {_SYNTAX}. Empty: none.",
    },
    "full_refresh": {
        "default": False,
        "type": "boolean",
        "description": "Whether dbt builds incremental models and seeds anew (--full-refresh).",
    },
    "vars": {
        "default": None,
        "type": ["null", "object"],
        "description": 'Variables of dbt for this run, over those of the project, such as {"day": "2026-01-31"}.',
    },
}


def offer(dag: DAG, run_params: RunParams) -> None:
    """Give a DAG its params. Several projects in one DAG share them.

    :param dag: the DAG.
    :param run_params: their names.
    :raises CosmosValueError: where the DAG has a param of such a name itself.
    """
    for purpose, name in run_params.names().items():
        wanted = Param(**_PARAMS[purpose])
        if name in dag.params:
            found = dag.params.get_param(name)
            if (found.description, found.schema) != (wanted.description, wanted.schema):
                raise CosmosValueError(
                    f"run_params: the DAG {dag.dag_id} has a param {name!r} of its own. Name that of dbt otherwise, as "
                    f"in run_params={{{purpose!r}: 'dbt_{purpose}'}}, or leave it out: {{{purpose!r}: None}}."
                )
            continue
        dag.params[name] = wanted
