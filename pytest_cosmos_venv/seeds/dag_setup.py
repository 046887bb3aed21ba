"""How is a project rendered in a scenario? The author's choices, each in the words of Cosmos's enums."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.implementation import Implementation
from pytest_cosmos_venv.seeds.places import Place

_ENUMS = {
    "SeedRenderingBehavior": "behavior",
    "TestBehavior": "test_behavior",
    "ExecutionMode": "execution_mode",
}
LOADS = {"manifest": "a manifest", "dbt_ls": "dbt ls"}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a DAG file says; None leaves a parameter to the implementation.

    :param behavior: of ``SeedRenderingBehavior``.
    :param load: ``manifest`` or ``dbt_ls``.
    :param test_behavior: of ``TestBehavior``.
    :param execution_mode: of ``ExecutionMode``.
    """

    places: tuple[Place, ...]
    behavior: str | None = None
    load: str = "manifest"
    test_behavior: str | None = None
    execution_mode: str = "local"

    def __post_init__(self) -> None:
        if self.load not in LOADS:
            raise ToolkitMisuse(f"load={self.load!r}: give one of {', '.join(LOADS)}.")

    def check(self, implementation: Implementation) -> None:
        """Refuse what the implementation has no word for.

        :raises ToolkitMisuse: naming parameter and words.
        """
        for enum, parameter in _ENUMS.items():
            text = getattr(self, parameter)
            if text is not None:
                member(implementation, enum, text, parameter=parameter)

    def __str__(self) -> str:
        words = [f"{'DbtTaskGroup' if place.groups else 'DbtDag'} {place}" for place in self.places]
        words += [self.behavior or "no seed_rendering_behavior given", f"loaded from {LOADS[self.load]}"]
        words += [f"test behavior {self.test_behavior}"] if self.test_behavior else []
        return ", ".join([*words, f"execution mode {self.execution_mode}"])


def member(implementation: Implementation, enum: str, text: str, *, parameter: str) -> Any:
    """The member of an enum of the implementation's ``constants``, by its name or value in any case.

    :param parameter: of the fixture, for the error.
    :raises ToolkitMisuse: the implementation has none of that name.
    """
    members: type[Enum] | None = getattr(implementation.module("constants"), enum, None)
    if members is None:
        raise ToolkitMisuse(f"{parameter}={text!r}: {implementation.import_root}.constants has no {enum}.")
    found = next((one for one in members if text.lower() in (one.name.lower(), str(one.value).lower())), None)
    if found is None:
        raise ToolkitMisuse(
            f"{parameter}={text!r}: {enum} of {implementation.import_root} has "
            f"{', '.join(one.name.lower() for one in members)}."
        )
    return found
