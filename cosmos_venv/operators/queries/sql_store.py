"""The SQL of the models of one run, from the setup task, which compiles the models, to the tasks that run them.

Each model's SQL is kept in an XCom, as base64 of zlib, or in a file below ``[cosmos] remote_target_path``: in a folder
that all workers see, or in an object store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import compat, settings
from cosmos_venv.dbt.bigquery.refusals import NO_SQL_STORE
from cosmos_venv.dbt.bigquery.statement import CompiledModel
from cosmos_venv.files import read_limits
from cosmos_venv.io import entries_of, map_index, remote_target, write_to

if TYPE_CHECKING:
    from airflow.sdk import Context

_FOLDER = "run"  # as Cosmos has it, beside the folder "compiled"
_ENDING = ".json"


def require_sql_store() -> None:
    """Refuse storage in files, before dbt runs, where no folder is configured.

    :raises CosmosValueError: when ``remote_target_path`` is not set.
    """
    if not settings.upload_sql_to_xcom:
        remote_target(NO_SQL_STORE)


def store(models: Iterable[CompiledModel], context: Context | Mapping[str, Any]) -> None:
    """Keep the SQL of models until the end of the run.

    :param models: the models.
    :param context: Airflow's context of the setup task.
    :raises Exception: whatever the store raises. Files that were written by then stay until ``delete``.
    """
    contents = {model.unique_id: msgspec.json.encode(model) for model in models}
    if settings.upload_sql_to_xcom:
        for unique_id, content in contents.items():
            context["ti"].xcom_push(key=unique_id, value=read_limits.packed(content))
        return
    folder = _folder(context, context["ti"].task_id)
    for unique_id, content in contents.items():
        write_to(folder / f"{unique_id}{_ENDING}", content)


def fetch(unique_id: str, context: Context | Mapping[str, Any], task_id: str) -> CompiledModel:
    """The SQL of a model.

    :param unique_id: dbt's id of the model.
    :param context: Airflow's context of the task that runs it.
    :param task_id: of the setup task.
    :raises LookupError: when the run has no SQL of the model.
    """
    if settings.upload_sql_to_xcom:
        ti: Any = context["ti"]
        text = compat.xcom(unique_id, dag_id=ti.dag_id, run_id=ti.run_id, task_id=task_id, map_index=ti.map_index)
        content = read_limits.unpacked(text)
    else:
        content = None
        path = _folder(context, task_id) / f"{unique_id}{_ENDING}"
        with suppress(FileNotFoundError), path.open("rb") as file:
            content = file.read(read_limits.SMALL.most + 1)
    if (model := read_limits.value_of(content, CompiledModel)) is None:
        raise LookupError(f"There is no SQL of {unique_id} in this run. Clear the task {task_id} too: it compiles it.")
    return model


def delete(context: Context | Mapping[str, Any], task_id: str) -> int:
    """Delete the files of a run. XComs stay: Airflow deletes them with the run.

    :param context: Airflow's context of the task.
    :param task_id: of the setup task.
    :returns: how many files there were.
    """
    if settings.upload_sql_to_xcom:
        return 0
    folder = _folder(context, task_id)
    # One by one, and only our files: the folder above holds uploads of other tasks.
    files = [each for each in entries_of(folder) if each.name.endswith(_ENDING)]
    for file in files:
        file.unlink()
    # Only an empty folder: rmdir() of Airflow 2 deletes a folder with its content.
    if not entries_of(folder):
        with suppress(OSError):  # the store has no folders
            folder.rmdir()
    return len(files)


def _folder(context: Context | Mapping[str, Any], task_id: str) -> Any:
    """The folder for the files of a run, below the DAG and the group of the project, in which the setup task stands.

    Each index of a mapped group has a folder of its own.
    """
    ti = context["ti"]
    place = "__".join(part for part in (str(ti.dag_id), task_id.rpartition(".")[0]) if part)
    return remote_target(NO_SQL_STORE) / "/".join([place, str(ti.run_id), *map_index(context), _FOLDER])
