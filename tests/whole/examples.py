"""The tasks of the DAG files in examples.md: with cosmos-venv in a test, with Cosmos as a script of its own."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import warnings
from pathlib import Path

SOURCES = re.findall(r"```python\n(.*?)```", Path(__file__).with_name("examples.md").read_text("utf-8"), re.S)


def tasks_of(root: str, source: str, folder: Path) -> list[str]:
    """The ids of the tasks of a DAG file, sorted.

    :param root: the package that the file imports: ``cosmos_venv`` or ``cosmos``.
    :param source: the file as it is written for Cosmos.
    :param folder: holds ``project``, with a manifest and ``dbt_ls.jsonl``, and a script ``dbt`` that lists its nodes.
    """
    from airflow import DAG

    project = folder / "project"
    names: dict[str, object] = {
        "__name__": "example",
        "PROJECT": project,
        "MANIFEST": project / "manifest.json",
        "LISTED": project / "dbt_ls.jsonl",
        "PROFILES": project / "profiles.yml",
        "DBT": str(folder / "dbt"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(re.sub(r"\bfrom cosmos\b", f"from {root}", source), names)  # noqa: S102 - as a user copies it
    (dag,) = (each for each in names.values() if isinstance(each, DAG))
    return sorted(task.task_id for task in dag.tasks)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        import airflow  # noqa: F401 - Cosmos cannot be imported before it

        found = [tasks_of("cosmos", source, Path(sys.argv[1])) for source in SOURCES]
    print(json.dumps(found))
