"""The answers of a real dbt to many selections, of one process: a program for the Python of a dbt of 1.x.

Each line of its input is a JSON list: the folder of a project, with a profile in it, and lists of words of commands.
The project is parsed where it is another one than before, and its manifest written. Each line of its output is a JSON
list: for each command the unique ids that it would run. Where dbt refuses the project, it is the error as a JSON text.
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
    "all": ("all",),
}
"""The types of nodes that a command runs."""


def main() -> None:
    from dbt.cli.main import dbtRunner

    runners: dict[str, Any] = {}
    out = sys.stdout
    for line in sys.stdin:
        folder, commands = json.loads(line)
        places = ["--project-dir", folder, "--profiles-dir", folder]
        with contextlib.redirect_stdout(io.StringIO()):
            if folder not in runners:
                parsed = dbtRunner().invoke(["parse", "--no-partial-parse", *places])
                if parsed.exception:  # dbt refuses the project
                    runners = {}
                    out.write(json.dumps(str(parsed.exception)) + "\n")
                    out.flush()
                    continue
                runners = {folder: dbtRunner(manifest=parsed.result)}
            answers = [_answer(runners[folder], words, places) for words in commands]
        out.write(json.dumps(answers) + "\n")
        out.flush()


def _answer(runner: Any, words: list[str], places: list[str]) -> list[str]:
    command, *flags = words
    types = [word for name in TYPES[command] for word in ("--resource-type", name)]
    keys = ["--output", "json", "--output-keys", "unique_id"]
    listed = runner.invoke(["--quiet", "ls", *types, *keys, *places, *flags])
    if listed.exception:
        raise listed.exception
    return sorted(json.loads(each)["unique_id"] for each in listed.result or ())


if __name__ == "__main__":
    main()
