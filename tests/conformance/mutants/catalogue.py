"""All mutants, so that one import knows them."""

from __future__ import annotations

from . import api, kill, lock, lock_owners, sec  # noqa: F401 - each module registers its own
