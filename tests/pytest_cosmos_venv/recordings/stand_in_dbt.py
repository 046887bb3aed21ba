"""A stand-in for a real dbt: a script of the test, with what a dbt leaves behind, and no start of seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 60.0
PROLOGUE = """\
import json, os, signal, sys, time
from pathlib import Path

def write(name, content):
    Path("target").mkdir(exist_ok=True)
    Path("target", name).write_text(content if isinstance(content, str) else json.dumps(content))

def event(name, msg, **data):
    folder = Path(os.environ["DBT_LOG_PATH"])
    folder.mkdir(exist_ok=True)
    with (folder / "dbt.log").open("a") as file:
        file.write(json.dumps({"data": data, "info": {"name": name, "msg": msg, "level": "info"}}) + "\\n")

"""


def write_dbt(folder: Path, code: str) -> Path:
    """Write an executable ``dbt`` that runs this code, with ``write(artifact, content)`` and ``event(name, msg)``."""
    dbt = folder / "bin" / "dbt"
    dbt.parent.mkdir(parents=True, exist_ok=True)
    dbt.write_text(f"#!{sys.executable} -IS\n{PROLOGUE}{code}", encoding="utf-8")
    dbt.chmod(0o755)
    return dbt


def recorder(recording: Path, dbt: Path) -> list[str]:
    """The command line that records calls of a dbt."""
    return [sys.executable, "-m", "pytest_cosmos_venv.recordings", str(recording), "--", str(dbt)]


def record(
    recording: Path, dbt: Path, *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Record one call of a dbt."""
    return subprocess.run(
        [*recorder(recording, dbt), *arguments],
        cwd=cwd,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the environment that runs the tests but what a recorder needs."""
    quiet = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "0", "DBT_USE_COLORS": "0", "HTTPS_PROXY": "http://127.0.0.1:9"}
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(ROOT),
        **quiet,
        **(variables or {}),
    }
