"""The nodes of a manifest that dbt selects: one engine for ``select``, ``exclude`` and YAML selectors.

:source: dbt's own selection. The tests compare both in fixed cases and in random ones.
"""

from __future__ import annotations

from cosmos_venv.project.selection.evaluate import Definitions, evaluate, from_lists
from cosmos_venv.project.selection.graph import SelectionGraph

__all__ = ["Definitions", "SelectionGraph", "evaluate", "from_lists"]
