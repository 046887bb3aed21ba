"""Where nodes come from, which are selected, and what goes wrong while a project is loaded."""

from __future__ import annotations

import json

from tests.dbt_packages import add_package
from tests.replay.recorder import Bench

SELECTOR = {"name": "nightly", "definition": {"method": "tag", "value": "nightly", "parents": True}}


def load_dbt_ls(bench: Bench) -> None:
    """dbt is asked once, and again when the project or the selection has changed."""
    bench.know_tests("ls")
    bench.dag(dag_id="first", load_method="dbt_ls")
    bench.dag(dag_id="again", load_method="dbt_ls")
    bench.dag(dag_id="selected", load_method="dbt_ls", select=["tag:daily"], exclude=["stg_ships"])
    bench.harbor.edit("stg_ships", "select 2 as id")
    bench.dag(dag_id="changed", load_method="dbt_ls")
    bench.set(enable_cache_dbt_ls=False)
    bench.run(bench.dag(dag_id="without_cache", load_method="dbt_ls", select=["stg_ships"]))


def load_dbt_ls_variables(bench: Bench) -> None:
    """Variables, a selector and packages reach ``dbt ls``."""
    (bench.harbor.path / "selectors.yml").write_text(json.dumps({"selectors": [SELECTOR]}))
    add_package(bench.harbor, "tools").model("tool", "select 1 as id")
    project = {"dbt_vars": {"port": "east"}, "env_vars": {"PIER": "1"}, "install_dbt_deps": True}
    bench.dag(load_method="dbt_ls", project=project, selector="nightly")


def load_dbt_ls_fails(bench: Bench) -> None:
    """dbt cannot list the project; no dbt is there; nothing is kept."""
    bench.fake.script("ls", exit_code=2)
    bench.refused("dbt fails", lambda: bench.dag(load_method="dbt_ls"))
    no_dbt = {**bench.local, "dbt_executable_path": bench.folder / "no" / "dbt"}
    bench.refused("no dbt", lambda: bench.dag(no_dbt, load_method="dbt_ls"))
    bench.refused("nothing kept", lambda: bench.dag(load_method="dbt_ls_cache"))
    project = {"dbt_project_path": bench.folder / "nowhere"}
    bench.refused("no project", lambda: bench.dag(load_method="dbt_ls", project=project))


def load_dbt_ls_file(bench: Bench) -> None:
    """A file of what dbt has listed."""
    keys = "name unique_id resource_type package_name depends_on original_file_path tags config freshness fqn"
    listing = ["ls", "--output", "json", "--output-keys", keys]
    file, selected = bench.folder / "ls.jsonl", bench.folder / "selected.jsonl"
    file.write_text(bench.run_fake(*listing))
    selected.write_text(bench.run_fake(*listing, "--select", "stg_ships"))
    bench.run(bench.dag(load_method="dbt_ls_file", dbt_ls_path=selected))
    bench.dag(dag_id="all", load_method="dbt_ls_file", dbt_ls_path=file)
    bench.refused("no file", lambda: bench.dag(load_method="dbt_ls_file", dbt_ls_path=bench.folder / "none"))
    bench.refused("access", lambda: bench.dag(load_method="dbt_ls_file", dbt_ls_path=file, select=["access:public"]))


def load_custom(bench: Bench) -> None:
    """The project's files are read without dbt."""
    bench.run(bench.dag(load_method="custom", select=["stg_piers"]))
    bench.dag(dag_id="all", load_method="custom")
    bench.refused("a selector", lambda: bench.dag(dag_id="selector", load_method="custom", selector="nightly"))


def load_automatic(bench: Bench) -> None:
    """A manifest where there is one, else dbt, else the files."""
    bench.dag(dag_id="manifest", load_method="automatic")
    bench.dag(dag_id="dbt_ls", load_method="automatic", project={"manifest_path": None})
    no_dbt = {**bench.local, "dbt_executable_path": bench.folder / "no" / "dbt"}
    bench.refused(
        "no dbt", lambda: bench.dag(no_dbt, dag_id="files", load_method="automatic", project={"manifest_path": None})
    )


def load_manifest(bench: Bench) -> None:
    """A missing manifest, a file that is no manifest, a manifest of a web server, a manifest without a project."""
    (bench.folder / "half.json").write_text('{"nodes": {')
    for what, manifest in {"none": bench.folder / "none.json", "half": bench.folder / "half.json"}.items():
        bench.refused(what, lambda path=manifest: bench.dag(project={"manifest_path": path}))  # type: ignore[misc]
    served = bench.fixture("cosmos_project").serve(bench.harbor)
    bench.dag(dag_id="served", project={"manifest_path": served.url}, select=["stg_ships"])


def selections(bench: Bench) -> None:
    """dbt's selection syntax, from a manifest."""
    (bench.harbor.path / "selectors.yml").write_text(json.dumps({"selectors": [SELECTOR]}))
    chosen = {
        "graph": ["+fct_crossings"],
        "children": ["stg_piers+1"],
        "at": ["@stg_ships"],
        "path": ["path:models/staging"],
        "intersection": ["tag:daily,tag:hourly"],
        "config": ["config.materialized:table"],
        "source": ["source:raw+"],
        "kind": ["resource_type:snapshot"],
        "fqn": ["harbor.marts.*"],
        "exposure": ["+exposure:board"],
        "tests": ["test_type:singular"],
    }
    for name, select in chosen.items():
        bench.dag(dag_id=name, select=select, allow_empty_selection=name == "tests")  # tests have no task alone
    bench.dag(dag_id="excluded", select=["tag:daily"], exclude=["stg_ships", "piers"])
    bench.refused("an unknown method", lambda: bench.dag(dag_id="unknown", select=["colour:red"]))
    bench.refused("a name that is not there", lambda: bench.dag(dag_id="nobody", select=["nobody"]))
    bench.refused("no selectors in the manifest", lambda: bench.dag(dag_id="selector", selector="nightly"))


SCENARIOS = (
    load_dbt_ls,
    load_dbt_ls_variables,
    load_dbt_ls_fails,
    load_dbt_ls_file,
    load_custom,
    load_automatic,
    load_manifest,
    selections,
)
