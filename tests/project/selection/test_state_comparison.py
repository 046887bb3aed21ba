"""The state of another run: a node is new, modified or fresher for us when a real dbt calls it so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.config import ProjectConfig, RenderConfig
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.graph import DbtGraph
from cosmos_venv.project.manifest import Manifest
from tests.installed import DBT, DBT_111, needs_dbt
from tests.project.selection.conftest import DATA, ours

STATES = (
    "new",
    "old",
    "modified",
    "unmodified",
    "modified.body",
    "modified.configs",
    "modified.relation",
    "modified.persisted_descriptions",
    "modified.macros",
    "modified.contract",
    "nope",
)
ORDERS = [
    *([f"state:{state}"] for state in STATES),
    *(
        [item]
        for item in ("state:modified+", "@state:new", "1+state:modified.body,tag:nightly", "state:modified,tag:core")
    ),
    *([f"result:{status}"] for status in ("error", "success", "fail", "skipped", "nope")),
    *([f"source_status:{status}"] for status in ("fresher", "nope")),
    ["source_status:fresher+", "result:error+", "state:new"],
]

Edit = Callable[[Path], object]


def edited(name: str, old: str, new: str) -> Edit:
    def edit(project: Path) -> None:
        path = project / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    return edit


def appended(name: str, text: str) -> Edit:
    return lambda project: (project / name).open("a").write(text)


def written(name: str, text: str) -> Edit:
    return lambda project: (project / name).write_text(text)


CONTRACT = """models:
  - name: kept
    description: Kept.
    config: {contract: {enforced: true}, persist_docs: {relation: true, columns: true}}
    columns: [{name: id, data_type: int, description: One.}]
  - name: kept_too
    config: {contract: {enforced: true}}
    columns: [{name: id, data_type: int}]
"""
# What the project has beside its own before the first run.
BASE: tuple[Edit, ...] = (
    lambda project: (project / "macros").mkdir(),
    lambda project: (project / "models" / "elsewhere").mkdir(),
    written("macros/outer.sql", "{% macro outer() %}{{ inner() }}{% endmacro %}{% macro inner() %}1{% endmacro %}"),
    written("models/calling.sql", "select {{ outer() }} as id"),
    written("models/kept.sql", "select 1 as id"),
    written("models/kept_too.sql", "select 1 as id"),
    written("models/kept.yml", CONTRACT),
)
EDITS: dict[str, Edit] = {
    "nothing": lambda _: None,
    "body": appended("models/staging/stg_orders.sql", "\n-- more"),
    "seed": appended("seeds/status_map.csv", "z,z\n"),
    "tags": edited("dbt_project.yml", "+tags: [core]", "+tags: [core, more]"),
    "meta": edited("dbt_project.yml", "    staging:", "    +meta: {a: 1}\n    staging:"),
    "macro": edited("macros/outer.sql", "1", "2"),
    "new": written("models/brand_new.sql", "select * from {{ ref('stg_orders') }}"),
    "gone": lambda project: (project / "models" / "lonely.sql").unlink(),
    "moved": lambda project: (project / "models" / "calling.sql").rename(
        project / "models" / "elsewhere" / "calling.sql"
    ),
    "persisted description": edited("models/kept.yml", "Kept.", "Kept well."),
    "contract": edited("models/kept.yml", "data_type: int,", "data_type: bigint,"),
    "source": edited("models/sources.yml", "- name: clicks", "- name: clicks\n        identifier: clicked"),
    "latest version": edited("models/marts/finance/finance.yml", "latest_version: 2", "latest_version: 1"),
}
RESULTS = {
    "model.shopfloor.stg_orders": "error",
    "seed.shopfloor.status_map": "success",
    "model.shopfloor.gone": "error",
}
LOADED = {
    "state": {
        "source.shopfloor.raw.orders": "2026-01-01T00:00:00Z",
        "source.shopfloor.raw.customers": "2026-01-01T00:00:00Z",
    },
    "target": {
        "source.shopfloor.raw.orders": "2026-01-01T00:00:00.5Z",
        "source.shopfloor.raw.customers": "2026-01-01T00:00:00Z",
        "source.shopfloor.events.clicks": "2025-01-01T00:00:00Z",
    },
}
_TIMED: dict[str, Any] = {"timing": [], "thread_id": "t", "execution_time": 0.0, "adapter_response": {}}


def artifact(kind: str, results: list[dict[str, Any]]) -> str:
    version = f"https://schemas.getdbt.com/dbt/{kind}.json"
    return json.dumps(
        {"metadata": {"dbt_schema_version": version}, "results": results, "elapsed_time": 0.0, "args": {}}
    )


def run_results() -> str:
    more = {**_TIMED, "message": None, "failures": None, "compiled": True, "compiled_code": "", "relation_name": None}
    return artifact(
        "run-results/v6", [{"unique_id": each, "status": status, **more} for each, status in RESULTS.items()]
    )


def sources(folder: str) -> str:
    more = {
        **_TIMED,
        "snapshotted_at": "2026-01-02T00:00:00Z",
        "max_loaded_at_time_ago_in_s": 1.0,
        "status": "pass",
        "criteria": {},
    }
    return artifact(
        "sources/v3", [{"unique_id": each, "max_loaded_at": at, **more} for each, at in LOADED[folder].items()]
    )


def dbt(command: list[str | Path], project: Path, orders: object = None) -> str:
    env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(
        command, cwd=project, env=env, input=json.dumps(orders), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the artifacts of its first run in ``state``."""
    project = Path(shutil.copytree(DATA / "project", tmp_path_factory.mktemp("base") / "project"))
    for edit in BASE:
        edit(project)
    dbt([DBT, "parse", "--profiles-dir", "."], project)
    (project / "state").mkdir()
    shutil.copy(project / "target" / "manifest.json", project / "state")
    (project / "state" / "run_results.json").write_text(run_results())
    for folder in LOADED:
        (project / folder / "sources.json").write_text(sources(folder))
    return project


# Those that one parse can have together, so that dbt is started a few times only.
TOGETHER = [
    ["nothing"],
    ["body", "tags", "new", "persisted description", "contract", "latest version"],
    ["seed", "macro", "gone", "source"],
    ["moved"],
    ["meta"],
]


def test_every_edit_is_made() -> None:
    assert sorted(name for names in TOGETHER for name in names) == sorted(EDITS)


@needs_dbt
@pytest.mark.long
@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_what_differs_is_what_dbt_says(names: list[str], base: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(base, tmp_path / "project"))
    for name in names:
        EDITS[name](project)
    orders: list[dict[str, Any]] = [
        {"select": select, "exclude": [], "indirect_selection": mode}
        for select in ORDERS
        for mode in ("eager", "empty")
    ]

    answers = json.loads(dbt([DBT_111 / "bin" / "python", DATA / "dbt_side.py", project, "state"], project, orders))

    manifest = Manifest(project / "target" / "manifest.json")
    manifest.compare_with(project / "state", now=project / "target")
    for order, answer in zip(orders, answers, strict=True):
        assert ours(manifest, **order) == ("refused" if isinstance(answer, str) else answer), order
    modified = answers[orders.index({"select": ["state:modified"], "exclude": [], "indirect_selection": "empty"})]
    assert bool(modified) is (names != ["nothing"])


MODEL = {"resource_type": "model", "original_file_path": "models/a.sql", "package_name": "shop", "fqn": ["shop", "a"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two nodes, one of which another run had; with the word of dbt's variable for its folder."""
    old: dict[str, Any] = {"metadata": {"project_name": "shop"}, "nodes": {"model.shop.a": MODEL}}
    for folder, nodes in (("state", old["nodes"]), ("target", {**old["nodes"], "model.shop.b": MODEL})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "manifest.json").write_text(json.dumps({**old, "nodes": nodes}))
    return tmp_path


def selected(project: Path, item: str, **given: Any) -> set[str]:
    config = ProjectConfig(project, manifest_path=project / "target" / "manifest.json", **given)
    graph = DbtGraph(project=config, render_config=RenderConfig(select=[item]))
    graph.load()
    return set(graph.filtered_nodes)


@pytest.mark.parametrize("name", ["DBT_STATE", "DBT_ENGINE_STATE"])
@pytest.mark.parametrize("is_absolute", [True, False])
def test_dbts_own_variable_names_the_folder(project: Path, name: str, is_absolute: bool) -> None:
    folder = str(project / "state") if is_absolute else "state"

    assert selected(project, "state:new", env_vars={name: folder}) == {"model.shop.b"}


@pytest.mark.parametrize("item", ["state:new", "result:error", "source_status:fresher"])
def test_without_artifacts_it_is_refused_with_what_to_set(project: Path, item: str) -> None:
    with pytest.raises(CosmosValueError, match=rf"'{item}': .* none are given\. Name their folder as DBT_STATE"):
        selected(project, item)


@pytest.mark.parametrize(
    ("item", "name", "made_by"),
    [
        ("state:new", "manifest.json", "dbt parse"),
        ("result:error", "run_results.json", "dbt run or build"),
        ("source_status:fresher", "sources.json", "dbt source freshness"),
    ],
)
def test_an_artifact_that_is_not_there_is_named(project: Path, item: str, name: str, made_by: str) -> None:
    (project / "empty").mkdir()

    with pytest.raises(CosmosValueError, match=rf"empty/{name} is compared with and cannot be read: .*what {made_by}"):
        selected(project, item, env_vars={"DBT_STATE": "empty"})
