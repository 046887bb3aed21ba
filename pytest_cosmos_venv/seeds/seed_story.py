"""What is a ready-made scenario? A sentence that requires something of seeds, and the steps that show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pytest_cosmos_venv.seeds.scenario import SeedScenario

Level = Literal["must", "should"]
"""``should``: it follows from the sentence in a case that the sentence does not name."""
Steps = Callable[["SeedScenario"], object]


@dataclass(frozen=True, kw_only=True)
class SeedStory:
    """One ready-made scenario; ``cosmos_seed_scenario.play(story)`` plays it, ``str(story)`` is its id.

    :param id: for ever: never renumbered or reused.
    :param sentence: of Cosmos's page "Managing seeds", as it stands there.
    :param steps: what is done, with what must be seen after each step.
    :param options: of ``cosmos_seed_scenario(...)``.
    """

    id: str
    sentence: str
    steps: Steps = field(repr=False, compare=False)
    level: Level = "must"
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return self.id


class Chapter:
    """Collects the stories of one module.

    :param options: of every story, unless it gives its own.
    """

    def __init__(self, **options: Any) -> None:
        self.stories: list[SeedStory] = []
        self._options = options

    def story(self, sentence: str, *, level: Level = "must", **options: Any) -> Callable[[Steps], Steps]:
        """Add the decorated steps; their id is the function's name."""

        def add(steps: Steps) -> Steps:
            self.add(steps.__name__.replace("_", "-"), sentence, steps, level=level, **options)
            return steps

        return add

    def add(self, name: str, sentence: str, steps: Steps, *, level: Level = "must", **options: Any) -> None:
        """Add steps under an id."""
        chosen = {**self._options, **options}
        self.stories.append(SeedStory(id=name, sentence=sentence, steps=steps, level=level, options=chosen))
