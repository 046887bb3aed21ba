"""Every command on every release of dbt that can be had here, for real, against DuckDB: the table of dbt-versions.md.

Each cell is what this test has seen. A cell that differs from the page fails with both.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cosmos_venv import assets
from cosmos_venv.compat import AirflowException
from cosmos_venv.constants import NODE_CONFIG, ONLY_IF_CHANGED, InvocationMode, LoadMode
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.operators.local import DbtDocsS3LocalOperator
from pytest_cosmos_venv import CosmosAirflow
from tests.engines import EACH_ENGINE, ENGINES, Engine
from tests.harbor import WORKS, Harbor, cells, make_harbor
from tests.installed import ENVIRONMENTS, ROOT, is_missing
from tests.waiting import wait_until

# The file is there from the moment at which the database begins the query.
ENDLESS = """\
{{ config(materialized='table', tags=['failing'], pre_hook="copy (select 1) to 'BEGUN'") }}
select count(*) as n from range(100000000000) a, range(1000) b where a.range % 7 = b.range % 3
"""
OPENLINEAGE = ENVIRONMENTS / "openlineage" / "bin" / "python"
TOLD = """
import json, sys
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.local import DbtRunLocalOperator
project, dbt = sys.argv[1:]
profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=project + "/profiles.yml")
task = DbtRunLocalOperator(
    task_id="run",
    project_dir=project,
    profile_config=profile,
    dbt_executable_path=dbt,
    select="route_total",
    install_deps=False,
)
task.execute({})
told = task.get_openlineage_facets_on_complete(None)
print("TOLD", json.dumps([[each.name for each in told.inputs], [each.name for each in told.outputs], *told.job_facets]))
"""
pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]


def seed(harbor: Harbor) -> str:
    harbor.execute("Seed")
    assert harbor.rows("select count(*) from piers")[0][0] > 0
    return WORKS


def run(harbor: Harbor) -> str:
    harbor.execute("Run", exclude="tag:failing")
    assert harbor.rows("select passengers > 0 from route_total") == [(True,)]
    return WORKS


def run_with_full_refresh(harbor: Harbor) -> str:
    harbor.rows("insert into fct_crossings select * from fct_crossings limit 1")
    doubled = harbor.rows("select count(*) from fct_crossings")[0][0]
    harbor.execute("Run", select="fct_crossings", full_refresh=True)
    assert harbor.rows("select count(*) from fct_crossings")[0][0] == doubled - 1
    return WORKS


def snapshot(harbor: Harbor) -> str:
    harbor.execute("Snapshot")
    assert harbor.rows("select count(*) from vessels_history")[0][0] > 0
    return WORKS


def data_tests(harbor: Harbor) -> str:
    warned: list[list[str]] = []
    harbor.execute(
        "Test",
        exclude="tag:failing test_type:unit",
        on_warning_callback=lambda context: warned.append(context["test_names"]),
    )
    assert warned == [["unique_loose_id"]]
    return WORKS


def failing_test(harbor: Harbor) -> str:
    with pytest.raises(AirflowException) as failure:
        harbor.execute("Build", select="tight")
    assert "test.harbor.unique_tight_id" in str(failure.value)
    assert "fail: Got 1 result" in str(failure.value)
    return WORKS


def unit_tests(harbor: Harbor) -> str:
    harbor.execute("Test", select="test_type:unit")
    return WORKS


def build(harbor: Harbor) -> str:
    harbor.execute("Build", exclude="tag:failing")
    return WORKS


def model_that_fails(harbor: Harbor) -> str:
    with pytest.raises(AirflowException) as failure:
        harbor.execute("Run", select="broken")
    first, second, *_ = str(failure.value).splitlines()
    assert first.endswith("non-zero exit code 1.")
    assert second.startswith("model.harbor.broken: error: ")
    assert str(failure.value).count('"nothing_of_that_name" not found') == 1
    assert "<unknown>" not in str(failure.value)
    return WORKS


def ls(harbor: Harbor) -> str:
    assert "harbor.staging.stg_vessels" in harbor.output("LS", select="stg_vessels")
    return WORKS


def run_operation(harbor: Harbor) -> str:
    harbor.execute("RunOperation", macro_name="sign")
    assert harbor.rows("select id from signed") == [(7,)]
    return WORKS


def source_freshness(harbor: Harbor) -> str:
    if harbor.engine.is_native:
        with pytest.raises(
            AirflowException, match="does not have the command source freshness and has done nothing"
        ) as failure:
            harbor.execute("Source")
        said = re.search(r"Unhandled command: \w+", str(failure.value))
        assert said
        return f"not in dbt 2, the task fails: `{said.group()}`"
    warned: list[list[str]] = []
    harbor.execute("Source", on_warning_callback=lambda context: warned.append(context["test_names"]))
    assert warned == [["ticketing.crossings"]]
    return WORKS


def compiled_sql(harbor: Harbor) -> str:
    operator = harbor.operator("Run", select="stg_vessels")
    operator.execute({})
    assert "as is_in_service" in operator.compiled_sql
    assert "models/staging/stg_vessels.sql" in operator.compiled_sql
    return WORKS


def deps(harbor: Harbor) -> str:
    package = harbor.folder / "signals"
    (package / "models").mkdir(parents=True)
    (package / "dbt_project.yml").write_text("name: signals\nversion: '1.0'\n")
    (package / "models" / "lamps.sql").write_text("select 3 as lamps\n")
    packages = harbor.project / "packages.yml"
    packages.write_text("packages: [{local: ../signals}]\n")
    try:
        harbor.execute("Run", select="lamps", install_deps=True)
    finally:
        packages.unlink()
    assert harbor.rows("select lamps from lamps") == [(3,)]
    return WORKS


def kill(harbor: Harbor) -> str:
    model, begun = harbor.project / "models" / "endless.sql", harbor.folder / "begun.csv"
    begun.unlink(missing_ok=True)
    model.write_text(ENDLESS.replace("BEGUN", str(begun)))
    operator = harbor.operator("Run", select="endless", warm_dbt="off")
    below: list[psutil.Process] = []

    def end_the_task_when_dbt_computes() -> None:
        try:
            wait_until(begun.exists, "the query has begun")
            below.extend(each for each in psutil.Process().children(recursive=True) if "endless" in each.cmdline())
        finally:
            operator.on_kill()

    ender = threading.Thread(target=end_the_task_when_dbt_computes)
    ender.start()
    try:
        with pytest.raises(AirflowException, match="was killed; its dbt was ended"):
            operator.execute({})
    finally:
        ender.join()
        model.unlink()
    assert below
    assert not any(each.is_running() for each in below)
    return WORKS


def docs(harbor: Harbor) -> str:
    found: list[str] = []
    harbor.execute("Docs", callback=lambda folder, **_: found.extend(path.name for path in Path(folder).rglob("*.*")))
    assert {"manifest.json", "catalog.json"} <= set(found)
    return WORKS if "index.html" in found else "differs: `compile --write-catalog` runs, and writes no `index.html`"


def state(harbor: Harbor) -> str:
    (harbor.folder / "state").mkdir(exist_ok=True)
    shutil.copy(_manifest(harbor), harbor.folder / "state")
    model = harbor.project / "models" / "route_total.sql"
    before = model.read_text()
    try:
        model.write_text(before.replace("sum(", "2 * sum("))
        listed = harbor.output("LS", state=str(harbor.folder / "state"), select="state:modified")
    finally:
        model.write_text(before)
    assert [line for line in listed if line.startswith("harbor.")] == ["harbor.route_total", *_tests_of(listed)]
    return WORKS


def _tests_of(listed: list[str]) -> list[str]:
    return [line for line in listed if line.startswith("harbor.") and "a_route_has_a_share" in line]


def clone(harbor: Harbor) -> str:
    (harbor.folder / "state").mkdir(exist_ok=True)
    shutil.copy(_manifest(harbor), harbor.folder / "state")
    harbor.execute("Clone", state=str(harbor.folder / "state"), select="stg_vessels")
    return WORKS


def load_by_dbt_ls(harbor: Harbor) -> str:
    listed = harbor.graph(LoadMode.DBT_LS).nodes
    assert set(listed) == set(harbor.graph(LoadMode.DBT_MANIFEST, _manifest(harbor)).nodes)
    return WORKS


def load_manifest(harbor: Harbor) -> str:
    graph = harbor.graph(LoadMode.DBT_MANIFEST, _manifest(harbor), select=["+route_days"])
    assert {"model.harbor.route_days", "seed.harbor.vessels"} <= set(graph.filtered_nodes)
    assert "model.harbor.fct_crossings" in graph.nodes["model.harbor.route_days"].depends_on
    return WORKS


def _manifest(harbor: Harbor) -> Path:
    kept = harbor.folder / "manifest" / "manifest.json"
    if not kept.exists():
        kept.parent.mkdir()

        def keep(folder: str, **_: Any) -> None:
            (found,) = Path(folder).rglob("manifest.json")
            shutil.copy(found, kept)

        harbor.execute("LS", callback=keep)
    return kept


def local_mode(harbor: Harbor) -> str:
    arguments: dict[str, Any] = {"invocation_mode": InvocationMode.SUBPROCESS}
    harbor.rows("drop view stg_vessels")
    harbor.local("Run", select="stg_vessels", **arguments).execute({})
    assert harbor.rows("select count(*) from stg_vessels")[0][0] > 0
    with pytest.raises(AirflowException, match=r"model\.harbor\.broken: error: .*\n.*nothing_of_that_name"):
        harbor.local("Run", select="broken", **arguments).execute({})
    return WORKS


def callbacks(harbor: Harbor) -> str:
    seen: list[tuple[str, set[str]]] = []
    warned: list[tuple[list[str], list[str]]] = []

    def look(folder: str, *, word: str, **_: Any) -> None:
        seen.append((word, {path.name for path in Path(folder, "target").iterdir()}))

    calling: dict[str, Any] = {"callback": look, "callback_args": {"word": "ahoy"}}
    on_warning = {"on_warning_callback": lambda it: warned.append((it["test_names"], it["test_results"]))}
    harbor.execute("Build", select="loose", **calling, **on_warning)
    with pytest.raises(AirflowException):
        harbor.execute("Run", select="broken", **calling)
    assert [word for word, _ in seen] == ["ahoy", "ahoy"]
    assert all({"manifest.json", "run_results.json"} <= files for _, files in seen)
    ((names, (message,)),) = warned
    assert names == ["unique_loose_id"]
    assert "Got 1 result" in message
    return WORKS


def defer(harbor: Harbor) -> str:
    built = harbor.folder / "prod"
    built.mkdir(exist_ok=True)

    def keep(folder: str, **_: Any) -> None:
        shutil.copy(Path(folder, "target", "manifest.json"), built)

    harbor.execute("Seed", select="vessels", profile_config=harbor.of_target("prod"), callback=keep)
    deferring: dict[str, Any] = {"state": str(built), "defer_to_state": True}
    harbor.execute("Run", select="stg_vessels", profile_config=harbor.of_target("empty"), **deferring)
    assert harbor.rows("select count(*) from empty.stg_vessels") == harbor.rows("select count(*) from prod.vessels")
    tables = "select table_name from information_schema.tables where table_schema = 'empty'"
    assert harbor.rows(tables) == [("stg_vessels",)]
    return WORKS


def seed_when_changed(harbor: Harbor) -> str:
    csv = harbor.project / "seeds" / "piers.csv"
    node = {"unique_id": "seed.harbor.piers", "original_file_path": "seeds/piers.csv"}
    only_if_changed = {ONLY_IF_CHANGED: True, NODE_CONFIG: node, "package_name": "harbor"}

    def loads() -> bool:
        harbor.rows("create or replace table piers as select * from piers limit 0")
        harbor.execute("Seed", select="piers", extra_context=only_if_changed)
        return harbor.rows("select count(*) > 0 from piers") == [(True,)]

    before = csv.read_bytes()
    try:
        assert [loads(), loads()] == [True, False]
        csv.write_bytes(before + before.splitlines(keepends=True)[-1])
        assert [loads(), loads()] == [True, False]
    finally:
        csv.write_bytes(before)
        harbor.execute("Seed", select="piers", full_refresh=True)
    return WORKS


def known_assets(harbor: Harbor) -> str:
    found: list[assets.Lineage] = []

    def look(folder: str, **_: Any) -> None:
        target = Path(folder, "target")
        statuses = {each: end.status for each, end in Artifacts(target=target).outcomes().items()}
        found.append(assets.lineage(statuses, (target / "manifest.json").read_text()))

    harbor.execute("Build", select="route_total vessels", callback=look)
    assert [sorted(found[0].outlets), found[0].inlets] == [
        ["harbor.main.route_total", "harbor.main.vessels"],
        ("harbor.main.fct_crossings",),
    ]
    return WORKS


def openlineage(harbor: Harbor) -> str:
    if is_missing(OPENLINEAGE):
        pytest.skip("no OpenLineage at .cache/envs/openlineage: make test makes it")
    transport = {"type": "file", "log_file_path": str(harbor.folder / "events"), "append": True}
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(harbor.folder / "openlineage"),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
    }
    command = [str(OPENLINEAGE), "-c", TOLD, str(harbor.project), str(harbor.program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    inputs, outputs, *facets = json.loads(done.stdout.rpartition("TOLD ")[2])
    assert (inputs, outputs) == (["harbor.main.fct_crossings"], ["harbor.main.route_total"]), done.stdout
    assert "sql" in facets
    return WORKS


def docs_to_a_cloud(harbor: Harbor) -> str:
    keys: list[str] = []

    class Docs(DbtDocsS3LocalOperator):
        def upload(self, file: Path, key: str) -> None:
            assert file.stat().st_size > 0
            keys.append(key)

    arguments: dict[str, Any] = {
        "project_dir": harbor.project,
        "profile_config": harbor.profile,
        "dbt_executable_path": harbor.program,
        "install_deps": False,
        "connection_id": "cloud",
        "bucket_name": "docs",
    }
    if not harbor.engine.is_native:
        Docs(task_id="all", **arguments).execute({})
        assert keys == ["index.html", "manifest.json", "catalog.json"]
        return WORKS
    with pytest.raises(AirflowException, match=r"dbt 2 has left no index\.html .* Give required_files="):
        Docs(task_id="all", **arguments).execute({})
    Docs(task_id="some", required_files=["manifest.json", "catalog.json"], **arguments).execute({})
    assert keys == ["manifest.json", "catalog.json"]
    return "with `required_files`; else the task fails: no `index.html`"


ROWS: dict[str, Callable[[Harbor], str]] = {
    "`seed`": seed,
    "`run`": run,
    "`run --full-refresh`": run_with_full_refresh,
    "a model that fails": model_that_fails,
    "`snapshot`": snapshot,
    "`test`, with a warning": data_tests,
    "a test that fails": failing_test,
    "unit tests": unit_tests,
    "`build`": build,
    "`ls`": ls,
    "`run-operation`": run_operation,
    "`deps`": deps,
    "compiled SQL in Airflow": compiled_sql,
    "a kill": kill,
    "`source freshness`": source_freshness,
    "`docs generate`": docs,
    "`state:modified`": state,
    "`clone`": clone,
    "loading by `dbt ls`": load_by_dbt_ls,
    "loading a manifest": load_manifest,
    "local mode, by `dbt_executable_path`": local_mode,
    "`callback`, `on_warning_callback`": callbacks,
    "`defer_to_state`": defer,
    "seeds that load when changed": seed_when_changed,
    "assets": known_assets,
    "OpenLineage": openlineage,
    "docs to a cloud": docs_to_a_cloud,
}


NEEDED = {"`seed`": "", "`run`": "piers"}  # the table that a row needs; the others need all


@pytest.fixture(scope="module", params=EACH_ENGINE)
def harbor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Harbor:
    engine: Engine = request.param
    engine.require()
    return make_harbor(engine, tmp_path_factory.mktemp(f"dbt-{engine.name}"))


@pytest.mark.xdist_group("dbt-versions")
@pytest.mark.parametrize("row", ROWS)
def test_each_cell_of_the_page_is_what_happens(harbor: Harbor, row: str, cosmos_airflow: CosmosAirflow) -> None:
    assert not cosmos_airflow.variables.values
    needed = NEEDED.get(row, "route_total")
    # Workers share the rows out among them, so the row before may have run elsewhere.
    if needed and not harbor.has(needed):
        harbor.execute("Build", exclude="tag:failing")

    assert ROWS[row](harbor) == cells("on DuckDB")[row][f"dbt {harbor.engine.name}"]


def test_the_page_has_a_cell_for_each_row_and_release() -> None:
    found = cells("on DuckDB")

    assert list(found) == list(ROWS)
    assert all(list(row) == [f"dbt {engine.name}" for engine in ENGINES] for row in found.values())
