"""Faults in what becomes of seeds in a DAG, and in what is refused."""

from __future__ import annotations

from typing import Any

from .inside import instead_of, part
from .mutant import Mutant
from .seeding import WHEN_CHANGED, ConfiguresOtherwise, behavior_of


class RemembersUnlessToldOtherwise(ConfiguresOtherwise):
    """Found it safe to skip what has not changed, and made that the default."""

    kills = "SEED-001"

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        return {"seed_rendering_behavior": WHEN_CHANGED, **given} if name == "RenderConfig" else given


class LeavesOutWhatDoesNothing(ConfiguresOtherwise):
    """Saw no use in a task that does nothing: render_only is none."""

    kills = "SEED-002"

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "seed_rendering_behavior": "none"} if behavior_of(given) == "render_only" else given


class KeepsAPlaceForWhatIsLeftOut(ConfiguresOtherwise):
    """Needed something for models to stand behind: none is render_only."""

    kills = "SEED-003"

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "seed_rendering_behavior": "render_only"} if behavior_of(given) == "none" else given


class TakesAWatcherForAnythingElse(ConfiguresOtherwise):
    """Keeps a list of modes that cannot skip seeds, which was made before there were watchers."""

    kills = "SEED-021"

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        is_watcher = "watcher" in str(getattr(given.get("execution_mode"), "value", ""))
        return {**given, "execution_mode": "local"} if is_watcher else given


class BuildsWhatHasNotChanged(ConfiguresOtherwise):
    """Takes TestBehavior.BUILD as it comes, and lets dbt build load the seed each time."""

    kills = "SEED-022"

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        test = getattr(given.get("test_behavior"), "value", "")
        is_both = (behavior_of(given), test) == (WHEN_CHANGED, "build")
        return {**given, "seed_rendering_behavior": "always"} if is_both else given


class _RefusesOtherwise(Mutant):
    """Says otherwise that a configuration cannot be."""

    def begin(self) -> None:
        for name in ("RenderConfig", "ExecutionConfig", "DbtDag", "DbtTaskGroup"):
            instead_of("", name, self._make)

    def _make(self, sound: Any, **given: Any) -> Any:
        refusal: Any = part("exceptions").CosmosValueError
        try:
            return sound(**given)
        except refusal as error:
            raise self.instead(error, given) from None

    def instead(self, error: Exception, given: dict[str, Any]) -> Exception:
        """Return what is raised in place of the error.

        :param given: the arguments of the class.
        """
        raise NotImplementedError


class RefusesWithoutAName(_RefusesOtherwise):
    """Raises the right error, and says in it that a configuration cannot be."""

    kills = "SEED-033"

    def instead(self, error: Exception, given: dict[str, Any]) -> Exception:
        return type(error)("This configuration is not supported.")


class LoadsTheModeFirst(_RefusesOtherwise):
    """Imports the operators of the execution mode before it looks at what they are to do."""

    kills = "SEED-034"

    def instead(self, error: Exception, given: dict[str, Any]) -> Exception:
        mode = str(getattr(getattr(given.get("execution_config"), "execution_mode", None), "value", ""))
        is_elsewhere = mode in ("docker", "kubernetes", "aws_eks", "aws_ecs")
        return ModuleNotFoundError(f"No module named {mode!r}") if is_elsewhere else error


class RendersAllThatTheWatcherLoads(ConfiguresOtherwise):
    """Renders every seed in WATCHER: its dbt build loads it in any case."""

    kills = "SEED-027"
    _is_watcher = False

    def change_config(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if name == "ExecutionConfig":
            self._is_watcher = getattr(given["execution_mode"], "value", "") == "watcher"
        elif self._is_watcher and behavior_of(given) == "none":
            return {**given, "seed_rendering_behavior": "always"}
        return given

    def begin(self) -> None:
        super().begin()
        instead_of("", "DbtDag", self._build)

    def _build(self, sound: Any, *, execution_config: Any, **given: Any) -> Any:
        if self._is_watcher and given["render_config"].seed_rendering_behavior.value != WHEN_CHANGED:
            execution_config.execution_mode = part("constants").ExecutionMode.LOCAL
        return sound(execution_config=execution_config, **given)


class RenamesABehavior(Mutant):
    """Calls the behavior by what it does: skip."""

    kills = "SEED-028"

    def begin(self) -> None:
        part("constants").SeedRenderingBehavior.NONE._value_ = "skip"


class KnowsNothingOfAirflowAsync(Mutant):
    """Has the mode AIRFLOW_ASYNC, and refuses what its own list of modes does not name."""

    kills = "SEED-031"

    def begin(self) -> None:
        execution, mode = part("config.execution"), part("constants").ExecutionMode
        execution._KNOWING_CHANGED_SEEDS = (mode.LOCAL, mode.VIRTUALENV)
