"""Faults in which dbt command runs, by which dbt, and what becomes of its exit code."""

from __future__ import annotations

import shutil
from typing import Any

from pytest_cosmos_venv.conformance.adapter import Task

from .dags import MutantOfDags, saying, without
from .doing import DoesOtherwise
from .mutant import Mutant, around


class OtherCommandLine(Mutant):
    """One of its operators gives dbt another command line."""

    of_class: str

    def spoil(self, operator: Any) -> None:
        if type(operator).__name__ == self.of_class:
            around(operator, "run_subprocess", self.run)

    def run(self, _: Any, sound: Any, command: list[str], **named: Any) -> Any:
        """Run dbt as it has it.

        :param command: the sound one: the executable, the words of the command, its flags.
        """
        return sound(self.line(command), **named)

    def line(self, sound: list[str]) -> list[str]:
        """The other command line."""
        raise NotImplementedError


def without_target(line: list[str]) -> list[str]:
    """The same for the target that the profile itself names."""
    at = line.index("--target")
    return [*line[:at], *line[at + 2 :]]


class BuildsWithoutTests(OtherCommandLine):
    """Builds by `dbt run`: seeds and tests have operators of their own."""

    kills = "CMD-001"
    of_class = "DbtBuildVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return [sound[0], "run", *sound[2:]]


class ListsTwice(OtherCommandLine):
    """Lists the nodes once to count them, and once more to show them."""

    kills = "CMD-002"
    of_class = "DbtLSVirtualenvOperator"

    def run(self, _: Any, sound: Any, command: list[str], **named: Any) -> Any:
        sound(command, **named)
        return sound(command, **named)


class LoadsSeedsIntoTheDefaultTarget(OtherCommandLine):
    """Hands the profile on to dbt seed and forgets the target."""

    kills = "CMD-003"
    of_class = "DbtSeedVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return without_target(sound)


class TakesSnapshotsByBuilding(OtherCommandLine):
    """Takes snapshots by `dbt build`, in which they are contained."""

    kills = "CMD-004"
    of_class = "DbtSnapshotVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return [sound[0], "build", *sound[2:]]


class AsksForFreshnessByItsOldName(OtherCommandLine):
    """Calls it `dbt source snapshot-freshness`, as it was called before dbt 0.21."""

    kills = "CMD-005"
    of_class = "DbtSourceVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return [*sound[:2], "snapshot-freshness", *sound[3:]]


class RunsInTheDefaultTarget(OtherCommandLine):
    """Was written when a profile had one target, and hands none on to dbt run."""

    kills = "CMD-006"
    of_class = "DbtRunVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return without_target(sound) if "--target" in sound else sound


class TestsByBuilding(OtherCommandLine):
    """Tests by `dbt build`, so that what is tested is fresh."""

    kills = "CMD-007"
    of_class = "DbtTestVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return [sound[0], "build", *sound[2:]]


class RunsTheMacroOfItsTask(OtherCommandLine):
    """Takes the task's id for the name of the macro."""

    kills = "CMD-008"
    of_class = "DbtRunOperationVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return ["task" if word == "grant" else word for word in sound]


class MakesDocsByCompiling(OtherCommandLine):
    """Makes do with `dbt compile`, which writes a manifest as well."""

    kills = "CMD-009"
    of_class = "DbtDocsVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return [sound[0], "compile", *sound[3:]]


class ClonesByRunning(OtherCommandLine):
    """Came before dbt 1.6, which brought `dbt clone`, and runs the models in its place."""

    kills = "CMD-010"
    of_class = "DbtCloneVirtualenvOperator"

    def line(self, sound: list[str]) -> list[str]:
        return [sound[0], "run", *sound[2:]]


class TakesTheFirstDbtOnPath(Mutant):
    """Starts `dbt` by its bare name, the environment's folder last on PATH."""

    kills = "CMD-011"

    def spoil(self, operator: Any) -> None:
        around(operator, "run_subprocess", self.run)

    def run(self, operator: Any, sound: Any, command: list[str], env: dict[str, str], cwd: str, **named: Any) -> Any:
        """Run the dbt that is found."""
        found = shutil.which("dbt", path=env.get("PATH"))
        if found is None:
            return sound(command, env, cwd, **named)
        local: Any = super(self.operators().DbtVirtualenvBaseOperator, operator)
        return local.run_subprocess([found, *command[1:]], env, cwd, **named)


class PassesOverAFailedNode(Mutant):
    """Fails for dbt's exit code 2 alone: 1 says that dbt has done its work, and some nodes have not."""

    kills = "CMD-014"

    def spoil(self, operator: Any) -> None:
        around(operator, "handle_exception", self.judge)

    def judge(self, _: Any, sound: Any, result: Any) -> Any:
        """Pass over exit code 1."""
        return None if result.exit_code == 1 else sound(result)


class SaysThatDbtFailed(DoesOtherwise):
    """Says that dbt has failed, and leaves the rest to the log."""

    kills = "CMD-015"

    def do(self, operator: Any, sound: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return sound(*args, **kwargs)
        except Exception:  # noqa: BLE001 - as such a fault has it
            raise RuntimeError("dbt failed: see the log.") from None


class InstallsPackagesAlways(Mutant):
    """Runs `dbt deps` wherever a project lists packages: it does no harm."""

    kills = "CMD-017"

    def change(self, task: Task) -> Task:
        return task.with_arguments(install_deps=True)


class InstallsWhereNothingIsSaid(MutantOfDags):
    """Makes an environment where no mode is named: that works on every machine."""

    kills = "CMD-024"

    def replan(self, plan: Any) -> Any:
        is_named = "execution_mode" in plan.execution
        return plan if is_named else saying(plan, execution={"execution_mode": "virtualenv"})


class LooksForTheLocalDbtOnPath(Mutant):
    """Takes `dbt_executable_path` for dbt ls alone, and lets local tasks run the dbt on PATH."""

    kills = "CMD-018"

    def make_dag(self, plan: Any) -> Any:
        return super().make_dag(without(plan, execution="dbt_executable_path"))
