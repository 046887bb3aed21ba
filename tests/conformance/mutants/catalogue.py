"""All mutants, so that one import knows them."""

from __future__ import annotations

from . import (  # noqa: F401  # noqa: F401
    api,
    env,
    env_contents,
    env_failures,
    seed,
    seed_changes,
    seed_memory,
)
