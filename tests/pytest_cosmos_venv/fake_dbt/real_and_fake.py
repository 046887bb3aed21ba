"""The real dbt and the fake one on the same project, and what they say in a form that can be compared."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEADLINE = 120.0
# Lines about the state of the folder, the age of this dbt, and YAML, which the fake does not read.
_CIRCUMSTANCES = (
    "Unable to do partial parsing",
    "This version of dbt is deprecated",
    "The configured adapter does not support metadata-based freshness",
)

PROJECT = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: shop\n",
    "profiles.yml": """
shop:
  target: dev
  outputs:
    dev: {type: duckdb, path: ':memory:', settings: {threads: 1}}
""",
    "seeds/piers.csv": "id\n1\n",
    "models/orders.sql": "select 1 as id\n",
    "models/totals.sql": "{{ config(materialized='table') }}\nselect * from {{ ref('orders') }}\n",
    "models/broken.sql": "select nothing from (select 1 as a)\n",
    "models/below.sql": "select * from {{ ref('broken') }}\n",
    "snapshots/history.sql": (
        "{% snapshot history %}{{ config(unique_key='id', strategy='check', check_cols=['id'], target_schema='main') }}"
        "select * from {{ ref('piers') }}{% endsnapshot %}\n"
    ),
    "models/schema.yml": """
models:
  - name: piers_copy
    columns:
      - name: id
        data_tests:
          - unique
          - accepted_values: {name: odd, arguments: {values: [2]}, config: {severity: warn}}
          - accepted_values: {name: bad, arguments: {values: [3]}}
sources:
  - name: raw
    schema: main
    tables:
      - name: late
        config: {loaded_at_query: "select timestamp '2020-01-01'", freshness: {warn_after: {count: 1, period: day}}}
""",
    "models/piers_copy.sql": "select 1 as id\n",
}


@dataclass(frozen=True)
class Answer:
    """The output and the exit code of a call."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        """Standard output without what differs from call to call: times, durations, versions, the count of macros."""
        return [line for line in map(comparable, self.stdout.splitlines()) if line is not None]


@dataclass(frozen=True)
class Dbt:
    """One dbt, real or fake, and the project it works on."""

    executable: Path
    project: Path
    libraries: Path | None = None
    """The folder of the database drivers of dbt 2."""

    @property
    def target(self) -> Path:
        return self.project / "target"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the environment that runs the tests but what an executable needs."""
        quiet = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "0", "DBT_USE_COLORS": "0", "HTTPS_PROXY": "http://127.0.0.1:9"}
        libraries = {} if self.libraries is None else {"LD_LIBRARY_PATH": str(self.libraries)}
        return {"PATH": os.environ["PATH"], **quiet, **libraries}

    def start(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.executable), *arguments],
            cwd=self.project,
            env={**self.environment, **(variables or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, variables: Mapping[str, str] | None = None) -> Answer:
        with self.start(*arguments, variables=variables) as process:
            stdout, stderr = process.communicate(timeout=DEADLINE)
        return Answer(process.returncode, stdout, stderr)


def comparable(line: str) -> str | None:
    """The line without what differs from call to call; None for lines that tell of the call's circumstances."""
    text = re.sub(r"^\d\d:\d\d:\d\d  ?", "", line).rstrip()
    if text.startswith(_CIRCUMSTANCES):
        return None
    if text.startswith("Found "):  # tests and sources are told by YAML, which the fake does not read
        text = re.sub(r", \d+ (data test|source|unit test)s?\b", "", text)
    text = re.sub(r"\d+\.\d+s\b", "#s", text)
    text = re.sub(r"\d+\.\d+ seconds", "# seconds", text)
    text = re.sub(r"=\d+\.\d+\.\d+\w*", "=#", text)
    return re.sub(r"\d+ macros", "# macros", text)


def write_project(folder: Path) -> Path:
    """The project of these tests, in a folder of its own."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
