"""An implementation that has operators for three dbt commands, and neither differs nor fails for it."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, cast

from pytest_cosmos_venv.conformance.adapter import COMMANDS, OPERATOR_CLASSES, DagPlan
from pytest_cosmos_venv.conformance.cosmos_layout import CosmosVenvAdapter

HAS = frozenset({"run", "test", "build"})
_LACKS = frozenset(OPERATOR_CLASSES).difference(HAS)


class FewOperatorsAdapter(CosmosVenvAdapter):
    """cosmos-venv without the operators of seven commands."""

    import_root = "cosmos_venv"
    profiles: ClassVar[frozenset[str]] = CosmosVenvAdapter.profiles - {"seeds", "async", "watcher"}
    has: ClassVar[frozenset[str]] = CosmosVenvAdapter.has - {COMMANDS[command] for command in _LACKS}
    beyond: ClassVar[frozenset[str]] = frozenset()

    def operators(self) -> ModuleType:
        lacking = {OPERATOR_CLASSES[command] for command in _LACKS}
        there = {name: value for name, value in vars(super().operators()).items() if name not in lacking}
        return cast("ModuleType", SimpleNamespace(**there))

    def make_dag(self, plan: DagPlan) -> Any:
        dag = super().make_dag(plan)
        shown = {type(task).__name__ for task in dag.tasks}
        missing = {name for command in _LACKS for name in (_of(command, "Virtualenv"), _of(command, "Local"))}
        if shown & missing:
            raise NotImplementedError(f"There is no {', '.join(sorted(shown & missing))} here.")
        return dag


def _of(command: str, mode: str) -> str:
    return OPERATOR_CLASSES[command].replace("Virtualenv", mode)
