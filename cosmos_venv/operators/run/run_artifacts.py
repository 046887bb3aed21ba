"""The artifacts of a DAG run: one ``run_results.json`` and one ``manifest.json``, as one ``dbt build`` leaves them.

They lie below ``[cosmos] remote_target_path``, in a folder of the DAG (and group) and the run. Each task that runs dbt
keeps its results there as a part. The last task of the project joins the parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from cosmos_venv import compat, settings
from cosmos_venv.constants import TEST_IDS
from cosmos_venv.dbt.log_lines import NodeOutcome
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.files.read_limits import ANY_SIZE
from cosmos_venv.io import entries_of, map_index
from cosmos_venv.remote.object_store import RemoteFolder, exists

RESULTS, MANIFEST = "run_results.json", "manifest.json"
_PARTS = "parts"
_STATUSES = {"failed": "error", "missing": "error", "upstream_failed": "skipped", "none": "skipped"}
"""Airflow's states, and ours, as statuses of dbt."""
_SECONDS = 60.0  # for one file


def folder_of_run(context: Mapping[str, Any], group_id: str) -> RemoteFolder:
    """Return the folder of the artifacts of a run.

    :param context: Airflow's context of a task of the project.
    :param group_id: the id of the project's group; empty: the project is the DAG.
    """
    ti: Any = context["ti"]
    place = "/".join(filter(None, (ti.dag_id, group_id, str(ti.run_id), *map_index(context))))
    url = f"{settings.remote_target_path.rstrip('/')}/{place}"
    return RemoteFolder(url=url, conn_id=settings.remote_target_path_conn_id or None)


def keep_part(context: Mapping[str, Any], group_id: str, artifacts: Artifacts) -> None:
    """Keep the results of one dbt command; the manifest too, in a later try or when the run has none yet.

    :param context: Airflow's context of the task.
    :param group_id: as for ``folder_of_run``.
    :param artifacts: the artifacts that dbt has left. Without results nothing is kept.
    :raises RemoteError: when the storage does not take them.
    """
    if (results := artifacts.content(RESULTS)) is None:
        return
    folder, ti = folder_of_run(context, group_id), context["ti"]
    # Each try has a part: a later try of a batch builds only what is not done. An id may be too long for a file name.
    name = hashlib.sha256(ti.task_id.encode()).hexdigest()[:16]
    shown = compat.masked(results.decode(errors="replace")).encode(errors="replace")
    folder.write(f"{_PARTS}/{name}-{ti.try_number}.json", shown, seconds=_SECONDS)
    is_wanted = ti.try_number > 1 or not exists(f"{folder.url}/{MANIFEST}", folder.conn_id, seconds=_SECONDS)
    if is_wanted and (manifest := artifacts.content(MANIFEST)) is not None:
        folder.write(MANIFEST, manifest, seconds=_SECONDS)


def results_of(told: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The results of nodes by unique id, with the keys of dbt's results.

    :param told: of ``rows_told``.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in told:
        node = row["node"]
        if " " not in node:  # with a space, it is no unique id but the words for what a task runs
            result = {
                **_NOTHING,
                "unique_id": node,
                "status": _STATUSES.get(row["state"], row["state"]),
                "execution_time": row["seconds"] or 0.0,
                "message": row["message"] or None,
                "failures": row["rows"] if node.startswith(TEST_IDS) else None,
            }
            found.setdefault(node, result)
    return found


def join_parts(folder: RemoteFolder, told: Mapping[str, dict[str, Any]], warn: Callable[..., object]) -> int:
    """Join the parts of a run, and an earlier file of the run, into one ``run_results.json``, and delete the parts.

    :param folder: of the run.
    :param told: the results of all nodes that are known now, by unique id, with keys of dbt's results. Such a result
        counts where no part has the node, and where the part has another of the states success, failed and skipped: a
        task that was cleared and killed has no part of its new try. Of the earlier file, only told nodes count.
    :param warn: gets lines of the log.
    :returns: the number of nodes in the file; 0 when no result is known, and then no file is written.
    :raises RemoteError: when the storage does not answer, or does not take the file.
    """
    names = folder.ask(lambda place: [each.name for each in entries_of(place / _PARTS)], _SECONDS)
    files = [f"{_PARTS}/{name}" for name in names if name.endswith(".json")]
    found = [part for file in files if (part := _decoded(folder, file, warn)) is not None]
    parts = sorted(found, key=lambda part: str(part["metadata"].get("generated_at")))
    results = {result["unique_id"]: result for part in parts for result in part["results"]}
    if (earlier := _decoded(folder, RESULTS, warn)) is not None:
        parts = [earlier, *parts]
        results = {each["unique_id"]: each for each in earlier["results"] if each["unique_id"] in told} | results
    for unique_id, known in told.items():
        if unique_id not in results or _state(known) != _state(results[unique_id]):
            results[unique_id] = {**_NOTHING, **known, "unique_id": unique_id}
    if not results:
        return 0
    newest = parts[-1] if parts else {"metadata": {}}
    # The tasks select nodes one by one; a build of the project would not.
    arguments = {**newest.get("args", {}), "which": "build", "select": [], "exclude": []}
    seconds = sum(part.get("elapsed_time") or 0 for part in parts)
    joined = {**newest, "results": [*results.values()], "elapsed_time": seconds, "args": arguments}
    folder.write(RESULTS, msgspec.json.encode(joined), seconds=_SECONDS)
    for file in files:
        folder.remove(file, seconds=_SECONDS)
    return len(results)


def _state(result: Mapping[str, Any]) -> str:
    return NodeOutcome(result["status"]).state


def _decoded(folder: RemoteFolder, file: str, warn: Callable[..., object]) -> dict[str, Any] | None:
    content = folder.read(file, seconds=_SECONDS, limit=ANY_SIZE)
    if content is None:
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        warn("%s is left out of the artifacts of the run: %s", file, error)
        return None
    return found


_NOTHING: dict[str, Any] = {
    "timing": [],
    "thread_id": "",
    "execution_time": 0.0,
    "adapter_response": {},
    **dict.fromkeys(("message", "failures", "compiled", "compiled_code", "relation_name")),
}
"""The keys of dbt's result for a node that did not run."""
