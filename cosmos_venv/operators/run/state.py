"""Artifacts of an earlier run that a dbt command compares with and defers to: of a folder, an object store, or the
task's own last success.

The last success is the run of this very task (DAG, task, index of a mapped task, target of the profile) that succeeded
and ended last. Its artifacts are published atomically when all is done: a reader never finds those of two runs mixed.

An older success must never count as the last one: dbt would take nodes for unmodified that differ in the warehouse. So
an Airflow Variable has the SHA-256 of the last success's file. A worker that finds no file with this digest builds
everything, whether the file is older, truncated, or written by somebody else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from cosmos_venv import settings
from cosmos_venv.compat import object_storage_path, set_variable, variable
from cosmos_venv.constants import LAST_SUCCESS
from cosmos_venv.credentials import mask
from cosmos_venv.dbt import state
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.own_files import is_private, make_private, replace_atomically, sweep_abandoned
from cosmos_venv.files.read_limits import Limit, UnfitFileError, read_file
from cosmos_venv.io import write_to
from cosmos_venv.managed import caches
from cosmos_venv.remote.object_store import content_of

# Beside dbt's log: our code neither reads the folder by name nor uploads it.
_FOLDER = PurePath("logs", "state")
_LAYOUT = "last-success-v1"
_VARIABLE = "cosmos_venv_last_success__"
_DESCRIPTION = "cosmos-venv: digest of the artifacts of the last success of a task. Without it, dbt builds everything."
_DIGITS = 32


def state_folder(
    given: str, task_key: Sequence[str], place: Path, *, project_dir: Path, conn_id: str | None, log: Any
) -> Path:
    """The folder for dbt's ``--state``, filled with the artifacts.

    :param given: which artifacts the task asks for: its parameter ``state``.
    :param task_key: the names that tell the task from others: DAG, task, index of a mapped task, target of the profile.
    :param place: the folder in which dbt will run.
    :param project_dir: folder of the dbt project, from which a relative path counts.
    :param conn_id: the Airflow connection for a URL; None: the default one of that storage.
    :param log: the task's logger.
    :raises CosmosValueError: when the given place has no artifacts, or cannot be reached.
    """
    folder = place / _FOLDER
    if given != LAST_SUCCESS:
        return _given_folder(given, folder, project_dir=project_dir, conn_id=conn_id)
    _fill_with_last_success(log, task_key, folder)
    return folder


def keep_success(task_key: Sequence[str], artifacts: Artifacts, *, log: Any) -> None:
    """Keep the artifacts of a run that has succeeded, for the next run of a task with ``state="last_success"``.

    :param task_key: as in ``state_folder``.
    :param artifacts: the artifacts of the run that has succeeded.
    :param log: the task's logger.
    :raises CosmosValueError: when the Variable cannot be written, so that an older success would count as the last one.
    """
    content = state.packed(artifacts)
    try:
        # Before the file: a task that is killed between the two leaves a digest that no file has.
        set_variable(_variable_of(task_key), _digest(content or b""), _DESCRIPTION)
    except Exception as error:
        raise CosmosValueError(
            f"state={LAST_SUCCESS!r}: dbt has succeeded, and the Airflow Variable {_variable_of(task_key)} cannot be "
            f"written: {_reason(error)}. The next run would compare with an older success. Clear the task when Airflow "
            "can write Variables."
        ) from error
    if content is None:
        log.warning("dbt has written no manifest.json: this success is not kept for the next run.")
        return
    try:
        _publish(kept_place(task_key), content)
    except Exception as error:  # noqa: BLE001 - whatever a store raises; by the Variable no older success counts
        log.warning("This success is not kept for the next run: %s", _reason(error))


def _variable_of(task_key: Sequence[str]) -> str:
    return _VARIABLE + _digest(json.dumps([*task_key]).encode())[:_DIGITS]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept_place(task_key: Sequence[str]) -> Any:
    """The place where the last success of a task is kept: a ``Path``, or a path in an object store.

    :param task_key: the names that tell the task from others, as in ``state_folder``.
    """
    *folders, name = task_key
    below = "/".join(quote(part, safe="") for part in [*folders, f"{name}{state.PACKED_SUFFIX}"])
    if settings.state_path:
        root = _place(settings.state_path, settings.state_path_conn_id or None)
        return root / below
    return caches.cache_dir() / _LAYOUT / below


def _given_folder(given: str, folder: Path, *, project_dir: Path, conn_id: str | None) -> Path:
    """The folder for dbt's ``--state``: the user's own, or ``folder``, filled with the artifacts."""
    place: Any = given
    try:
        place = _place(given, conn_id)
        if isinstance(place, Path):
            own = place = project_dir.absolute() / place
            # dbt reads such a folder where it is. Other artifacts are first downloaded, unpacked or copied.
            if (own / state.MANIFEST).is_file():
                return own
        _fetch(place, folder)
    except FileNotFoundError:
        raise CosmosValueError(
            f"state={mask(given)!r}: there is no {state.MANIFEST} at {mask(str(place))}. Name the folder or URL that "
            f"holds the artifacts of another run, or {LAST_SUCCESS!r} for those of this task's own last success."
        ) from None
    except Exception as error:
        raise CosmosValueError(
            f"state={mask(given)!r} cannot be read: {_reason(error)}. Correct it, or state_conn_id={conn_id!r}, or "
            "install the Airflow provider of that storage."
        ) from error
    return folder


def _fill_with_last_success(log: Any, task_key: Sequence[str], folder: Path) -> None:
    kept = None
    try:
        kept = kept_place(task_key)
        content = _content(kept)
        digest = variable(_variable_of(task_key))
        if digest == _digest(content):
            state.unpack(content, folder, _limit())
            return
        reason = f"{mask(str(kept))} has not the last success of this task"
    except FileNotFoundError:
        reason = f"No success of this task is kept at {mask(str(kept))}"
    except Exception as error:
        raise CosmosValueError(
            f"state={LAST_SUCCESS!r}: {mask(str(kept or settings.state_path))} or its Airflow Variable cannot be read: "
            f"{_reason(error)}. Correct [cosmos_venv] state_path or state_path_conn_id."
        ) from error
    log.info("%s: to dbt everything is new. Workers share what is in [cosmos_venv] state_path.", reason)
    state.write_empty(folder)


def _fetch(place: Any, folder: Path) -> None:
    """Copy the artifacts that are there into the folder. :raises FileNotFoundError: when there is no manifest."""
    if PurePath(place.name).suffix == state.PACKED_SUFFIX:
        state.unpack(_content(place), folder, _limit())
        return
    found = {state.MANIFEST: _content(place / state.MANIFEST)}
    # dbt needs the other files only for some selectors.
    for name in state.NAMES[1:]:
        try:
            found[name] = _content(place / name)
        except FileNotFoundError:
            continue
    state.write(found, folder)


def _content(place: Any) -> bytes:
    return read_file(place, _limit()) if isinstance(place, Path) else content_of(place, _limit())


def _limit() -> Limit:
    return settings.limit("artifact_max_bytes")


def _publish(kept: Any, content: bytes) -> None:
    if not isinstance(kept, Path):
        write_to(kept, content)
        return
    if not settings.state_path:
        folder = caches.cache_dir() / _LAYOUT
        make_private(folder)
        if not is_private(folder):
            raise PermissionError(f"{folder} can be written by others")
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep_abandoned(kept.parent)
    with replace_atomically(kept) as apart:  # another task may read the file at this moment
        apart.write_bytes(content)


def _place(given: str, conn_id: str | None) -> Any:
    """A ``Path`` for a local folder, written as a URL or not; else a path in an object store."""
    scheme, separator, rest = given.partition("://")
    if not separator:
        return Path(given)
    return Path(rest) if scheme == "file" else object_storage_path(given, conn_id)


def _reason(error: Exception) -> str:
    if isinstance(error, UnfitFileError):
        return str(error.strerror)
    return mask(f"{type(error).__name__}: {error}")
