"""All mutants, so that one import knows them."""

from __future__ import annotations

from . import api  # noqa: F401 - each module registers its own
from . import env, env_contents, env_failures  # noqa: F401
from . import seed, seed_changes, seed_memory  # noqa: F401
