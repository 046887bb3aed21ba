"""Cosmos's import path of ``DbtDag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_venv.dag import DbtDag
from cosmos_venv.public_names import name_lookup

__all__ = ["DbtDag"]

if not TYPE_CHECKING:
    __getattr__ = name_lookup(__name__)
