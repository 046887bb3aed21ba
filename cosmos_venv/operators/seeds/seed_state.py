"""The memory of seeds: an Airflow Variable for each DbtDag or DbtTaskGroup and seed, which says what was loaded last.

Best effort: a secrets backend may hold the Variables, and may raise anything. Then the seed is loaded once more. While
dbt loads a seed there is no Variable, and a file in the cache folder holds the id of the run that loads it. A load is
remembered only where the file still holds this id when the load ends. A load that begins beside another one, or after a
killed one, is never remembered: so no checksum stands for half a table.

A Variable cannot be changed atomically, so tasks of one machine take turns. Tasks of several machines have a race of
some milliseconds, and do not know of a load that was killed on another machine. Where no file can be made, every load
counts as the only one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from cosmos_venv.compat import forget_variable, set_variable, variable
from cosmos_venv.files.kernel_lock import FileToLock, try_lock_if_supported
from cosmos_venv.files.own_files import make_private
from cosmos_venv.files.read_limits import content_of, value_of
from cosmos_venv.io import map_index, project_group
from cosmos_venv.managed import caches

if TYPE_CHECKING:
    from airflow.sdk import Context

PREFIX = "cosmos_venv_seed__"

_LAYOUT = "seeds-v1"
_SEVERAL = "\n"  # in place of the id of a run: another load had begun before this load
_MAX_WAIT = 10.0  # seconds: enough for two calls of Airflow's API by another task; no task waits for ever
_TURN = 0.005
_DIGITS = 32
_CHECKSUM = "[0-9a-f]{64}"
_NO_PART_OF_A_KEY = re.compile(r"[^A-Za-z0-9_.-]")
_SHOWN = 60

Warn = Callable[..., object]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The scope in which a seed is remembered.

    :param dag_id: id of the DAG.
    :param group_id: of the DbtTaskGroup, with the groups around it; None: the project is a DbtDag.
    :param seed: dbt's unique id.
    :param map_index: of the task within a mapped group; None elsewhere.
    """

    dag_id: str
    group_id: str | None
    seed: str
    map_index: int | None = None

    @classmethod
    def of(cls, dag_id: str, task_group: Any, context: Context | Mapping[str, Any], seed: str) -> Scope:
        """The scope of a running task. Groups inside of its DbtDag or DbtTaskGroup, such as of folders, do not count.

        :param dag_id: id of the task's DAG.
        :param task_group: Airflow's innermost group around the task; None: there is none.
        :param context: Airflow's context of the task.
        :param seed: dbt's unique id.
        """
        group = project_group(task_group)
        group_id = None if group is None else group.group_id
        indices = map_index(context)
        return cls(dag_id=dag_id, group_id=group_id, seed=seed, map_index=int(indices[0]) if indices else None)

    @property
    def key(self) -> str:
        """The Variable's key, at most 240 characters: unique by its digest, readable by its names."""
        parts = [self.dag_id, self.group_id, self.map_index, self.seed]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGITS]
        return f"{readable(self.dag_id, self.group_id, self.map_index, self.seed.rpartition('.')[2])}__{digest}"

    @property
    def place(self) -> str:
        """The scope for people: ``harbor``, ``port/north``, ``port/north[2]``."""
        place = self.dag_id if self.group_id is None else f"{self.dag_id}/{self.group_id}"
        return place if self.map_index is None else f"{place}[{self.map_index}]"


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a seed's Variable.

    :param checksum: of the content that was loaded last, 64 hex digits.
    :param run_id: of the run that loaded it; None where a person has written the Variable.
    :param time: when, in ISO 8601.
    :param algorithm: of the checksum.
    """

    checksum: Annotated[str, msgspec.Meta(pattern=f"^{_CHECKSUM}$")]
    run_id: str | None = None
    time: str | None = None
    algorithm: Literal["sha256"] = "sha256"

    @property
    def since(self) -> str:
        """The time of the last load, as the end of a sentence in the log."""
        return f"since run {self.run_id} ({self.time})" if self.run_id else "by a Variable that names no run"


def readable(*parts: object) -> str:
    """The beginning of a key, which tells a person the DAG and the seed.

    :param *parts: ids and names, the outermost first; None is left out.
    """
    texts = [_NO_PART_OF_A_KEY.sub("_", str(part))[:_SHOWN] for part in parts if part is not None]
    return PREFIX + ".".join(texts)


def encoded(scope: Scope, remembered: Remembered) -> str:
    """The Variable's value.

    :param scope: what the seed is remembered for.
    :param remembered: what was loaded last.
    """
    return json.dumps({**msgspec.structs.asdict(remembered), **asdict(scope)})


def decoded(text: str | None) -> Remembered | None:
    """The content of a Variable, JSON or a bare checksum; None for any other text, which counts as no Variable.

    :param text: the Variable's value; None: there is none.
    """
    bare = (text or "").strip().lower()
    return Remembered(checksum=bare) if re.fullmatch(_CHECKSUM, bare) else value_of(text, Remembered)


def fields_of(text: str) -> dict[str, Any]:
    """The fields of a value that is a JSON object; none for any other.

    :param text: the Variable's value.
    """
    return value_of(text, dict[str, Any]) or {}


def recall(scope: Scope, warn: Warn) -> Remembered | None:
    """The content that was loaded last; None where there is nothing, or it cannot be read.

    :param scope: what the seed is remembered for.
    :param warn: of a logger.
    """
    with _warning(scope, "read", warn):
        return decoded(variable(scope.key))
    return None


def remember(scope: Scope, checksum: str, run_id: str | None, warn: Warn) -> None:
    """Store the checksum of the content that was loaded just now.

    :param scope: what the seed is remembered for.
    :param checksum: SHA-256 of the content.
    :param run_id: of the run that loaded it; None: it has none.
    :param warn: of a logger.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    value = encoded(scope, Remembered(checksum=checksum, run_id=run_id, time=now))
    description = (
        f"cosmos-venv: what {scope.seed} held when {scope.place} loaded it last. Without it, it is loaded anew."
    )
    with _warning(scope, "written", warn):
        set_variable(scope.key, value, description)


def begin_load(scope: Scope, run_id: str, seen: Remembered | None, warn: Warn) -> None:
    """Note that a load begins, and forget what was loaded before: the table may hold anything until the load ends.

    :param scope: what the seed is remembered for.
    :param run_id: of the run that loads it. An earlier try of this run has ended: its load is not another load.
    :param seen: what was remembered when the task looked; None: nothing.
    :param warn: of a logger.
    """
    with _own_turn(scope.key) as file:
        if file is not None:
            before = _loading(file)
            with suppress(OSError):  # the disk is full
                file.write_text(run_id if before in ("", run_id) else _SEVERAL, encoding="utf-8")
        # A race: another run may have loaded the seed after this task looked (found by the exploration of two runs).
        if seen is not None or recall(scope, warn) is not None:
            forget(scope, warn)


def end_load(scope: Scope, run_id: str, checksum: str | None, warn: Warn) -> bool:
    """Note that a load has ended, and remember its content where the content of the table is certain.

    When several loads were under way at once, any of them may have written the table last. Then nothing is remembered,
    and the loads that still go on remember nothing either.

    :param scope: what the seed is remembered for.
    :param run_id: as in ``begin_load``.
    :param checksum: SHA-256 of the content; None: the content of the table is not known.
    :param warn: of a logger.
    :returns: whether no other load was under way, as far as is known.
    """
    with _own_turn(scope.key) as file:
        meanwhile = recall(scope, warn)
        is_alone = meanwhile is None and (file is None or _loading(file) == run_id)
        if is_alone and checksum is not None:
            remember(scope, checksum, run_id, warn)
        elif meanwhile is not None:
            forget(scope, warn)
        if file is not None:
            with suppress(OSError):
                file.unlink()  # last: the lock protects only the file that has the name
    return is_alone


def forget(scope: Scope, warn: Warn) -> None:
    """Delete the Variable of a seed.

    :param scope: what the seed is remembered for.
    :param warn: of a logger.
    """
    with _warning(scope, "deleted", warn):
        forget_variable(scope.key)


def _loading(file: Path) -> str:
    """The id of the run that loads the seed; empty where no load is under way."""
    return (content_of(file) or b"").decode(errors="replace")


@contextmanager
def _warning(scope: Scope, done: str, warn: Warn) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever a store raises
        warn("The Variable %s cannot be %s: %s: %s", scope.key, done, type(error).__name__, error)


@contextmanager
def _own_turn(key: str) -> Iterator[Path | None]:
    """Lock a key among the tasks of this machine within this block. Yields the file of the load under way.

    The block also runs without the lock. Then it gets None if no file can be made or locked, and the file if another
    task has held the lock for ``_MAX_WAIT`` seconds.

    :param key: of the Variable.
    """
    # Another Airflow of this user has Variables of its own.
    whose = f"{os.environ.get('AIRFLOW_HOME', '')}\0{key}".encode(errors="surrogateescape")
    folder, file = caches.cache_dir() / _LAYOUT, None
    with ExitStack() as held:
        with suppress(OSError):
            make_private(folder)
            name = f"{hashlib.sha256(whose).hexdigest()[:_DIGITS]}.load"
            locked = held.enter_context(closing(FileToLock(folder / name, lock=try_lock_if_supported)))
            until = time.monotonic() + _MAX_WAIT
            while not locked.try_lock() and time.monotonic() < until:
                time.sleep(_TURN)
            file = locked.path
        yield file
