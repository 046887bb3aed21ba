"""Storing the results of benchmarks, with the machine that they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
MACHINE = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"


def store(name: str, text: str, figures: Mapping[str, Any]) -> None:
    """Keep a benchmark's table for people, and its figures as JSON.

    :param name: of both files, without what they end in.
    """
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
