"""Faults in what is remembered of a seed: where, as what, for whom, and what happens if it is lost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from .inside import instead_of, part
from .mutant import Mutant, Original
from .seeding import ConfiguresOtherwise, DecidesOtherwise, ReadsOtherwise, ScopesOtherwise, Turn


class TakesAFasterHash(ReadsOtherwise):
    """Takes BLAKE2, whose digests look the same."""

    kills = "SEED-008"

    def read(self, sound: Original, path: Path) -> Any:
        digest = hashlib.blake2s()
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
        return digest.hexdigest()


class RemembersInAFile(DecidesOtherwise):
    """Keeps what it remembers beside the project, where workers find it faster than a Variable."""

    kills = "SEED-009"
    _project = ""

    def begin(self) -> None:
        super().begin()
        kept: dict[tuple[str, str], Any] = {}
        memory = part("operators.seeds.seed_state")

        def end_load(_: Any, scope: Any, __: str, checksum: str | None, ___: Any) -> bool:
            if checksum is not None:
                kept[self._project, scope.key] = memory.Remembered(checksum=checksum)
            return True

        task = "operators.seeds.seed_load"
        instead_of(task, "recall", lambda _, scope, __: kept.get((self._project, scope.key)))
        instead_of(task, "begin_load", lambda _, scope, *__: kept.pop((self._project, scope.key), 0))
        instead_of(task, "end_load", end_load)

    def load(self, turn: Turn) -> Any:
        self._project = str(turn.task.operator.project_dir)
        return turn.do()


class RemembersForTheProject(ScopesOtherwise):
    """Remembers what a DbtDag has loaded for the project: it has one DAG, mostly."""

    kills = "SEED-010"

    def scope(self, sound: Any) -> Any:
        return replace(sound, dag_id="") if sound.group_id is None else sound


class RemembersForTheDag(ScopesOtherwise):
    """Remembers for the DAG what one of its groups has loaded."""

    kills = "SEED-011"

    def scope(self, sound: Any) -> Any:
        return replace(sound, group_id=None)


class RemembersOneSeed(ScopesOtherwise):
    """Has one Variable for the seeds of a project."""

    kills = "SEED-012"

    def scope(self, sound: Any) -> Any:
        return replace(sound, seed="seeds")


class JoinsIds(ScopesOtherwise):
    """Joins the ids of DAG and groups by two underscores."""

    kills = "SEED-029"

    def scope(self, sound: Any) -> Any:
        joined = "__".join([sound.dag_id, *(sound.group_id or "").split(".")]).rstrip("_")
        return replace(sound, dag_id=joined, group_id=None)


class LetsNoReadFail(Mutant):
    """Reads the Variable as the documentation of Airflow shows it, and lets what that raises pass."""

    kills = "SEED-014"

    def begin(self) -> None:
        variables: Any = import_module("airflow.sdk").Variable

        def recall(_: Any, scope: Any, __: Any) -> Any:
            return part("operators.seeds.seed_state").decoded(variables.get(scope.key, default=None))

        instead_of("operators.seeds.seed_load", "recall", recall)


class FailsWhenItCannotRemember(Mutant):
    """Writes the Variable as any other, and lets the error pass."""

    kills = "SEED-015"

    def begin(self) -> None:
        memory = part("operators.seeds.seed_state")

        def remember(_: Any, scope: Any, checksum: str, *__: Any) -> None:
            value = memory.encoded(scope, memory.Remembered(checksum=checksum))
            part("compat").set_variable(scope.key, value, "")

        instead_of("operators.seeds.seed_state", "remember", remember)


class TrustsWhatItReads(Mutant):
    """Reads the Variable as the JSON that it has written itself."""

    kills = "SEED-016"

    def begin(self) -> None:
        memory = part("operators.seeds.seed_state")

        def recall(_: Any, scope: Any, __: Any) -> Any:
            try:
                text = part("compat").variable(scope.key)
            except Exception:  # noqa: BLE001 - whatever a store raises
                return None
            return None if text is None else memory.Remembered(checksum=json.loads(text)["checksum"])

        instead_of("operators.seeds.seed_load", "recall", recall)


class RemembersByTheWayItWasLoaded(ScopesOtherwise, ConfiguresOtherwise):
    """Has another key for a seed of dbt ls than for one of a manifest."""

    kills = "SEED-023"
    _load = ""

    def begin(self) -> None:
        ScopesOtherwise.begin(self)
        ConfiguresOtherwise.begin(self)

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        self._load = str(given.get("load_method", self._load))
        return given

    def scope(self, sound: Any) -> Any:
        return replace(sound, seed=f"{self._load}.{sound.seed}")
