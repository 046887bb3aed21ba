"""dbt's own answer to many selections of one project. Run by a Python that has dbt; orders on stdin, answers on stdout.

    python dbt_side.py PROJECT < orders.json

An order is ``{"select": […], "exclude": […], "indirect_selection": "eager"}``, an answer a list of ids or the error's
name.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from argparse import Namespace
from typing import Any

from dbt.cli.main import dbtRunner
from dbt.compilation import Linker
from dbt.flags import set_from_args
from dbt.graph import Graph, NodeSelector
from dbt.graph.cli import parse_difference


def answer(graph: Any, manifest: Any, order: dict[str, Any]) -> list[str] | str:
    """Ids, or the name of the error."""
    set_from_args(Namespace(INDIRECT_SELECTION=order["indirect_selection"], WARN_ERROR=False), {})
    try:
        spec = parse_difference(order["select"] or None, order["exclude"] or None)
        return sorted(NodeSelector(graph, manifest, None, include_empty_nodes=True).get_selected(spec))
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
        answers = [answer(graph, manifest, order) for order in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":  # dbt starts processes that import this file anew
    main()
