"""Faults of those who know dbt as a Python package: they meet a dbt that is a program of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from .doing import DoesOtherwise
from .inside import instead_of, part
from .mutant import Mutant, Original

_IS_PROGRAM = "elif os.path.exists(program):"


class ImportsEachDbt(Mutant):
    """Imports dbt in each new environment, to see whether it is whole, and refuses one in which it cannot."""

    kills = "ENV-027"

    def begin(self) -> None:
        installation = part("dbt.installation")
        assert _IS_PROGRAM in installation.DBT_CHECK
        installation.DBT_CHECK = installation.DBT_CHECK.replace(_IS_PROGRAM, "elif False:")


class TakesWhatItCannotImportForBroken(DoesOtherwise):
    """Makes an environment anew in which the package `dbt` is missing: an installation was cut off there."""

    kills = "ENV-028"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        place = operator.kept_directory
        found = list(place.rglob("pyvenv.cfg")) if place is not None and place.exists() else []
        if found and not any(list(each.parent.glob("lib/python3*/site-packages/dbt/cli")) for each in found):
            shutil.rmtree(place)
        return sound(*args, **kwargs)


class TellsTheSummaryOfDbt(Mutant):
    """Puts the line that sums up a run into the error, and leaves the rest to the log."""

    kills = "CMD-022"

    def begin(self) -> None:
        instead_of("operators.run.dbt_run", "failure_text", self._tell)

    @staticmethod
    def _tell(sound: Original, artifacts: Any, *, lines: Sequence[str]) -> Any:
        sums = [line for line in lines if line.startswith("Summary: ")]
        return sums[-1] if sums else sound(artifacts, lines=lines)


class BelievesExitCodeZero(Mutant):
    """Takes exit code 0 for work that is done."""

    kills = "CMD-023"

    def begin(self) -> None:
        instead_of("operators.run.dbt_run", "refuse_undone", lambda *_, **__: None)


class StartsAProgramWithoutAGuard(Mutant):
    """Guards Python processes, and starts a program of its own as one starts a program."""

    kills = "KILL-010"

    def begin(self) -> None:
        operator = part("operators.local_base").DbtLocalBaseOperator
        sound = operator._start

        def start(task: Any, run: Any, command: Any) -> Any:
            if task._served(run.executable).is_native:
                vars(task)["run_subprocess"] = _run_plainly
            return sound(task, run, command)

        operator._start = start


def _run_plainly(command: Sequence[str], env: Mapping[str, str], cwd: str, **_: Any) -> Any:
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    result_class = part("dbt.invocation").FullOutputSubprocessResult
    return result_class(exit_code=done.returncode, output=lines[-1] if lines else "", full_output=lines)
