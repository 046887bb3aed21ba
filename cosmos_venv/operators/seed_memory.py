"""What is remembered of a seed between runs, and where? An Airflow Variable for each DbtDag or DbtTaskGroup and seed.

Best effort: Variables may stand behind any store, which may raise anything. Then the seed is loaded once more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import forget_variable, set_variable, variable
from cosmos_venv.io import map_index
from cosmos_venv.limits import decoded as decoded_json

if TYPE_CHECKING:
    from cosmos_venv.compat import BaseOperator

PREFIX = "cosmos_venv_seed__"
ALGORITHM = "sha256"

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_NO_PART_OF_A_KEY = re.compile(r"[^A-Za-z0-9_.-]")
_SHOWN = 60
_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class Scope:
    """For whom a seed is remembered.

    :param group_id: of the DbtTaskGroup, with the groups around it; None: the project is a DbtDag.
    :param map_index: of the task within a mapped group; None elsewhere.
    :param seed: dbt's unique id.
    """

    dag_id: str
    group_id: str | None
    seed: str
    map_index: int | None = None

    @classmethod
    def of(cls, operator: BaseOperator, context: Mapping[str, Any], seed: str) -> Scope:
        """Of a running task. Groups in its DbtDag or DbtTaskGroup, such as those of folders, do not count."""
        group: Any = operator.task_group
        while group is not None and not getattr(group, "holds_dbt_project", False):
            group = group.parent_group
        group_id = None if group is None else group.group_id
        indices = map_index(context)
        return cls(dag_id=operator.dag_id, group_id=group_id, seed=seed, map_index=int(indices[0]) if indices else None)

    @property
    def key(self) -> str:
        """The Variable's key, at most 240 characters: other scopes have others, and a person sees whose it is."""
        parts = [self.dag_id, self.group_id, self.map_index, self.seed]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGITS]
        return f"{readable(self.dag_id, self.group_id, self.map_index, self.seed.rpartition('.')[2])}__{digest}"

    @property
    def place(self) -> str:
        """For people: ``harbor``, ``port/north``, ``port/north[2]``."""
        place = self.dag_id if self.group_id is None else f"{self.dag_id}/{self.group_id}"
        return place if self.map_index is None else f"{place}[{self.map_index}]"


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What was loaded last.

    :param checksum: None: that is not certain, so the next run loads the seed.
    :param run_id: of the run that loaded it; None where a person has written the Variable.
    :param time: when, in ISO 8601.
    """

    checksum: str | None
    run_id: str | None = None
    time: str | None = None

    @property
    def since(self) -> str:
        return f"since run {self.run_id} ({self.time})" if self.run_id else "by a Variable that names no run"


def readable(*parts: object) -> str:
    """The beginning of a key."""
    texts = [_NO_PART_OF_A_KEY.sub("_", str(part))[:_SHOWN] for part in parts if part is not None]
    return PREFIX + ".".join(texts)


def encoded(scope: Scope, remembered: Remembered) -> str:
    """The Variable's value."""
    return json.dumps({"algorithm": ALGORITHM, **asdict(remembered), **asdict(scope)})


def decoded(text: str | None) -> Remembered | None:
    """What a value says, JSON or a bare checksum; None for anything else, which is as good as nothing."""
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
    """The fields of a value that is a JSON object; none for any other."""
    try:
        content = decoded_json(text, json.loads)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def recall(scope: Scope, warn: Callable[..., object]) -> Remembered | None:
    """What is remembered; None where there is nothing, or it cannot be read.

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

    :param checksum: None: it is not certain.
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
    """Take away what is remembered, before something else is loaded. Returns whether it is gone."""
    try:
        forget_variable(scope.key)
    except Exception as error:  # noqa: BLE001 - whatever a store raises
        warn("The Variable %s cannot be deleted: %s: %s", scope.key, type(error).__name__, error)
        return False
    return True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
