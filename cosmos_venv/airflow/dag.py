"""Cosmos's import path of ``DbtDag``."""

from __future__ import annotations

from cosmos_venv.dag import DbtDag

__all__ = ["DbtDag"]
