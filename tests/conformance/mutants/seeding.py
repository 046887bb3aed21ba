"""Faults of seeds: the moment in which a task decides whether dbt loads its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .inside import instead_of, part
from .mutant import Mutant, Original

WHEN_CHANGED = "when_seed_changes"


@dataclass(frozen=True)
class Turn:
    """A task that is about to load its seed, or not.

    :param sound: what cosmos_venv does now.
    :param task: describes the task.
    :param run: runs dbt.
    """

    sound: Original
    task: Any
    run: Callable[[], Any]

    @property
    def context(self) -> Mapping[str, Any]:
        given: Mapping[str, Any] = self.task.context
        return given

    @property
    def file(self) -> Path:
        return Path(self.task.operator.project_dir, self.context["dbt_node_config"]["original_file_path"])

    @property
    def checksum(self) -> str:
        digest = hashlib.sha256()
        with self.file.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
        return digest.hexdigest()

    @property
    def is_full_refresh(self) -> bool:
        return "--full-refresh" in self.task.command

    @property
    def is_in_virtualenv_mode(self) -> bool:
        return "Virtualenv" in type(self.task.operator).__name__

    @property
    def is_known(self) -> bool:
        """Whether what is in the file is what was loaded last."""
        seen = part("operators.seeds.seed_state").recall(self.scope, self.task.operator.log.warning)
        return seen is not None and seen.checksum == self.checksum

    def do(self, run: Callable[[], Any] | None = None) -> Any:
        """Do what cosmos_venv does."""
        return self.sound(self.task, run or self.run)

    def skip(self) -> Any:
        """Succeed without dbt."""
        return part("dbt.command").FullOutputSubprocessResult(0, "", [])

    def remember(self) -> None:
        """Say that what is in the file now was loaded."""
        if self.file.is_file():
            part("operators.seeds.seed_state").remember(self.scope, self.checksum, None, self.task.operator.log.warning)

    @property
    def scope(self) -> Any:
        """The scope for which it is remembered."""
        seed = self.context["dbt_node_config"]["unique_id"]
        operator = self.task.operator
        return part("operators.seeds.seed_state").Scope.of(operator.dag_id, operator.task_group, self.context, seed)


class DecidesOtherwise(Mutant):
    """Does something else in that moment."""

    def begin(self) -> None:
        instead_of("operators.seeds.seed_load", "run_if_changed", lambda sound, *given: self.load(Turn(sound, *given)))

    def load(self, turn: Turn) -> Any:
        """Do the work of the task."""
        raise NotImplementedError


class ReadsOtherwise(Mutant):
    """Finds something else in the file of a seed."""

    def begin(self) -> None:
        instead_of("operators.seeds.seed_load", "sha256_of_file", self.read)

    def read(self, sound: Original, path: Path) -> Any:
        """Return the checksum of what is in the file.

        :raises OSError: it cannot be read.
        """
        raise NotImplementedError


class ScopesOtherwise(Mutant):
    """Remembers a seed for somebody else."""

    def begin(self) -> None:
        scope = part("operators.seeds.seed_state").Scope
        sound = scope.of
        scope.of = lambda *given: self.scope(sound(*given))

    def scope(self, sound: Any) -> Any:
        """The scope for which it is remembered."""
        raise NotImplementedError


class ConfiguresOtherwise(Mutant):
    """Takes what a DAG file says for something else."""

    def begin(self) -> None:
        for name in ("RenderConfig", "ExecutionConfig"):
            instead_of("", name, lambda sound, name=name, **given: sound(**self.change_config(name, given)))

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a configuration.

        :param name: of its class.
        """
        raise NotImplementedError


def behavior_of(given: Mapping[str, Any]) -> str:
    """The ``SeedRenderingBehavior`` among the arguments of a configuration, as text; empty where there is none."""
    return str(getattr(given.get("seed_rendering_behavior"), "value", ""))
