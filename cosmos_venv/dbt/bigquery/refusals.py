"""The models of dbt that cannot be built by one statement around their compiled SQL, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ADAPTER = "bigquery"
"""The name of the dbt adapter."""

_TIMES = ("date", "timestamp", "datetime")
_KINDS = ("table", "view")
INSTEAD = (
    "Use ExecutionMode.WATCHER, or LOCAL or VIRTUALENV with RenderConfig.batch_by, or leave it out with "
    "RenderConfig.exclude"
)
"""The way out for a model that is refused."""
_HOOKS = ("pre-hook", "post-hook")
NO_HOOKS = "No model runs these hooks of the project: %s. Where models need them, use ExecutionMode.WATCHER."
"""The warning for a project with ``on-run-start`` or ``on-run-end``."""
NO_SQL_STORE = (
    "[cosmos] upload_sql_to_xcom = False, and remote_target_path is not set: it says where compiled SQL goes, such as "
    "s3://bucket/dbt or a folder that all workers see. Set it, or leave upload_sql_to_xcom out."
)
"""The error for SQL that is stored in files, when no folder is configured."""


def why_no_single_query(config: Mapping[str, Any], file: Path) -> str | None:
    """The reason why a model cannot be built by one statement around its compiled SQL; None when it can.

    :param config: dbt's configuration of the model.
    :param file: the file of the model.
    """
    return next(_reasons(config, file), None)


def _reasons(config: Mapping[str, Any], file: Path) -> Iterator[str]:
    kind = str(config.get("materialized") or "view")
    found = {
        "it is a Python model": file.suffix == ".py",
        f"it is materialized as {kind}": kind not in _KINDS,
        **{f"it has a {name}": config.get(name) or config.get(name.replace("-", "_")) for name in _HOOKS},
        "its contract is enforced": mapping_in(config, "contract").get("enforced"),
        "it has grants": config.get("grants"),
        "it has grant_access_to": config.get("grant_access_to"),
        "it is a view with enable_change_history, which dbt refuses too": (
            kind == "view" and config.get("enable_change_history")
        ),
        "its persist_docs has columns": mapping_in(config, "persist_docs").get("columns"),
        "it has a catalog_name or table_format of its own": (
            config.get("catalog_name") or str(config.get("table_format") or "default").lower() != "default"
        ),
    }
    yield from (reason for reason, is_so in found.items() if is_so)
    yield from _reasons_of_partitions(config.get("partition_by"))


def _reasons_of_partitions(partition_by: object) -> Iterator[str]:
    if partition_by is None:
        return
    if not isinstance(partition_by, Mapping) or not partition_by.get("field"):
        yield f"its partition_by={partition_by!r} is no mapping with a field"
        return
    if partition_by.get("time_ingestion_partitioning"):
        yield "its partition_by has time_ingestion_partitioning"
    data_type = str(partition_by.get("data_type", "date")).lower()
    if data_type == "int64":
        if not {"start", "end", "interval"} <= {*(partition_by.get("range") or ())}:
            yield "its partition_by of int64 has no range of start, end and interval"
    elif data_type not in _TIMES:
        yield f"its partition_by has data_type {data_type}"


def mapping_in(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping of a configuration; an empty one where there is none.

    :param config: dbt's configuration of a model.
    :param name: of the entry.
    """
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}
