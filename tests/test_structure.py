"""Imports of the packages run one way."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cosmos_venv", "pytest_cosmos_venv", "conformance")


def test_no_files_import_each_other() -> None:
    """Imports inside functions and under TYPE_CHECKING count."""
    graph = grimp.build_graph(*PACKAGES)
    sorter = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})

    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_benchmarks_know_nothing_of_the_tools() -> None:
    importers = [
        path.name
        for path in (ROOT / "benchmarks").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tools"
    ]

    assert importers == []
