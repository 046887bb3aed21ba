"""Scenarios of what ``when_seed_changes`` is refused with, asked one thing at a time.

The toolkit's own ask at once whether it is refused, in which words, and where a library is missing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_cosmos_venv.seeds.ready_made import OTHER_MODES
from pytest_cosmos_venv.seeds.scenario_model import SeedStory

if TYPE_CHECKING:
    from pytest_cosmos_venv import SeedScenario

CHANGES = "when_seed_changes"
_SENTENCE = "Configuring it with any other execution mode raises a CosmosValueError at DAG-build time."
_BUILD_SENTENCE = "when_seed_changes is incompatible with TestBehavior.BUILD […]; this combination also raises […]."
GROUP = "port/north"


def _lacks_a_library(harbor: SeedScenario) -> bool:
    """Whether the mode cannot be had here."""
    with suppress(Exception):
        try:
            harbor.build()
        except ImportError:
            harbor.trace.add("build the DAG: a library of the mode is missing")
            return True
    return False


def _refused(harbor: SeedScenario) -> None:
    if not _lacks_a_library(harbor):
        harbor.must_be_refused()


def _refused_in_words(harbor: SeedScenario) -> None:
    if not _lacks_a_library(harbor):
        harbor.must_be_refused(CHANGES, harbor.setup.execution_mode)


def _refused_without_a_library(harbor: SeedScenario) -> None:
    harbor.must_be_refused()


def _stories() -> list[SeedStory]:
    found = []
    for start, steps in {
        "refused-with": _refused,
        "refused-in-words-with": _refused_in_words,
        "refused-without-the-library-of": _refused_without_a_library,
    }.items():
        for mode in OTHER_MODES:
            options = {"behavior": CHANGES, "execution_mode": mode}
            found.append(SeedStory(id=f"{start}-{mode}", sentence=_SENTENCE, steps=steps, options=options))
    in_a_group = {"behavior": CHANGES, "execution_mode": OTHER_MODES[0], "places": (GROUP,)}
    found.append(SeedStory(id="refused-with-a-mode-in-a-group", sentence=_SENTENCE, steps=_refused, options=in_a_group))
    for name, places in {"refused-with-build": ("harbor",), "refused-with-build-in-a-group": (GROUP,)}.items():
        build = {"behavior": CHANGES, "test_behavior": "build", "places": places}
        found.append(SeedStory(id=name, sentence=_BUILD_SENTENCE, steps=_refused, options=build))
    return found


REFUSALS: tuple[SeedStory, ...] = tuple(_stories())
