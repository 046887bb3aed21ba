"""Calls of ``cosmos-venv`` in tests, and the DAG file that they name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def cosmos_venv(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``cosmos-venv`` with these arguments, run to its end."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cosmos_venv.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write_dag_file(folder: Path, source: str) -> Path:
    """``dag.py`` in this folder."""
    path = folder / "dag.py"
    path.write_text(source)
    return path
