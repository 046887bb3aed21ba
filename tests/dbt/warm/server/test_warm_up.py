"""A server makes between commands only what each command would make for itself, and nothing of a project."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.warm.process import DBT
from cosmos_venv.dbt.warm.server.warm_up import run_step
from cosmos_venv.dbt.warm.servers import Program
from cosmos_venv.processes import guard
from tests.dbt.warm.conftest import DEADLINE, Tool
from tests.installed import DBT_111, copy_of_example, environment_of, needs_dbt

# Reads a parse file and writes it again, and says by what.
READ = """
import json, sys, types
package = types.ModuleType("cosmos_venv"); package.__path__ = [sys.argv[1]]; sys.modules["cosmos_venv"] = package
from cosmos_venv.dbt.warm.server import warm_up
warm_up.import_all(dict.fromkeys(sys.argv[2].split(","), False), ["dbt.adapters"])
from dbt.adapters.factory import FACTORY
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumuro_decoder

def is_placeholder(method):
    return "CodeBuilder" in getattr(method, "__func__", method).__code__.co_names

if sys.argv[3] == "beforehand":
    for step in warm_up.steps():
        step()
placeholders = [
    cls.__name__ for cls in warm_up._serialized()
    if cls.__module__.startswith("dbt") and any(is_placeholder(vars(cls)[name]) for name in ("from_dict", "to_dict"))
]
of_a_project = [*FACTORY.adapters, *FACTORY.plugins]
with open(sys.argv[4], "rb") as file:
    manifest = Manifest.from_msgpack(file.read(), decoder=extended_mashumuro_decoder)
print(json.dumps({
    "placeholders": placeholders,
    "of_a_project": of_a_project,
    "schemas": {cls.__name__: cls.json_schema() for cls in warm_up._checked()},
    "nodes": {name: node.to_resource().to_dict(omit_none=False) for name, node in manifest.nodes.items()},
    "packed": manifest.to_msgpack().hex(),
}, default=str))
"""

# A program of dbt's environment that says whether the class of its parse file can read already.
ASKS = """#!{python}
from dbt.contracts.graph.manifest import Manifest
print("CodeBuilder" in Manifest.from_msgpack.__func__.__code__.co_names)
"""


class Asker(Tool):
    """That program."""

    @property
    def program(self) -> Program:
        return Program(environment=DBT_111, script=self.script, modules=DBT)


@pytest.mark.long
@pytest.mark.parametrize("release", ["dbt111", "dbt110"])
def test_what_is_made_beforehand_is_what_the_command_would_have_made(release: str, tmp_path: Path) -> None:
    environment = environment_of(release)
    project = copy_of_example(tmp_path / "harbor")
    database = {"type": "duckdb", "path": "harbor.duckdb"}
    (project / "profiles.yml").write_text(json.dumps({"harbor": {"target": "dev", "outputs": {"dev": database}}}))
    subprocess.run([environment / "bin" / "dbt", "parse", "--profiles-dir", "."], cwd=project, check=True)

    beforehand, at_first_use = (
        _read(environment / "bin" / "python", when, project / "target" / "partial_parse.msgpack")
        for when in ("beforehand", "at-first-use")
    )

    assert len(at_first_use.pop("placeholders")) > 100
    assert beforehand.pop("placeholders") == []
    assert beforehand == at_first_use
    assert beforehand["of_a_project"] == []
    assert {"Project", "DuckDBCredentials"} <= beforehand["schemas"].keys()


def _read(python: Path, when: str, parsed: Path) -> dict[str, Any]:
    words = [str(Path(guard.__file__).parents[1]), ",".join(DBT), when, str(parsed)]
    done = subprocess.run([python, "-c", READ, *words], capture_output=True, text=True, check=True)
    read: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return read


@pytest.mark.long
@needs_dbt
def test_a_server_makes_it_between_commands(short_folder: Path) -> None:
    asker = Asker(folder=short_folder)
    asker.script.parent.mkdir()
    asker.script.write_text(ASKS.format(python=DBT_111 / "bin" / "python"))
    asker.script.chmod(0o755)

    deadline = time.monotonic() + 4 * DEADLINE
    while (said := asker.run().lines) != ["False"]:
        assert said == ["True"]
        assert time.monotonic() < deadline

    assert asker.run_plain().lines == ["True"]


def test_what_cannot_be_made_beforehand_is_left_to_the_command() -> None:
    def step() -> None:
        raise LookupError("another release has it elsewhere")

    run_step(step)
