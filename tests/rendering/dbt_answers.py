"""The answers of a real dbt to many selections, of one process: a program for the Python of a dbt of 1.x.

Each line of its input is a JSON list: the folder of a project, with a profile in it, and lists of words of commands.
The project is parsed where it is another one than before, and its manifest written. Each line of its output is a JSON
list: for each command the unique ids that it would run, or its error. Of ``ls`` the answer is its lines, or its error.
Where dbt refuses the project, the line is the error as a JSON text.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

TYPES = {
    "run": ("model",),
    "seed": ("seed",),
    "snapshot": ("snapshot",),
    "test": ("test", "unit_test"),
    "build": ("model", "seed", "snapshot", "test", "unit_test"),
    "source": ("source",),
    "all": (),
}
"""The types of nodes that a command runs; none: each type."""

ERROR = "error: "
"""The beginning of the only line of an answer that is an error."""


def main() -> None:
    from dbt.cli.main import dbtRunner

    runners: dict[str, Any] = {}
    out = sys.stdout
    for line in sys.stdin:
        folder, commands = json.loads(line)
        places = ["--project-dir", folder, "--profiles-dir", folder]
        with contextlib.redirect_stdout(io.StringIO()):
            if folder not in runners:
                runners = {}
                done = dbtRunner().invoke(["parse", "--no-partial-parse", *places])
                runner = dbtRunner(manifest=done.result)
                if not done.exception:  # a circle of nodes is found later
                    done = runner.invoke([*list_command(["all"]), *places])
                if done.exception:
                    out.write(json.dumps(str(done.exception)) + "\n")
                    out.flush()
                    continue
                runners = {folder: runner}
            answers = [_answer(runners[folder], words, places) for words in commands]
        out.write(json.dumps(answers) + "\n")
        out.flush()


def list_command(words: list[str]) -> list[str]:
    """Return the words of the ``dbt ls`` that lists the nodes of a command as JSON.

    :param words: of the command, such as ``["run", "--select", "orders"]``.
    """
    command, *flags = words
    types = [word for name in TYPES[command] for word in ("--resource-type", name)]
    return ["--quiet", "ls", *types, "--output", "json", "--output-keys", "unique_id", *flags]


def _answer(runner: Any, words: list[str], places: list[str]) -> list[str]:
    if words[0] == "ls":
        # A DAG file names the places itself.
        listed = runner.invoke(["--quiet", *words, *([] if "--project-dir" in words else places)])
        return [f"{ERROR}{listed.exception}"] if listed.exception else list(listed.result or ())
    listed = runner.invoke([*list_command(words), *places])
    if listed.exception:
        return [f"{ERROR}{listed.exception}"]
    return sorted(json.loads(each)["unique_id"] for each in listed.result or ())


if __name__ == "__main__":
    main()
