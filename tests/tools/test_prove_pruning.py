"""The proof that pruning takes no environment from a task, made short: `make prove-environments` makes it whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_no_user_stands_in_an_environment_that_vanishes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.prove_pruning", "--rounds", "200", "--users", "6", "--removals", "11"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    users, rounds, _, removed, *_ = done.stdout.splitlines()[1].split()
    assert users == "6"
    assert int(rounds) >= 200
    assert int(removed) > 10
