"""The memory of seeds, loads that broke off, and the turns in which tasks compare and write it.

What was loaded last stands in an Airflow Variable for each DbtDag or DbtTaskGroup and seed. That is best effort:
Variables may stand behind any store, which may raise anything; then the seed is loaded once more. A Variable cannot be
exchanged in one step, so tasks of one machine take turns. Between tasks of several machines there are some milliseconds
left.

A load is an empty file, locked while it lasts. The kernel unlocks it with its process, however that ends, and the file
stays: such a load may have left half a table. Where no file can be made, as in a folder that is not there any more,
every load counts as one that ended well.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import forget_variable, set_variable, variable
from cosmos_venv.files.durable_files import make_private
from cosmos_venv.files.kernel_lock import (
    is_locked_by_another,
    is_locked_or_lockless,
    open_for_locking,
    open_to_ask,
    unlock,
)
from cosmos_venv.files.untrusted import value_of
from cosmos_venv.io import map_index

if TYPE_CHECKING:
    from airflow.sdk import Context


LAYOUT = "seeds-v1"
_MAX_WAIT = 10.0  # seconds: two calls of Airflow's API are waited for, and no task for ever
_TURN = 0.005


@contextmanager
def own_turn(cache_dir: Path, key: str) -> Iterator[None]:
    """Within this block no other task of this machine is in one with this key. Where nothing can be locked, it may be.

    :param cache_dir: the cache folder, which the tasks of this machine share.
    :param key: of the Variable; its last characters are digits of a hash.
    """
    descriptor = _open(cache_dir / LAYOUT, key)
    try:
        until = time.monotonic() + _MAX_WAIT
        while descriptor is not None and not is_locked_or_lockless(descriptor) and time.monotonic() < until:
            time.sleep(_TURN)
        yield
    finally:
        if descriptor is not None:
            unlock(descriptor)
            os.close(descriptor)


def _open(folder: Path, key: str) -> int | None:
    """One of 256 files, so that there are never more of them, however many seeds come and go."""
    try:
        make_private(folder)
        return open_for_locking(folder / f"{key[-2:]}.flock")
    except OSError:
        return None


_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class SeedLoads:
    """All loads of one seed that have not ended well: those that last, and those that have broken off.

    :param cache_dir: the cache folder, which the tasks of this machine share.
    :param key: of the seed's Variable.
    """

    cache_dir: Path
    key: str

    def broken_off(self) -> frozenset[Path]:
        """The files of the loads that have broken off, after which none has ended well."""
        return frozenset(path for path in self._files() if not _is_lasting(path))

    @contextmanager
    def own(self) -> Iterator[OwnLoad]:
        """The block is a load. It has broken off, unless it says in its end how it has ended."""
        with own_turn(self.cache_dir, self.key):
            load = OwnLoad(loads=self, before=self.broken_off(), file=self._locked_file())
        try:
            yield load
        finally:
            load.close()

    def others_last(self, own: Path | None) -> bool:
        """Whether another load of the seed goes on.

        :param own: the file of this task's load; None where it has none.
        """
        return any(_is_lasting(path) for path in self._files() if path != own)

    def _locked_file(self) -> tuple[Path, int] | None:
        path = self._folder / f"{self._name}.{uuid.uuid4().hex}"
        try:
            make_private(self._folder)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return None
        is_locked_or_lockless(descriptor)
        return path, descriptor

    def _files(self) -> list[Path]:
        return list(self._folder.glob(f"{self._name}.*"))

    @property
    def _folder(self) -> Path:
        return self.cache_dir / LAYOUT

    @property
    def _name(self) -> str:
        # Another Airflow of this user has Variables of its own.
        whose = f"{os.environ.get('AIRFLOW_HOME', '')}\0{self.key}"
        return hashlib.sha256(whose.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]


@dataclass(kw_only=True)
class OwnLoad:
    """The load of this task.

    :param loads: all loads of the seed.
    :param before: the files of those that had broken off when it began, over which it has written.
    :param file: its own file with its descriptor; None where none can be made, and once it is closed.
    """

    loads: SeedLoads
    before: frozenset[Path]
    file: tuple[Path, int] | None

    def is_undisturbed(self) -> bool:
        """Whether no other load has broken off since this one began."""
        own = {self.file[0]} if self.file else set()
        return not self.loads.broken_off() - self.before - own

    def end_well(self) -> None:
        """Let what broke off before not count any more. To be called in the seed's turn, as are the other ends."""
        self._remove({*self.before, *([self.file[0]] if self.file else [])})

    def end_in_doubt(self) -> None:
        """End with a whole table of which it is not known whose it is. Loads that last now have to see that: this one
        may have written over theirs.
        """
        self._remove(set(self.before))
        self.break_off(is_forgotten=True)

    def break_off(self, *, is_forgotten: bool) -> None:
        """End where it is not known what is left in the table. Loads that last now have to see that.

        :param is_forgotten: whether nothing older is taken for what the table holds; if not, later loads have to see it
            too.
        """
        if self.file and is_forgotten and not self.loads.others_last(self.file[0]):
            self._remove({self.file[0]})
        self.close()

    def close(self) -> None:
        """Unlock the load's file, which stays where no end was told."""
        if self.file is not None:
            unlock(self.file[1])
            os.close(self.file[1])
            self.file = None

    def _remove(self, files: set[Path]) -> None:
        for path in files:
            with suppress(OSError):
                path.unlink()


def _is_lasting(path: Path) -> bool:
    try:
        descriptor = open_to_ask(path)
    except FileNotFoundError:  # it has ended meanwhile
        return True
    except OSError:
        return False
    try:
        return is_locked_by_another(descriptor)
    finally:
        os.close(descriptor)


PREFIX = "cosmos_venv_seed__"
ALGORITHM = "sha256"

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_NO_PART_OF_A_KEY = re.compile(r"[^A-Za-z0-9_.-]")
_SHOWN = 60


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
        """The scope of a running task. Groups in its DbtDag or DbtTaskGroup, such as those of folders, do not count.

        :param dag_id: id of the task's DAG.
        :param task_group: Airflow's innermost group around the task; None: there is none.
        :param context: Airflow's context of the task.
        :param seed: dbt's unique id.
        """
        group = task_group
        while group is not None and not getattr(group, "holds_dbt_project", False):
            group = group.parent_group
        group_id = None if group is None else group.group_id
        indices = map_index(context)
        return cls(dag_id=dag_id, group_id=group_id, seed=seed, map_index=int(indices[0]) if indices else None)

    @property
    def key(self) -> str:
        """The Variable's key, at most 240 characters: other scopes have others, and a person sees whose it is."""
        parts = [self.dag_id, self.group_id, self.map_index, self.seed]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGITS]
        return f"{readable(self.dag_id, self.group_id, self.map_index, self.seed.rpartition('.')[2])}__{digest}"

    @property
    def place(self) -> str:
        """The scope for people: ``harbor``, ``port/north``, ``port/north[2]``."""
        place = self.dag_id if self.group_id is None else f"{self.dag_id}/{self.group_id}"
        return place if self.map_index is None else f"{place}[{self.map_index}]"


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """The content that was loaded last.

    :param checksum: None: that is not certain, so the next run loads the seed.
    :param run_id: of the run that loaded it; None where a person has written the Variable.
    :param time: when, in ISO 8601.
    """

    checksum: str | None
    run_id: str | None = None
    time: str | None = None

    @property
    def since(self) -> str:
        """The time of the last load, as the end of a sentence in the log."""
        return f"since run {self.run_id} ({self.time})" if self.run_id else "by a Variable that names no run"


def readable(*parts: object) -> str:
    """The beginning of a key, which tells a person whose it is.

    :param *parts: ids and names, the outermost first; None is left out.
    """
    texts = [_NO_PART_OF_A_KEY.sub("_", str(part))[:_SHOWN] for part in parts if part is not None]
    return PREFIX + ".".join(texts)


def encoded(scope: Scope, remembered: Remembered) -> str:
    """The Variable's value.

    :param scope: what the seed is remembered for.
    :param remembered: what was loaded last.
    """
    return json.dumps({"algorithm": ALGORITHM, **asdict(remembered), **asdict(scope)})


def decoded(text: str | None) -> Remembered | None:
    """The content of a Variable, JSON or a bare checksum; None for anything else, which is as good as nothing.

    :param text: the Variable's value; None: there is none.
    """
    if text is None:
        return None
    if _CHECKSUM.fullmatch(bare := text.strip().lower()):
        return Remembered(checksum=bare)
    content = fields_of(text)
    checksum = content.get("checksum", "")
    if content.get("algorithm") != ALGORITHM or not (checksum is None or _CHECKSUM.fullmatch(str(checksum))):
        return None
    return Remembered(checksum=checksum, run_id=_text(content.get("run_id")), time=_text(content.get("time")))


def fields_of(text: str) -> dict[str, Any]:
    """The fields of a value that is a JSON object; none for any other.

    :param text: the Variable's value.
    """
    return value_of(text, dict[str, Any]) or {}


def recall(scope: Scope, warn: Callable[..., object]) -> Remembered | None:
    """The content that was loaded last; None where there is nothing, or it cannot be read.

    :param scope: what the seed is remembered for.
    :param warn: of a logger.
    """
    try:
        text = variable(scope.key)
        found = decoded(text)
    except Exception as error:  # noqa: BLE001 - whatever a store raises
        warn("The Variable %s cannot be read: %s: %s", scope.key, type(error).__name__, error)
        return None
    if found is None and text is not None:
        warn("The Variable %s holds no checksum. It is written anew after the seed is loaded.", scope.key)
    return found


def remember(scope: Scope, checksum: str | None, run_id: str | None, warn: Callable[..., object]) -> None:
    """Write down what was loaded just now.

    :param scope: what the seed is remembered for.
    :param checksum: SHA-256 of the content; None: it is not certain.
    :param run_id: of the run that loaded it; None: it has none.
    :param warn: of a logger.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    value = encoded(scope, Remembered(checksum=checksum, run_id=run_id, time=now))
    description = (
        f"cosmos-venv: what {scope.seed} held when {scope.place} loaded it last. Without it, it is loaded anew."
    )
    try:
        set_variable(scope.key, value, description)
    except Exception as error:  # noqa: BLE001 - whatever a store raises
        warn("The Variable %s cannot be written: %s: %s", scope.key, type(error).__name__, error)


def forget(scope: Scope, warn: Callable[..., object]) -> bool:
    """Take away what is remembered, before something else is loaded.

    :param scope: what the seed is remembered for.
    :param warn: of a logger.
    :returns: whether it is gone.
    """
    try:
        forget_variable(scope.key)
    except Exception as error:  # noqa: BLE001 - whatever a store raises
        warn("The Variable %s cannot be deleted: %s: %s", scope.key, type(error).__name__, error)
        return False
    return True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
