"""Faults in what becomes of a project's nodes."""

from __future__ import annotations

from typing import Any

from pytest_cosmos_venv.conformance.adapter import BEFORE, DagPlan

from .dags import MutantOfDags, part, saying, tasks_of, without


class ForgetsWhatIsSelected(MutantOfDags):
    """Leaves out what is excluded, and shows all the rest, whatever is selected."""

    kills = "RENDER-001"

    def replan(self, plan: DagPlan) -> DagPlan:
        return without(plan, render="select")


class WaitsForTheFirstParent(MutantOfDags):
    """Lets a model wait for the first model that it reads, and not for the others."""

    kills = "RENDER-002"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        if plan.groups:  # in which who loses what comes after it would come loose from what comes after the group too
            return
        for model in tasks_of(dag, "Run"):
            for other in sorted(model.upstream_list, key=lambda parent: parent.task_id)[1:]:
                part(other, model)


class DetachesInBuildAlone(MutantOfDags):
    """Knows tests of several parents only where a node's task builds it: there they were missed first."""

    kills = "RENDER-004"

    def replan(self, plan: DagPlan) -> DagPlan:
        has_tests = plan.render["test_behavior"] == "after_each"
        return without(plan, render="should_detach_multiple_parents_tests") if has_tests else plan


class TestsUnasked(MutantOfDags):
    """Takes TestBehavior.NONE for nothing said, and tests after each node."""

    kills = "RENDER-005"

    def replan(self, plan: DagPlan) -> DagPlan:
        is_none = plan.render["test_behavior"] == "none"
        return saying(plan, render={"test_behavior": "after_each"}) if is_none else plan


class TestsAfterEveryTask(MutantOfDags):
    """Lets the one test of a DAG wait for every task by name: hundreds of edges."""

    kills = "RENDER-006"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        if plan.render["test_behavior"] == "after_all" and not plan.groups:
            for test in tasks_of(dag, "Test"):
                test.set_upstream([task for task in dag.tasks if task is not test])


class LetsADetachedTestRunAtOnce(MutantOfDags):
    """Takes a test out of its parents' tasks with BUILD, and forgets to let it wait for them."""

    kills = "RENDER-007"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        if plan.render["test_behavior"] == "build":
            for test in tasks_of(dag, "Test"):
                for parent in list(test.upstream_list):
                    part(parent, test)


class OtherSources(MutantOfDags):
    """Takes one way of rendering sources for another."""

    taken: str
    shown: str

    def replan(self, plan: DagPlan) -> DagPlan:
        is_meant = plan.render.get("source_rendering_behavior") == self.taken
        return saying(plan, render={"source_rendering_behavior": self.shown}) if is_meant else plan


class ShowsSourcesUnasked(OtherSources):
    """Takes SourceRenderingBehavior.NONE for "leave none out"."""

    kills = "RENDER-008"
    taken, shown = "none", "all"


class ShowsSourcesWithWorkAlone(OtherSources):
    """Shows a source only where there is something to do with it, with SourceRenderingBehavior.ALL, too."""

    kills = "RENDER-009"
    taken, shown = "all", "with_tests_or_freshness"


class ShowsIdleSources(OtherSources):
    """Shows sources that have neither tests nor freshness as well, where only such with work are wanted."""

    kills = "RENDER-010"
    taken, shown = "with_tests_or_freshness", "all"


class TestsEachNodeOfAGroup(MutantOfDags):
    """Knows the one test at the end only for a whole DAG: in a group it tests after each node."""

    kills = "RENDER-011"

    def replan(self, plan: DagPlan) -> DagPlan:
        return saying(plan, render={"test_behavior": "after_each"}) if plan.groups and _tests_last(plan) else plan


def _tests_last(plan: DagPlan) -> bool:
    return bool(plan.render["test_behavior"] == "after_all")


class JoinsAGroupAtItsFirstTask(MutantOfDags):
    """Puts one task of a group after what stands before it; others that read nothing begin at once."""

    kills = "RENDER-012"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        if plan.groups:
            before = dag.get_task(BEFORE)
            for root in before.downstream_list[1:]:
                part(before, root)


class LetsTheSecondGroupWait(MutantOfDags):
    """Keeps the last task of each model beside the project, and lets the next group's tasks wait for it."""

    kills = "RENDER-013"

    def rewire(self, dag: Any, plan: DagPlan) -> None:
        last: dict[str, Any] = {}
        for task in tasks_of(dag, "Run") if len(plan.groups) > 1 else ():
            _, _, own = task.task_id.partition(".")
            if own in last:
                task.set_upstream(last[own])
            last[own] = task
