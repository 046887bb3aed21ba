"""Nodes that the files of a project make, read without dbt: ``LoadMode.CUSTOM``.

What follows from Jinja alone is not seen: references inside macros, computed names. dbt knows them.
"""

from __future__ import annotations

from cosmos_venv.project.custom.parser import parse_project

__all__ = ["parse_project"]
