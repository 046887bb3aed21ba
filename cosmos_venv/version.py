"""The version of cosmos-venv."""

from __future__ import annotations

__version__ = "0.3.0"
