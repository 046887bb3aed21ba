"""The artifacts of a DAG run: one ``run_results.json`` and one ``manifest.json``, as one ``dbt build`` leaves them.

They lie below ``[cosmos] remote_target_path``, in a folder of the DAG (and group) and the run. Each task that runs dbt
keeps its results there as a part. The last task of the project joins the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.compat import object_storage_path
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.io import map_index, write_to

RESULTS, MANIFEST = "run_results.json", "manifest.json"
_PARTS = "parts"


def folder_of_run(context: Mapping[str, Any], group_id: str) -> Any:
    """Return the folder of the artifacts of a run, as a path of Airflow's.

    :param context: Airflow's context of a task of the project.
    :param group_id: the group that the project makes up; empty: it is the DAG.
    """
    ti: Any = context["ti"]
    name = "__".join(filter(None, (ti.dag_id, group_id)))
    root = object_storage_path(settings.remote_target_path, settings.remote_target_path_conn_id or None)
    return root / "/".join([name, str(ti.run_id), *map_index(context)])


def keep_part(context: Mapping[str, Any], group_id: str, artifacts: Artifacts) -> None:
    """Keep the results of one command of dbt, and the manifest where the run has none yet.

    :param context: Airflow's context of the task.
    :param group_id: as for ``folder_of_run``.
    :param artifacts: what dbt has left. A command that has written no results has no part.
    """
    results, manifest = artifacts.content(RESULTS), artifacts.content(MANIFEST)
    if results is None:
        return
    folder, ti = folder_of_run(context, group_id), context["ti"]
    # Each try has a part: a later try of a batch builds only what is not done.
    write_to(folder / _PARTS / f"{ti.task_id}-{ti.try_number}.json", results)
    if manifest is not None and not (folder / MANIFEST).exists():
        write_to(folder / MANIFEST, manifest)


def join_parts(folder: Any, skipped: Iterable[str]) -> int:
    """Join the parts of a run into one ``run_results.json``, over an earlier one of the same run, and delete them.

    :param folder: of the run.
    :param skipped: unique ids of nodes whose tasks have not run, since a node before them has failed.
    :returns: the number of nodes in the file; 0 where no task has kept a part, and none is written.
    """
    files = _files(folder / _PARTS)
    parts = [_decoded(file) for file in files]
    if not parts:
        return 0
    earlier = [_decoded(folder / RESULTS)] if (folder / RESULTS).exists() else []
    parts = [*earlier, *sorted(parts, key=lambda part: str(part["metadata"].get("generated_at")))]
    results = {result["unique_id"]: result for part in parts for result in part["results"]}
    for unique_id in skipped:
        results.setdefault(unique_id, _skipped(unique_id))
    newest = parts[-1]
    # The tasks select nodes one by one; a build of the project would not.
    arguments = {**newest.get("args", {}), "which": "build", "select": [], "exclude": []}
    seconds = sum(part.get("elapsed_time") or 0 for part in parts)
    joined = {**newest, "results": [*results.values()], "elapsed_time": seconds, "args": arguments}
    write_to(folder / RESULTS, msgspec.json.encode(joined))
    for file in files:
        file.unlink()
    return len(results)


def _files(folder: Any) -> list[Any]:
    with suppress(FileNotFoundError, NotADirectoryError):  # the latter says Airflow 3.3 of a folder that is missing
        return [*folder.iterdir()]
    return []


def _decoded(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return found


def _skipped(unique_id: str) -> dict[str, Any]:
    return {
        "status": "skipped",
        "timing": [],
        "thread_id": "",
        "execution_time": 0.0,
        "adapter_response": {},
        "message": None,
        "failures": None,
        "unique_id": unique_id,
        "compiled": None,
        "compiled_code": None,
        "relation_name": None,
    }
