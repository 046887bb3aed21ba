"""Cosmos's import path of ``DbtTaskGroup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.dag import DbtTaskGroup
from cosmos_venv.public_names import name_lookup

__all__ = ["DbtTaskGroup"]

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
