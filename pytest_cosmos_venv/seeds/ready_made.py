"""Which scenarios are ready-made? Every sentence of Cosmos's page "Managing seeds", chapter by chapter."""

from __future__ import annotations

from pytest_cosmos_venv.seeds import stories_of_changes, stories_of_memory, stories_of_rendering
from pytest_cosmos_venv.seeds.seed_story import SeedStory

SEED_SCENARIOS: tuple[SeedStory, ...] = (
    *stories_of_rendering.STORIES,
    *stories_of_changes.STORIES,
    *stories_of_memory.STORIES,
)
"""``@pytest.mark.parametrize("scenario", SEED_SCENARIOS, ids=str)``, and ``cosmos_seed_scenario.play(scenario)``."""
