"""Which nodes of a manifest does dbt select? One engine for ``select``, ``exclude`` and YAML selectors.

:source: dbt's own selection, compared case by case and by chance in the tests.
"""

from __future__ import annotations

from cosmos_venv.project.selection.evaluate import evaluate
from cosmos_venv.project.selection.graph import SelectionGraph
from cosmos_venv.project.selection.tree import Definitions, from_lists

__all__ = ["Definitions", "SelectionGraph", "evaluate", "from_lists"]
