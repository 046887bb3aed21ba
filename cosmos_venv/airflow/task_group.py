"""Cosmos's import path of ``DbtTaskGroup``."""

from __future__ import annotations

from cosmos_venv.dag import DbtTaskGroup

__all__ = ["DbtTaskGroup"]
