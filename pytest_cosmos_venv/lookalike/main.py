"""What does the look-alike ``dbt`` do? It takes dbt's command line, says what dbt says, and writes down each call.

Becomes ``dbt/cli/main.py`` word for word: see the folder's own first words.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from importlib.metadata import distributions, version
from pathlib import Path
from typing import NamedTuple

RECORD_VARIABLE = "COSMOS_DBT_RECORD_DIR"

RECORDED_PREFIXES = ("AIRFLOW_CTX_", "COSMOS_", "DBT_", "PYTHON", "VIRTUAL_ENV")

# The tables are dbt 1.11's own (a test compares them with an installed dbt where there is one).
COMMANDS = frozenset(
    """
    build clean clone compile debug deps init list ls parse retry run run-operation seed show snapshot test
    """.split()  # noqa: SIM905 - sixty quoted words would hide what this is
)
COMMAND_GROUPS = {"docs": {"generate", "serve"}, "source": {"freshness", "snapshot-freshness"}}
# Options that take one value, and options that take words up to the next option; every other option is a flag.
ONE_VALUE = frozenset(
    """
    --add-package --args --defer-state --deprecated-defer --deprecated-favor-state --deprecated-state
    --event-time-end --event-time-start --host --indirect-selection --inline --inline-direct --limit
    --log-file-max-bytes --log-format --log-format-file --log-level --log-level-file --log-path --output -o
    --partial-parse-file-path --port --printer-width --profile --profiles-dir --project-dir --record-timing-info -r
    --sample --selector --source --sqlparse --state --target -t --target-path --threads --vars --warn-error-options
    """.split()  # noqa: SIM905 - as above
)
MANY_VALUES = frozenset(
    """
    --exclude --exclude-resource-type --exclude-resource-types --model --models -m --output-keys
    --resource-type --resource-types --select -s
    """.split()  # noqa: SIM905 - as above
)
NODE_FOLDERS = {"model": ("models", ".sql"), "seed": ("seeds", ".csv"), "snapshot": ("snapshots", ".sql")}
NODES_OF_COMMAND = {"run": ["model"], "seed": ["seed"], "snapshot": ["snapshot"]}


class UsageError(Exception):
    """A command line that dbt would refuse."""


class Invocation:
    """One command line of dbt, read."""

    def __init__(self, arguments: list[str]) -> None:
        self.words: list[str] = []
        self.options: dict[str, list[str]] = {}
        rest = list(arguments)
        while rest:
            self._take(rest)

    @property
    def command(self) -> str:
        """``run``, ``docs generate``, ...

        :raises UsageError: when dbt has no such command.
        """
        first = self.words[0] if self.words else ""
        second = self.words[1] if len(self.words) > 1 else ""
        if first in COMMANDS:
            return first
        if second in COMMAND_GROUPS.get(first, ()):
            return f"{first} {second}"
        raise UsageError(f"No such command '{' '.join(self.words)}'.")

    def last(self, *names: str, default: str) -> str:
        """The value of an option under any of its names; of several the last."""
        values = [value for name in names for value in self.options.get(name, [])]
        return values[-1] if values else default

    def _take(self, rest: list[str]) -> None:
        word = rest.pop(0)
        if not word.startswith("-"):
            self.words.append(word)
            return
        name, has_value, value = word.partition("=")
        values = self.options.setdefault(name, [])
        if has_value:
            values.append(value)
        elif name in ONE_VALUE:
            if not rest:
                raise UsageError(f"Option '{name}' requires an argument.")
            values.append(rest.pop(0))
        elif name in MANY_VALUES:
            while rest and not rest[0].startswith("-"):
                values.append(rest.pop(0))


class Node(NamedTuple):
    """One file of the project that dbt makes a node of."""

    kind: str
    package: str
    file: Path

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def unique_id(self) -> str:
        return f"{self.kind}.{self.package}.{self.name}"

    @property
    def fqn(self) -> list[str]:
        return [self.package, *self.file.parts[1:-1], self.name]

    def as_json(self) -> str:
        """As ``dbt ls --output json`` shows it; no dependencies, because nothing here reads SQL."""
        return json.dumps(
            {
                "unique_id": self.unique_id,
                "name": self.name,
                "resource_type": self.kind,
                "package_name": self.package,
                "original_file_path": self.file.as_posix(),
                "fqn": self.fqn,
                "depends_on": {"macros": [], "nodes": []},
                "tags": [],
                "config": {},
            }
        )


class Record:
    """The file in which this call writes itself down; nothing where the variable is not set."""

    def __init__(self) -> None:
        folder = os.environ.get(RECORD_VARIABLE)
        self._file = Path(folder, f"{time.time_ns()}-{os.getpid()}.jsonl") if folder else None

    def begin(self) -> None:
        """Leave the line that stays when this process is killed."""
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        self._write(
            {
                "event": "start",
                "at": time.time(),
                "argv": sys.argv,
                "cwd": os.getcwd(),  # noqa: PTH109 - dbt's own view, not resolved
                "pid": os.getpid(),
                "ppid": os.getppid(),
                "prefix": sys.prefix,
                "dbt_version": version("dbt-core"),
                "env": {name: value for name, value in os.environ.items() if name.startswith(RECORDED_PREFIXES)},
            }
        )

    def end(self, exit_code: int) -> None:
        """Leave the line that says how it ended."""
        self._write({"event": "end", "at": time.time(), "exit_code": exit_code})

    def _write(self, event: dict[str, object]) -> None:
        if self._file is None:
            return
        # One write of whole lines: a reader that looks meanwhile never sees half of one.
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, (json.dumps(event) + "\n").encode())
        finally:
            os.close(descriptor)


def say(text: str) -> None:
    """One line as dbt's text log has it."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def adapters() -> list[str]:
    """``duckdb=1.0.0`` for every installed adapter look-alike."""
    found = {each.metadata["Name"]: each.version for each in distributions()}
    return sorted(f"{name[4:]}={found[name]}" for name in found if name.startswith("dbt-") and name != "dbt-core")


def nodes(project: Path, command: str, wanted: list[str]) -> list[Node]:
    """What the command works on: one entry per file, narrowed to the names that a selection by name or fqn gives."""
    text = (project / "dbt_project.yml").read_text(encoding="utf-8")
    named = re.search(r"^name:\s*['\"]?(\w+)", text, re.MULTILINE)
    package = named.group(1) if named else project.name
    names = {each.rpartition(":")[2].rpartition(".")[2] for each in wanted}
    return [
        Node(kind, package, file.relative_to(project))
        for kind in NODES_OF_COMMAND.get(command, list(NODE_FOLDERS))
        for file in sorted((project / NODE_FOLDERS[kind][0]).rglob(f"*{NODE_FOLDERS[kind][1]}"))
        if not names or file.stem in names
    ]


def write_run_results(target: Path, command: str, done: list[Node]) -> None:
    """``run_results.json`` with the fields that are read from it."""
    target.mkdir(parents=True, exist_ok=True)
    result = {"status": "success", "execution_time": 0.0, "message": "OK", "failures": None, "adapter_response": {}}
    document = {
        "metadata": {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
            "dbt_version": version("dbt-core"),
        },
        "results": [{**result, "unique_id": each.unique_id, "thread_id": "Thread-1", "timing": []} for each in done],
        "elapsed_time": 0.0,
        "args": {"which": command},
    }
    (target / "run_results.json").write_text(json.dumps(document), encoding="utf-8")


def run(invocation: Invocation) -> int:
    """Do what the command does, as far as an observer of dbt's output and artifacts can tell."""
    command = invocation.command
    project = Path(invocation.last("--project-dir", default=os.environ.get("DBT_PROJECT_DIR", ".")))
    if not (project / "dbt_project.yml").is_file():
        print(f"Error: Invalid value for '--project-dir': no dbt_project.yml in '{project}'.", file=sys.stderr)
        return 2
    wanted = [each for name in ("--select", "-s", "--models", "-m") for each in invocation.options.get(name, [])]
    work = nodes(project, command, wanted)
    if command in ("ls", "list"):
        as_json = invocation.last("--output", default="selector") == "json"
        for each in work:
            print(each.as_json() if as_json else ".".join(each.fqn))
        return 0
    say(f"Running with dbt={version('dbt-core')}")
    if command == "deps":
        say("Warning: No packages were found in packages.yml")
        return 0
    for adapter in adapters():
        say(f"Registered adapter: {adapter}")
    for position, each in enumerate(work, start=1):
        say(f"{position} of {len(work)} OK {each.kind} {each.name} ... [OK in 0.00s]")
    target = project / invocation.last("--target-path", default=os.environ.get("DBT_TARGET_PATH", "target"))
    write_run_results(target, command, work)
    say("Completed successfully")
    say(f"Done. PASS={len(work)} WARN=0 ERROR=0 SKIP=0 TOTAL={len(work)}")
    return 0


def show_version() -> int:
    """What ``dbt --version`` prints, without asking an index for news."""
    print(f"Core:\n  - installed: {version('dbt-core')}\n\nPlugins:")
    for adapter in adapters():
        print(f"  - {adapter.replace('=', ': ')}")
    return 0


def cli() -> None:
    """The console script ``dbt``. Ends the process as dbt's own entry point does, by SystemExit."""
    record = Record()
    record.begin()
    try:
        invocation = Invocation(sys.argv[1:])
        exit_code = show_version() if "--version" in invocation.options else run(invocation)
    except UsageError as error:
        print(f"Usage: dbt [OPTIONS] COMMAND [ARGS]...\n\nError: {error}", file=sys.stderr)
        exit_code = 2
    record.end(exit_code)
    raise SystemExit(exit_code)


if __name__ == "__main__":
    cli()
