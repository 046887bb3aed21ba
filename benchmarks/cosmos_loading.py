"""Benchmark of astronomer-cosmos selecting from a manifest. A black box: its public classes alone are used.

    python cosmos_loading.py MANIFEST PROJECT [SELECTION...]

Prints JSON: the CPU seconds of loading without a selection, and the seconds that each selection adds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cosmos.config import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos.constants import LoadMode
from cosmos.dbt.graph import DbtGraph


def seconds(manifest: Path, project: Path, select: list[str]) -> tuple[float, int]:
    """CPU seconds of ``load()``, and how many nodes are selected."""
    graph = DbtGraph(
        project=ProjectConfig(manifest_path=manifest, project_name=project.name),
        render_config=RenderConfig(select=select),
        execution_config=ExecutionConfig(dbt_project_path=project),
    )
    began = time.process_time()
    graph.load(method=LoadMode.DBT_MANIFEST)
    return time.process_time() - began, len(graph.filtered_nodes)


def main(manifest: Path, project: Path, selections: list[str]) -> None:
    """Measure and print."""
    seconds(manifest, project, [])  # imports what is imported late
    plain, _ = seconds(manifest, project, [])
    beyond = {}
    for selection in selections:
        taken, found = seconds(manifest, project, [selection])
        beyond[selection] = {"seconds": taken - plain, "nodes": found}
    print(json.dumps({"load": plain, "selections": beyond}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
