"""dbt's own answer to many selections of one project. Run by a Python that has dbt; orders on stdin, answers on stdout.

    python dbt_side.py PROJECT [STATE] < orders.json

STATE is a folder with the artifacts of another run, relative to the project.

An order is ``{"select": […], "exclude": […], "indirect_selection": "eager"}``, an answer a list of ids or the error's
name.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner
from dbt.compilation import Linker
from dbt.contracts.state import PreviousState
from dbt.flags import set_from_args
from dbt.graph import Graph, NodeSelector
from dbt.graph.cli import parse_difference


def answer(graph: Any, manifest: Any, order: dict[str, Any], state: PreviousState | None) -> list[str] | str:
    """Ids, or the name of the error."""
    set_from_args(
        Namespace(
            INDIRECT_SELECTION=order["indirect_selection"],
            WARN_ERROR=False,
            STATE_MODIFIED_COMPARE_MORE_UNRENDERED_VALUES=False,
        ),
        {},
    )
    try:
        spec = parse_difference(order["select"] or None, order["exclude"] or None)
        return sorted(NodeSelector(graph, manifest, state, include_empty_nodes=True).get_selected(spec))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is dbt's answer
        return type(error).__name__


def main() -> None:
    """Answer all orders."""
    os.chdir(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        parsed = dbtRunner().invoke(["parse", "--profiles-dir", "."])
        manifest = parsed.result
        linker = Linker()
        linker.link_graph(manifest)
        graph = Graph(linker.graph)
        state = PreviousState(Path(sys.argv[2]), Path("target"), Path.cwd()) if len(sys.argv) > 2 else None
        answers = [answer(graph, manifest, order, state) for order in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":  # dbt starts processes that import this file anew
    main()
