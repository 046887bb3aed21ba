"""Manifests that are written for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def entry(resource_type: str = "model", **more: Any) -> dict[str, Any]:
    """Return the least that a manifest says of a node, and ``more``."""
    return {"resource_type": resource_type, "original_file_path": "models/a.sql", **more}


def write_manifest(folder: Path, nodes: dict[str, Any], **more: Any) -> Path:
    """Write the manifest of a project ``shop`` into a folder; ``more`` are its other sections."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({"metadata": {"project_name": "shop"}, "nodes": nodes, **more}))
    return path
