"""Ask a real dbt for the words of the tasks of many drawn projects, and print what is wrong and what was drawn.

    python -m tests.rendering.prove_selectors --dbt 1.11 --projects 2000 [--seed 1] [--commands 50]

With ``--commands N``, each answer for N projects is also asked of the command ``dbt ls``, and compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.engines import ENGINES
from tests.rendering.asked_dbt import AskedDbt, DbtOfCommands, ProjectRefused, asked_dbt
from tests.rendering.drawn_projects import DrawnProject, drawn_projects
from tests.rendering.words_of_tasks import judge_words


class DifferentAnswers(AssertionError):
    """The command answers otherwise than the process that keeps the manifest."""


class BothWays:
    """Asks the process, and for the first projects the command too.

    :param process: asked for each project.
    :param commands: asked for the first projects.
    :param projects: number of these projects.
    """

    def __init__(self, process: AskedDbt, commands: AskedDbt, projects: int) -> None:
        self._process, self._commands, self._left = process, commands, projects
        self.executable = process.executable

    def parse(self, folder: Path) -> None:
        self._process.parse(folder)

    def ask(self, folder: Path, commands: Sequence[list[str]]) -> list[list[str]]:
        answers = self._process.ask(folder, commands)
        if self._left > 0:
            self._left -= 1
            by_command = self._commands.ask(folder, commands)
            if by_command != answers:
                raise DifferentAnswers(list(zip(commands, answers, by_command, strict=True)))
        return answers


def prove(asked: AskedDbt, projects: int, *, start: int, with_spaces: bool) -> Counter[str]:
    """Return what was drawn; print each project whose words are wrong.

    :param asked: the dbt.
    :param projects: their number.
    :param start: seed of Hypothesis.
    :param with_spaces: whether names may have spaces.
    """
    counts: Counter[str] = Counter()
    began = time.monotonic()

    @seed(start)
    @settings(
        max_examples=projects,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(project=drawn_projects(with_spaces=with_spaces))
    def each(project: DrawnProject) -> None:
        with tempfile.TemporaryDirectory() as name:
            try:
                judged = judge_words(project, asked, Path(name, "shop"))
            except ProjectRefused as error:
                counts["refused"] += 1
                print("refused:", str(error)[-300:], flush=True)
                return
        counts.update(
            {
                "projects": 1,
                "words": judged.asked,
                "wrong": bool(judged.wrong),
                "with a warning of words": bool(judged.excused),
                **project.odd,
            }
        )
        if judged.wrong:
            print(_shown(project, judged.wrong), flush=True)
        if counts["projects"] % 50 == 0:
            print(f"{time.monotonic() - began:.0f} s", dict(counts), flush=True)

    each()
    return counts


def _shown(project: DrawnProject, wrong: dict[str, Any]) -> str:
    files = "\n".join(f"--- {name}\n{text}" for name, text in project.files.items())
    return f"WRONG {wrong}\n{replace(project, files={})}\n{files}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dbt", choices=[engine.name for engine in ENGINES], default="1.11")
    parser.add_argument("--projects", type=int, default=2000)
    parser.add_argument("--commands", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    (engine,) = (each for each in ENGINES if each.name == given.dbt)
    with tempfile.TemporaryDirectory() as folder, asked_dbt(engine, Path(folder, "dbt")) as process:
        asked = BothWays(process, DbtOfCommands(Path(folder, "dbt", "bin", "dbt")), given.commands)
        counts = prove(asked, given.projects, start=given.seed, with_spaces=not engine.is_native)
    print(engine.name, dict(counts))
    if counts["wrong"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
