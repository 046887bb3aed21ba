"""The statement that makes a table or a view of a compiled dbt model in BigQuery, without dbt.

``dbt compile`` gives the SELECT alone. The rest follows from a model's configuration, as in dbt-bigquery 1.12; a test
compares the two. A model that needs more than one statement is refused, by ``refusals``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv.dbt.bigquery.refusals import INSTEAD, mapping_in, why_no_single_query


class CompiledModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its task needs it.

    :param unique_id: dbt's id.
    :param project: the project of Google Cloud that it is built in.
    :param dataset: the dataset.
    :param name: the name of its table or view.
    :param kind: ``table`` or ``view``.
    :param sql: the statement.
    :param partition_by: dbt's ``partition_by``; None: it has none.
    :param cluster_by: the columns by which it is clustered.
    :param job_timeout: seconds that its query may take; None: as the profile says.
    :param reservation: dbt's ``reservation``; None: as BigQuery chooses.
    :param full_refresh: whether dbt was told ``--full-refresh``.
    """

    unique_id: str
    project: str
    dataset: str
    name: str
    kind: str
    sql: str
    partition_by: dict[str, Any] | None = None
    cluster_by: list[str] = []
    job_timeout: float | None = None
    reservation: str | None = None
    full_refresh: bool = False

    @property
    def table(self) -> str:
        """The table or view, as BigQuery names it."""
        return f"{self.project}.{self.dataset}.{self.name}"


class _Node(msgspec.Struct):
    """A model in a manifest, as far as it is read."""

    schema: str = ""
    alias: str = ""
    database: str | None = None
    relation_name: str | None = None
    original_file_path: str = ""
    description: str = ""
    compiled_code: str | None = None
    config: dict[str, Any] = {}


class _Manifest(msgspec.Struct):
    nodes: dict[str, _Node]


def compiled_models(manifest: bytes, unique_ids: Sequence[str], *, full_refresh: bool) -> list[CompiledModel]:
    """The statements of models.

    :param manifest: dbt's ``manifest.json`` after ``dbt compile``.
    :param unique_ids: which models.
    :param full_refresh: whether dbt was told ``--full-refresh``.
    :raises ValueError: for a model that is not in the manifest, has no SQL, or cannot be built by one query; the text
        names the model.
    """
    nodes = msgspec.json.decode(manifest, type=_Manifest).nodes
    found = []
    for unique_id in unique_ids:
        node = nodes.get(unique_id)
        if node is None or not node.compiled_code:
            raise ValueError(
                f"dbt compile has left no SQL of {unique_id}: the project or its selection has changed since this DAG "
                "was made. Let Airflow parse the DAG again; where it is made of a manifest, make that anew."
            )
        if reason := why_no_single_query(node.config, Path(node.original_file_path)):
            raise ValueError(f"{unique_id} cannot be built by one query: {reason}. {INSTEAD}.")
        found.append(_compiled(unique_id, node, full_refresh=full_refresh))
    return found


def project_hooks(manifest: bytes) -> list[str]:
    """Ids of the hooks ``on-run-start`` and ``on-run-end`` of a project and its packages.

    :param manifest: dbt's ``manifest.json``.
    """
    nodes = msgspec.json.decode(manifest, type=_Manifest).nodes
    return sorted(each for each in nodes if each.startswith("operation."))


def _compiled(unique_id: str, node: _Node, *, full_refresh: bool) -> CompiledModel:
    config = node.config
    of_model = config.get("full_refresh")
    return CompiledModel(
        unique_id=unique_id,
        project=node.database or "",
        dataset=node.schema,
        name=node.alias,
        kind=str(config.get("materialized") or "view"),
        sql=_statement(node),
        partition_by=config.get("partition_by"),
        cluster_by=_columns(config.get("cluster_by")),
        job_timeout=config.get("job_execution_timeout_seconds"),
        reservation=config.get("reservation"),
        full_refresh=full_refresh if of_model is None else bool(of_model),
    )


def _statement(node: _Node) -> str:
    config, name = node.config, node.relation_name or f"`{node.database}`.`{node.schema}`.`{node.alias}`"
    lines = [str(config["sql_header"])] if config.get("sql_header") else []
    options = _options(node)
    if config.get("materialized") != "table":
        return "\n".join([*lines, f"create or replace view {name}", options, f"as {node.compiled_code};"])
    lines.append(f"create or replace table {name}")
    if (partition_by := config.get("partition_by")) is not None:
        lines.append(f"partition by {_partition(partition_by)}")
    if columns := _columns(config.get("cluster_by")):
        lines.append(f"cluster by {', '.join(columns)}")
    return "\n".join([*lines, options, "as (", str(node.compiled_code), ");"])


def _partition(given: Mapping[str, Any]) -> str:
    # As dbt-bigquery reads it: every text in lower case, dates by day where nothing is said.
    told: dict[str, Any] = {key: value.lower() if isinstance(value, str) else value for key, value in given.items()}
    field, data_type, granularity = told["field"], told.get("data_type", "date"), told.get("granularity", "day")
    if data_type == "int64":
        steps = told["range"]
        return f"range_bucket({field}, generate_array({steps['start']}, {steps['end']}, {steps['interval']}))"
    if (data_type, granularity) == ("date", "day"):
        return str(field)
    return f"{data_type}_trunc({field}, {granularity})"


def _columns(given: Any) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else [str(each) for each in given]


def _options(node: _Node) -> str:
    config, options = node.config, {}
    if (hours := config.get("hours_to_expiration")) is not None:
        options["expiration_timestamp"] = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {hours} hour)"
    if mapping_in(config, "persist_docs").get("relation"):
        options["description"] = f'"""{json.dumps(node.description)[1:-1]}"""'
    labels = {**(mapping_in(config, "meta") if config.get("labels_from_meta") else {}), **mapping_in(config, "labels")}
    if labels:
        options["labels"] = str([*labels.items()])
    if tags := mapping_in(config, "resource_tags"):
        options["tags"] = str([*tags.items()])
    if config.get("materialized") == "table":
        options |= _options_of_table(config)
    return f"OPTIONS({', '.join(f'{name}={value}' for name, value in options.items())})"


def _options_of_table(config: Mapping[str, Any]) -> dict[str, str]:
    options = {}
    if (key := config.get("kms_key_name")) is not None:
        options["kms_key_name"] = f"'{key}'"
    if config.get("require_partition_filter") is not None and config.get("partition_by") is not None:
        options["require_partition_filter"] = str(config["require_partition_filter"])
    for name in ("partition_expiration_days", "enable_change_history"):
        if config.get(name) is not None:
            options[name] = str(config[name])
    return options


def must_be_dropped(model: CompiledModel, table: Mapping[str, Any]) -> bool:
    """Whether an existing table or view must be dropped before the build, since BigQuery does not replace it.

    :param model: the model.
    :param table: the existing table or view of the model's name, as BigQuery's API shows it.
    :raises ValueError: when a table stands where the view must be, without ``--full-refresh``: dbt refuses that too.
    """
    there = str(table.get("type", "TABLE")).upper()
    if model.kind == "table":
        return there != "TABLE" or not _is_alike(model, table)
    if there != "VIEW" and not model.full_refresh:
        raise ValueError(
            f"{model.unique_id} is to be the view {model.table}, and a {there.lower().replace('_', ' ')} of that name "
            "is there. Drop it, or run the DAG with full_refresh."
        )
    return there != "VIEW"


def _is_alike(model: CompiledModel, table: Mapping[str, Any]) -> bool:
    """Whether table and model have equal partitions and clusters: else BigQuery does not replace the table."""
    clusters = (table.get("clustering") or {}).get("fields") or []
    if clusters != model.cluster_by:
        return False
    by_time, by_range = table.get("timePartitioning"), table.get("rangePartitioning")
    wanted = model.partition_by
    if wanted is None:
        return not by_time and not by_range
    field = str(wanted.get("field", "")).lower()
    if by_time:
        granularity = str(wanted.get("granularity", "day")).lower()
        return str(by_time.get("field", "")).lower() == field and str(by_time.get("type", "DAY")).lower() == granularity
    if by_range:
        steps, there = wanted.get("range") or {}, by_range.get("range") or {}
        same = all(str(there.get(each)) == str(steps.get(each)) for each in ("start", "end", "interval"))
        return same and str(by_range.get("field", "")).lower() == field
    return False
