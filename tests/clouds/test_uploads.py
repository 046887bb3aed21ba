"""The tests of the other files here, run where Airflow's providers of the clouds are installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.installed import PROVIDERS, ROOT, needs_providers

pytestmark = [pytest.mark.long, needs_providers]


@pytest.mark.parametrize(
    "name", ["uploads", "remote_files", "remote_environments", "docs_pages", "async_queries async_kills"]
)
def test_files_go_through_the_providers_own_hooks(name: str) -> None:
    files = [str(Path(__file__).with_name(f"{each}.py")) for each in name.split()]
    options = ["-p", "no:cacheprovider", "-q", "--cosmos-implementation=cosmos_venv"]

    done = subprocess.run(
        [str(PROVIDERS), "-m", "pytest", *options, *files],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
