"""A project whose parse a server may keep, and what a command leaves of it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv.dbt.native.engine import PYTHON
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import CompletedCommand, run_guarded
from tests.installed import DBT, DBT_111, needs_dbt
from tests.waiting import wait_until

DEADLINE = 120.0

MARKS = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    needs_dbt,
]
VARIABLES = {"DBT_PROFILES_DIR": ".", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "PYTHONHASHSEED": "0"}
PIER = {
    "dbt_project.yml": "name: pier\nversion: '1.0'\nprofile: harbor\nvars: {weather: calm}\n",
    "profiles.yml": "harbor: {target: dev, outputs: {"
    "dev: {type: duckdb, path: harbor.duckdb, schema: \"{{ env_var('BERTH', 'main') }}\"}, "
    "prod: {type: duckdb, path: harbor.duckdb, schema: prod}}}\n",
    "macros/greet.sql": "{% macro greet() %}ahoy{% endmacro %}\n",
    "seeds/ships.csv": "id\n1\n2\n",
    "models/old.sql": "select 1 as id\n",
    "models/pier.yml": "models: [{name: pier, columns: [{name: weather, data_tests: [not_null]}]}]\n",
    "models/pier.sql": """{{ config(materialized='table') }}
select '{{ var("weather") }}' as weather, '{{ env_var("TIDE", "low") }}' as tide, '{{ greet() }}' as greeting,
    '{{ target.name }}' as target, 1 as number, (select count(*) from {{ ref("ships") }}) as ships,
    '{{ run_started_at }}' as began, '{{ invocation_id }}' as invocation
""",
}
AT_FIRST = {"weather": "calm", "tide": "low", "greeting": "ahoy", "target": "dev", "number": 1, "ships": 2}
# What is of one command alone, and stands so in the text.
OF_A_COMMAND = re.compile(
    r'"(generated_at|invocation_id|_invocation_id|invocation_started_at|run_started_at)": "[^"]*"'
    r'|"(execution_time|elapsed_time)": [\d.e-]+|"(started_at|completed_at)": "[^"]*"|"thread_id": "[^"]*"'
    r"|(?<=in )[\d.]+(?=s)"
)
# Where a model asks for its time and id.
_RENDERED = re.compile(r"'\d{4}-\d\d-\d\d [^']+' as began|'[0-9a-f-]{36}' as invocation")


@dataclass
class Kept:
    """A project in a folder of its own, and a server that may keep it."""

    folder: Path
    reasons: list[str]

    def start(self, *, keeps: bool) -> WarmStart:
        return WarmStart(
            program=dbt_program(DBT_111, DBT, PYTHON),
            idle=600,
            most=4,
            cancellation=Cancellation(),
            report=self.reasons.append,
            count=self.reasons.append,
            is_required=True,
            keeps_project=keeps,
        )

    def run(self, *words: str, keeps: bool = True, env: dict[str, str] | None = None) -> CompletedCommand:
        return run_guarded(
            [str(DBT), *words],
            env={**os.environ, **VARIABLES, **(env or {})},
            cwd=self.folder,
            start=self.start(keeps=keeps),
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def state(self) -> dict[str, Any]:
        """The server's, when it has nothing to make and no command runs."""

        def idle() -> dict[str, Any] | None:
            said: dict[str, Any] | None
            (place,) = servers.servers()
            said = servers.state_of(place)
            # The keeper that answers is one of those that run.
            return said if said is not None and said["is_prepared"] and said["running"] == 0 else None

        said = wait_until(idle, "the server is not done")
        assert said is not None
        return said

    def keep(self, *words: str, env: dict[str, str] | None = None) -> None:
        """Run a command until it uses what is kept."""
        for _ in range(4):
            before = self.state()["kept_uses"] if servers.servers() else 0
            done = self.run(*words, env=env)
            assert done.returncode == 0, done.lines
            if self.state()["kept_uses"] > before:
                return
        raise AssertionError("the project is not kept")

    def manifest(self) -> str:
        """Without what is of one command alone."""
        text = (self.folder / "target" / "manifest.json").read_text()
        return _RENDERED.sub("-", OF_A_COMMAND.sub("-", text))

    def artifact(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "target" / f"{name}.json").read_text())
        return found

    def row(self, table: str = "main.pier") -> dict[str, Any]:
        with duckdb.connect(str(self.folder / "harbor.duckdb"), read_only=True) as database:
            answer = database.execute(f"select * from {table}")  # noqa: S608 - as above
            (row,) = answer.fetchall()
            return dict(zip([column[0] for column in answer.description], row, strict=True))


def made_pier(folder: Path) -> Kept:
    made = Kept(folder, [])
    for name, text in PIER.items():
        made.write(name, text)
    return made


def change(kept: Kept, name: str, old: str, new: str) -> None:
    text = (kept.folder / name).read_text()
    assert old in text
    kept.write(name, text.replace(old, new))
