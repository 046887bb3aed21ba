"""The names that the adapter uses of this project's implementation are there: whoever renames one has to hear of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.adapter import Adapter, Outcome, Task
from conformance.cosmos_layout import CosmosLayout, CosmosVenvAdapter


@pytest.fixture
def adapter() -> CosmosVenvAdapter:
    return CosmosVenvAdapter("cosmos_venv")


def test_the_processes_that_stay_are_those_that_the_implementation_declares(adapter: CosmosVenvAdapter) -> None:
    assert adapter.services == ()
    assert adapter.all_services == ("dbt-warm-server",)


class OfAnotherShape(Adapter):
    import_root = "another"

    def perform(self, task: Task) -> Outcome:
        raise NotImplementedError


def test_of_another_shape_the_import_root_alone_has_to_be_there() -> None:
    assert OfAnotherShape().modules() == ["another"]
    assert CosmosLayout("cosmos").modules() == ["cosmos", "cosmos.operators.virtualenv"]


@pytest.mark.long
def test_what_needs_a_package_that_is_not_installed_is_not_judged_and_the_way_out_is_told(tmp_path: Path) -> None:
    name = "backports" if sys.version_info < (3, 14) else "compression"
    (tmp_path / name).mkdir()
    (tmp_path / name / "zstd.py").write_text("raise ModuleNotFoundError('No module named zstd')", encoding="utf-8")
    (tmp_path / name / "__init__.py").touch()
    options = ["--cosmos-implementation=cosmos_venv", "--cosmos-requirement=REMOTE-001"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--cosmos-conformance", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])},
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )

    assert "1 that cannot be judged here:" in done.stdout
    assert re.search(r"No module named zstd: .* pip install 'cosmos-venv\[remote\]': REMOTE-001\n", done.stdout)
    assert "failed" not in done.stdout
