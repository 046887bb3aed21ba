"""Cosmos's import path of the base of ``DbtDag`` and ``DbtTaskGroup``, for annotations and ``isinstance``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.public_names import name_lookup
from cosmos_venv.rendering.project_rendering import RenderedProject as DbtToAirflowConverter

__all__ = ["DbtToAirflowConverter"]

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
