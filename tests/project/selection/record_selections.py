"""Recording what dbt 2 answers to the selections of tests/data/selection/cases.json: the file dbt2.json beside it.

    python -m tests.project.selection.record_selections .cache/envs/dbt2/bin/dbt

It has the YAML selectors as dbt 2 writes them into a manifest, and of the answers only those that differ from dbt 1's.
Each selection is one process of dbt, so all of them take more than a minute.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.throwaway import throwaway_folder

DATA = Path(__file__).resolve().parents[2] / "data" / "selection"
CASES: list[dict[str, Any]] = json.loads((DATA / "cases.json").read_text(encoding="utf-8"))
RECORD = DATA / "dbt2.json"
_UNLISTED_BY_DBT_1 = "analysis"


class Dbt2:
    """A dbt 2 and a copy of the project that probes selections.

    :param program: the ``dbt``.
    :param folder: where the copy goes; it must not exist.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program.absolute()
        self._project = Path(shutil.copytree(DATA / "project", folder))

    def manifest(self) -> Path:
        """The manifest that it writes for the project."""
        done = self._run("parse")
        if done.returncode != 0:
            raise RuntimeError(f"dbt parse has failed: {done.stdout}{done.stderr}")
        return self._project / "target" / "manifest.json"

    def answer(self, case: Mapping[str, Any]) -> list[str] | dict[str, str]:
        """The ids that ``dbt ls`` lists for a case, in order, or the first line of its error.

        Analyses are left out, as dbt 1 leaves them out: dbt 2 lists them unasked.

        :param case: one of cases.json.
        """
        given = [f"--{name}={item}" for name in ("select", "exclude") for item in case.get(name, ())]
        if "selector" in case:
            given.append(f"--selector={case['selector']}")
        flags = case.get("dbt_flags", [])
        done = self._run("ls", "--output", "json", "--output-keys", "unique_id", "--quiet", *given, *flags)
        if done.returncode != 0:
            return {"error": _first_error(done.stderr + done.stdout)}
        listed = [json.loads(line)["unique_id"] for line in done.stdout.splitlines() if line.startswith("{")]
        is_wanted = _UNLISTED_BY_DBT_1 in flags
        return sorted(each for each in listed if is_wanted or not each.startswith(f"{_UNLISTED_BY_DBT_1}."))

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), words[0], "--profiles-dir", ".", *words[1:]]
        env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        return subprocess.run(command, cwd=self._project, env=env, capture_output=True, text=True, check=False)


def difference(case: Mapping[str, Any], answer: Sequence[str] | Mapping[str, str]) -> dict[str, Any] | None:
    """How an answer of dbt 2 differs from that of dbt 1; None: it does not, or both refuse the selection.

    :param case: one of cases.json, with the answer of dbt 1.
    :param answer: as `Dbt2.answer` gives it.
    """
    is_refused = isinstance(case["dbt"], dict)
    if isinstance(answer, Mapping):
        return None if is_refused else dict(answer)
    before = set() if is_refused else set(case["dbt"])
    more, less = sorted(set(answer) - before), sorted(before - set(answer))
    return {"more": more, "less": less} if more or less or is_refused else None


def main(program: Path) -> None:
    """Write the record anew.

    :param program: the ``dbt``.
    """
    with throwaway_folder("record-selections-") as folder:
        dbt = Dbt2(program, folder / "project")
        manifest = json.loads(dbt.manifest().read_text(encoding="utf-8"))
        found = {case["id"]: difference(case, dbt.answer(case)) for case in CASES}
    differences = {name: each for name, each in found.items() if each is not None}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in differences.items())
    selectors = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(manifest["selectors"].items())
    )
    version = json.dumps(manifest["metadata"]["dbt_version"])
    text = f'{{\n "dbt": {version},\n "selectors": {{\n{selectors}\n }},\n "differences": {{\n{lines}\n }}\n}}\n'
    RECORD.write_text(text, encoding="utf-8")
    print(f"{RECORD.name}: dbt {json.loads(version)}, {len(differences)} of {len(CASES)} answers differ")


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines()]
    return next((line for line in lines if line.startswith(("error:", "[error]"))), lines[0] if lines else "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
