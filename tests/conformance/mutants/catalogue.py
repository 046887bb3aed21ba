"""All mutants, so that one import knows them."""

from __future__ import annotations

from . import api, cmd, cmd_surroundings, err, load, render  # noqa: F401 - each module registers its own
