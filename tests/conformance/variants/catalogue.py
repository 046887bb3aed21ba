"""All variants, so that one import knows them: each module registers its own."""

from __future__ import annotations

from . import cmd, context, locks, seeds  # noqa: F401
