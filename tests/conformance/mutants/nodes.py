"""Faults of tasks that run several nodes: what is true of each node, and what a retry runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.conformance.adapter import DagPlan

from .dags import MutantOfDags
from .inside import instead_of, part
from .mutant import Mutant, Original


class IsContentWithMostNodes(Mutant):
    """Takes a task for done of whose nodes most are done, and leaves the others to the log."""

    kills = "NODE-001"
    needed = "batches"

    def begin(self) -> None:
        batch = part("operators.run.batch")._Try
        sound = batch._judge

        def judge(self: Any, result: Any, artifacts: Any) -> None:
            statuses = [found.status for found in artifacts.outcomes().values()]
            if statuses.count("success") <= len(statuses) / 2:
                sound(self, result, artifacts)

        batch._judge = judge


class CountsOnlyWhatDbtNames(Mutant):
    """Looks only at the nodes of which dbt has said something."""

    kills = "NODE-002"
    needed = "batches"

    def begin(self) -> None:
        batch = part("operators.run.batch")
        sound = batch._Try._rows

        def rows(self: Any, artifacts: Any) -> Any:
            own, others = sound(self, artifacts)
            return [row for row in own if row.status != batch.MISSING], others

        batch._Try._rows = rows


class RunsAllNodesAgain(Mutant):
    """Runs in each try all that the task is for, as a retry of a task with one node does."""

    kills = "NODE-003"
    needed = "batches"

    def begin(self) -> None:
        instead_of("operators.run.batch", "_done_before", self._nothing)

    @staticmethod
    def _nothing(_: Original, __: Any, journal: Any, nodes: Mapping[str, str]) -> dict[str, Any]:
        journal.start_anew(nodes)
        return {}


class LearnsOfNodesAtTheEnd(Mutant):
    """Learns from `run_results.json` which nodes are done, and of none where dbt was killed before it wrote that."""

    kills = "NODE-004"
    needed = "batches"

    def begin(self) -> None:
        part("operators.run.journal").Journal.note = lambda *_: None


class RunsATestInEachTaskOfItsModels(MutantOfDags):
    """Runs a test in each task that has one of its models, as dbt does where it is told to be eager."""

    kills = "NODE-005"
    needed = "batches"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        if plan.render["test_behavior"] == "none":
            return
        manifest = json.loads(Path(plan.project["manifest_path"]).read_text(encoding="utf-8"))
        tests = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "test"}
        for task in dag.tasks:
            nodes = getattr(task, "nodes", {})
            eager = {name for name, node in tests.items() if not nodes.keys().isdisjoint(node["depends_on"]["nodes"])}
            task.nodes = {**nodes, **{name: f"fqn:{'.'.join(tests[name]['fqn'])}" for name in eager}}
