"""Faults of tasks that run several nodes: what is true of each node, and what a retry runs."""

from __future__ import annotations

import json
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
        instead_of("operators.run.batch", "_refuse_failed", self._refuse)

    @staticmethod
    def _refuse(sound: Original, own: Any, *others: Any) -> None:
        statuses = [each.status for each in own.values()]
        if statuses.count("success") <= len(statuses) / 2:
            sound(own, *others)


class CountsOnlyWhatDbtNames(Mutant):
    """Looks only at the nodes of which dbt has said something."""

    kills = "NODE-002"
    needed = "batches"

    def begin(self) -> None:
        instead_of("operators.run.batch", "outcomes_of", self._without_missing)

    @staticmethod
    def _without_missing(sound: Original, *given: Any) -> Any:
        own, others = sound(*given)
        return {node: each for node, each in own.items() if each.status != "missing"}, others


class RunsAllNodesAgain(Mutant):
    """Runs in each try all that the task is for, as a retry of a task with one node does."""

    kills = "NODE-003"
    needed = "batches"

    def begin(self) -> None:
        instead_of("operators.run.batch", "done_before", lambda *_: {})


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
