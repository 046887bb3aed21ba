"""The real dbt, forked and started: each command on the example project, compared in all that it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv.dbt.warm.process import WarmStart, dbt_program
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import CompletedCommand, GuardedProcess, run_guarded
from tests.dbt.warm.conftest import end_all_servers
from tests.installed import DBT, DBT_111, copy_of_example, needs_dbt

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),  # fifty commands of dbt
    needs_dbt,
]

PYTHON_MODEL = "import os, signal, time\ndef model(dbt, session):\n    {}\n    return session.sql('select 1 as id')\n"
TROUBLE = {
    "models/trouble/broken.sql": "select no_such_column from {{ ref('stg_vessels') }}\n",
    "models/trouble/after_broken.sql": "select * from {{ ref('broken') }}\n",
    "models/trouble/killed.py": PYTHON_MODEL.format("os.kill(os.getpid(), signal.SIGKILL)"),
    "models/trouble/interrupted.py": PYTHON_MODEL.format("os.kill(os.getpid(), signal.SIGINT); time.sleep(2)"),
    "tests/always_fails.sql": "select 1 as id\n",
    "tests/warns.sql": "{{ config(severity='warn') }} select 1 as id\n",
    "macros/greet.sql": "{% macro greet(name) %}{% do log('ahoy ' ~ name, info=true) %}{% endmacro %}\n",
}
SOUND = ["--exclude", "path:models/trouble", "always_fails", "warns"]
COMMANDS = {
    "seed": ["seed"],
    "run": ["run", *SOUND],
    "test": ["test", *SOUND],
    "snapshot": ["snapshot"],
    "build": ["build", *SOUND],
    "compile": ["compile", *SOUND],
    "ls": ["ls", "--output", "json"],
    "docs": ["docs", "generate"],
    "freshness": ["source", "freshness"],
    "run-operation": ["run-operation", "greet", "--args", "{name: harbour}"],
    "clone": ["clone", "--state", "state", *SOUND],
    "seed-again": ["seed", "--full-refresh"],
    "failing-model": ["run", "--select", "broken+"],
    "failing-test": ["test", "--select", "always_fails"],
    "fail-fast": ["build", "--fail-fast", "--select", "broken", "stg_vessels", "route_days"],
    "warning": ["test", "--select", "warns"],
    "warning-as-error": ["--warn-error", "test", "--select", "warns"],
    "interrupt": ["run", "--select", "interrupted"],
    "killed": ["run", "--select", "killed"],
    "no-such-option": ["run", "--no-such-option"],
    "no-such-model": ["run", "--select", "no_such_model"],
    "quiet": ["--quiet", "run", "--select", "stg_vessels"],
    "json": ["--log-format", "json", "run", "--select", "stg_vessels"],
    "threads": ["run", "--threads", "4", *SOUND],
}
# dbt numbers nodes in the order in which sets give them.
VARIABLES = {"DBT_PROFILES_DIR": ".", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "PYTHONHASHSEED": "0"}
_CHANGING = [
    (r"\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"\d{4}-\d\d-\d\d[T ]TIME(Z|\+00:00)?", "MOMENT"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d+\.\d+ ?s\b", "SECONDS"),
    (r"\d+ hours \d+ minutes and \d+\.\d+ seconds", "DURATION"),
    (r"0x[0-9a-f]+", "ADDRESS"),
    (r'"pid": \d+', "PID"),
    (r"\b\d+\.\d+\b", "NUMBER"),
]
_CANCELS_WHAT_IS_OVER = re.compile(r"CANCEL query (?!model\.)")
_CHANGING_KEYS = {
    "generated_at",
    "invocation_id",
    "invocation_started_at",
    "run_started_at",
    "created_at",
    "execution_time",
    "elapsed_time",
    "timing",
    "thread_id",
    "pid",
    "ts",
    "elapsed",
    "user_id",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one command, without the parts that differ each time."""

    status: int
    lines: list[str]
    artifacts: dict[str, Any]
    tables: dict[str, list[Any]]


@dataclass
class Project:
    """The example in a folder of its own, with a database of its own."""

    folder: Path
    start: Any
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def make(self) -> None:
        copy_of_example(self.folder)
        for name, text in TROUBLE.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text)
        (self.folder / "profiles.yml").write_text(
            "harbor: {target: dev, outputs: {dev: {type: duckdb, path: harbor.duckdb, threads: 1}}}\n"
        )

    def run(self, name: str) -> None:
        if name == "clone":
            shutil.copytree(self.folder / "target", self.folder / "state", dirs_exist_ok=True)
        for file in (self.folder / "target").glob("*.json"):
            if file.name != "manifest.json":
                file.unlink()
        done = run_guarded(
            [str(DBT), *COMMANDS[name]],
            env={**os.environ, **VARIABLES},
            cwd=self.folder,
            launcher=self.start,
        )
        self.outcomes[name] = self._outcome(done, is_ordered="threads" not in name)

    def _outcome(self, done: CompletedCommand, *, is_ordered: bool) -> Outcome:
        # Whether dbt cancels what is over depends on whether the number of its thread was used again.
        lines = [self._neutral(line) for line in done.lines if not _CANCELS_WHAT_IS_OVER.search(line)]
        artifacts = {
            file.name: self._without_changing(json.loads(file.read_text()))
            for file in sorted((self.folder / "target").glob("*.json"))
        }
        if not is_ordered:
            lines = sorted(re.sub(r"\d+ of", "N of", line) for line in lines)
            artifacts["run_results.json"]["results"].sort(key=str)
        return Outcome(status=done.returncode, lines=lines, artifacts=artifacts, tables=self._tables())

    def _neutral(self, text: str) -> str:
        text = text.replace(str(self.folder), "FOLDER")
        for pattern, word in _CHANGING:
            text = re.sub(pattern, word, text)
        return text

    def _without_changing(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._without_changing(each) for key, each in value.items() if key not in _CHANGING_KEYS}
        if isinstance(value, list):
            return [self._without_changing(each) for each in value]
        return self._neutral(value) if isinstance(value, str) else value

    def _tables(self) -> dict[str, list[Any]]:
        with duckdb.connect(str(self.folder / "harbor.duckdb"), read_only=True) as database:
            names = database.execute(
                "select table_schema || '.' || table_name from information_schema.tables order by 1"
            ).fetchall()
            found = {}
            for (name,) in names:
                if name != "main.stg_crossings":  # a view of a file, whose path counts from the project's folder
                    answer = database.execute(f"select * from {name}")  # noqa: S608 - a name of our own project
                    kept = [at for at, column in enumerate(answer.description) if not column[0].startswith("dbt_")]
                    found[name] = sorted([str(row[at]) for at in kept] for row in answer.fetchall())
            return found


@pytest.fixture
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Project]]:
    base = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as folder:
        patch.setattr(tempfile, "tempdir", folder)
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        reasons: list[str] = []
        warm = WarmStart(
            program=dbt_program(DBT_111, DBT),
            idle=600,
            most=4,
            cancellation=Cancellation(),
            report=reasons.append,
            count=reasons.append,
            is_required=True,
        )
        made = Project(base / "warm" / "harbor", warm), Project(base / "plain" / "harbor", GuardedProcess)
        for project in made:
            project.make()
        for name in COMMANDS:
            for project in made:
                project.run(name)
        assert reasons == ["warm"] * len(COMMANDS)
        yield made
        end_all_servers()


# One test: each worker of pytest-xdist would run all fifty commands for its share of several.
def test_each_command_leaves_the_same_behind_forked_or_started(projects: tuple[Project, Project]) -> None:
    warm, plain = (project.outcomes for project in projects)

    for name in COMMANDS:
        for fact in fields(Outcome):
            seen, required = (getattr(outcomes[name], fact.name) for outcomes in (warm, plain))
            assert seen == required, f"dbt {name}: {fact.name}"
    assert {warm[name].status for name in ("seed", "run", "test", "docs", "warning")} == {0}
    assert {warm[name].status for name in ("failing-model", "failing-test", "fail-fast", "warning-as-error")} == {1}
    assert warm["killed"].status == -signal.SIGKILL
    assert warm["no-such-option"].status == 2
    assert "ahoy harbour" in "\n".join(warm["run-operation"].lines)
    assert {"manifest.json", "catalog.json"} <= warm["docs"].artifacts.keys()
    assert len(warm["run"].artifacts["run_results.json"]["results"]) == 4
    assert warm["run"].tables["main.route_days"]
