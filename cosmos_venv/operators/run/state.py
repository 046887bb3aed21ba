"""Artifacts of an earlier run that a dbt command compares with and defers to: of a folder, an object store, or the
task's own last success.

The last success is the run of this very task (DAG, task, index of a mapped one, target of the profile) that succeeded
and ended last. Its artifacts are kept when all is done, in one step: a reader finds those of one success or of another.

An older success must never count as the last one: dbt would take for unmodified what the warehouse has otherwise.
Where workers share no folder, an Airflow Variable has the digest of the last success, and a worker without that success
builds everything.
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
from cosmos_venv.files.durable_files import in_one_step, is_private, make_private, sweep_abandoned
from cosmos_venv.files.read_limits import ANY_SIZE, Limit, UnfitFileError, read_file
from cosmos_venv.files.untrusted import read_plain
from cosmos_venv.io import write_to
from cosmos_venv.managed import caches
from cosmos_venv.remote.object_store import content_of

# Beside dbt's log, which nothing of ours reads by its name nor uploads.
_FOLDER = PurePath("logs", "state")
_LAYOUT = "last-success-v1"
_VARIABLE = "cosmos_venv_last_success__"
_DESCRIPTION = "cosmos-venv: digest of the artifacts of the last success of a task. Without it, dbt builds everything."
_DIGITS = 32


def state_flags(
    given: str | None,
    task_key: Sequence[str],
    place: Path,
    *,
    project_dir: Path,
    conn_id: str | None,
    defers: bool,
    favors: bool,
    log: Any,
) -> list[str]:
    """The flags by which dbt finds the artifacts, which are there then; none where the task asks for none.

    :param given: which artifacts the task asks for: its parameter ``state``.
    :param task_key: the names that tell the task from others: DAG, task, index of a mapped one, target of the profile.
    :param place: the folder in which dbt will run.
    :param project_dir: folder of the dbt project, from which a relative path counts.
    :param conn_id: the Airflow connection for a URL; None: the default one of that storage.
    :param defers: whether dbt gets ``--defer``.
    :param favors: whether dbt gets ``--favor-state``.
    :param log: the task's logger.
    :raises CosmosValueError: when there are none where the task says, or they cannot be reached.
    """
    flags = []
    if given:
        folder = place / _FOLDER
        if given == LAST_SUCCESS:
            _fill_with_last_success(log, task_key, folder)
        else:
            folder = _given_folder(given, folder, project_dir=project_dir, conn_id=conn_id)
        flags += ["--state", str(folder)]
    return [*flags, *(["--defer"] if defers else []), *(["--favor-state"] if favors else [])]


def keep_success(task_key: Sequence[str], artifacts: Artifacts, *, log: Any) -> None:
    """Keep the artifacts of a run that has succeeded, for the next run of a task with ``state="last_success"``.

    :param task_key: as in ``state_flags``.
    :param artifacts: those of the run that has succeeded.
    :param log: the task's logger.
    :raises CosmosValueError: when the next run would take an older success for the last one.
    """
    # As one file, which appears whole in a folder and in object storage alike.
    content = state.packed(artifacts)
    if content is None:
        log.warning("dbt has written no manifest.json: this success is not kept for the next run.")
    try:
        if not settings.state_path:
            set_variable(_variable_of(task_key), _digest(content or b""), _DESCRIPTION)
        else:  # an empty file stands for a success without a manifest: else an older success would count as the last
            _keep_for_all(kept_place(task_key), content or b"")
    except Exception as error:
        raise CosmosValueError(
            f"state={LAST_SUCCESS!r}: dbt has succeeded, and that could not be kept for the next run, which would "
            f"compare with an older success: {_reason(error)}. Correct [cosmos_venv] state_path, or give one that all "
            "workers reach."
        ) from error
    if content is not None and not settings.state_path:
        try:
            _publish(kept_place(task_key), content)
        except OSError as error:
            # By the Variable nobody takes an older success for this one.
            log.warning("This success is not kept for the next run: %s", _reason(error))


def _keep_for_all(kept: Any, content: bytes) -> None:
    if isinstance(kept, Path):
        _publish(kept, content)
    else:
        write_to(kept, content)


def _variable_of(task_key: Sequence[str]) -> str:
    return _VARIABLE + hashlib.sha256(json.dumps([*task_key]).encode()).hexdigest()[:_DIGITS]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_last(task_key: Sequence[str], content: bytes) -> bool:
    """Whether no other worker has had a success since; False where that cannot be known."""
    try:
        return variable(_variable_of(task_key)) == _digest(content)
    except Exception:  # noqa: BLE001 - whatever Airflow and its backend raise
        return False


def kept_place(task_key: Sequence[str]) -> Any:
    """The place where the last success of a task is kept: a ``Path``, or one of an object store.

    :param task_key: the names that tell the task from others, as in ``state_flags``.
    """
    *folders, name = task_key
    below = "/".join(quote(part, safe="") for part in [*folders, f"{name}{state.PACKED_SUFFIX}"])
    if settings.state_path:
        root = _place(settings.state_path, settings.state_path_conn_id or None)
        return root / below
    return caches.cache_dir() / _LAYOUT / below


def _given_folder(given: str, folder: Path, *, project_dir: Path, conn_id: str | None) -> Path:
    """The folder to name to dbt: the user's own, or the one given here, filled."""
    place: Any = given
    try:
        place = _place(given, conn_id)
        if isinstance(place, Path):
            own = place = project_dir.absolute() / place
            # dbt reads it where it is; everything else is fetched, unpacked or made first.
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
        content = _read(kept)
    except FileNotFoundError:
        log.info("No success of this task is kept at %s yet: to dbt everything is new.", mask(str(kept)))
        state.write_empty(folder)
        return
    except Exception as error:
        raise _unreadable(kept, error) from error
    if not settings.state_path and not _is_last(task_key, content):
        log.info(
            "The last success of this task is not on this worker: to dbt everything is new. Set [cosmos_venv] "
            "state_path, which all workers share."
        )
        state.write_empty(folder)
        return
    try:
        state.unpack(content, folder, _limit())
    except UnfitFileError as error:
        raise _unreadable(kept, error) from error
    except ValueError as error:
        # Damaged, as by a disk that was full: the next success writes it anew, so it is not worth a failed task.
        log.warning("The last success of this task at %s is %s: to dbt everything is new.", kept, error)
        state.write_empty(folder)


def _unreadable(kept: Any, error: Exception) -> CosmosValueError:
    return CosmosValueError(
        f"state={LAST_SUCCESS!r}: {mask(str(kept or settings.state_path))} cannot be read: {_reason(error)}. "
        "Correct [cosmos_venv] state_path or state_path_conn_id."
    )


def _fetch(place: Any, folder: Path) -> None:
    """Copy the artifacts that are there into the folder. :raises FileNotFoundError: when there is no manifest."""
    if PurePath(place.name).suffix == state.PACKED_SUFFIX:
        state.unpack(_content(place), folder, _limit())
        return
    found = {state.MANIFEST: _content(place / state.MANIFEST)}
    # dbt does without the others, as long as no selector asks for them.
    for name in state.NAMES[1:]:
        try:
            found[name] = _content(place / name)
        except FileNotFoundError:
            continue
    state.write(found, folder)


def _read(kept: Any) -> bytes:
    if isinstance(kept, Path) and not settings.state_path and not is_private(_root(kept)):
        # Another user who can write there would decide which nodes dbt leaves out.
        raise FileNotFoundError(kept)
    return read_plain(kept, ANY_SIZE) if isinstance(kept, Path) and not settings.state_path else _content(kept)


def _content(place: Any) -> bytes:
    return read_file(place, _limit()) if isinstance(place, Path) else content_of(place, _limit())


def _limit() -> Limit:
    return settings.limit("artifact_max_bytes")


def _publish(kept: Path, content: bytes) -> None:
    if not settings.state_path:
        make_private(_root(kept))
        if not is_private(_root(kept)):
            raise PermissionError(f"{_root(kept)} can be written by others")
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep_abandoned(kept.parent)
    with in_one_step(kept) as apart:  # another task may read the file at this moment
        apart.write_bytes(content)


def _root(kept: Path) -> Path:
    return next(parent for parent in kept.parents if parent.name == _LAYOUT)


def _place(given: str, conn_id: str | None) -> Any:
    """A ``Path`` for a folder of this machine, written as a URL or not."""
    scheme, separator, rest = given.partition("://")
    if not separator:
        return Path(given)
    return Path(rest) if scheme == "file" else object_storage_path(given, conn_id)


def _reason(error: Exception) -> str:
    if isinstance(error, UnfitFileError):
        return str(error.strerror)
    return mask(f"{type(error).__name__}: {error}")
