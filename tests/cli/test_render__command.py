"""``cosmos-venv render``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.command_line import cosmos_venv, write_dag_file

PROJECT = Path(__file__).parents[1] / "data" / "rendering-project"
MANIFEST = PROJECT / "manifest.json"

DAGFILE = f"""
# airflow
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, DbtTaskGroup, ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos_venv.compat import DAG

print("the file says so")
PROJECT = Path({str(PROJECT)!r})
ARGUMENTS = dict(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))

def configured(*select):
    return dict(
        project_config=ProjectConfig(project_name="ops", manifest_path=PROJECT / "manifest.json"),
        profile_config=ProfileConfig("ops", "dev", profiles_yml_filepath=PROJECT / "profiles.yml"),
        execution_config=ExecutionConfig(dbt_project_path=PROJECT),
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=[*select]),
    )

with DAG("plain", **ARGUMENTS):
    DbtTaskGroup("ships", **configured("stg_vessels"))
    DbtTaskGroup("ports", **configured("stg_ports"))
"""
WHOLE = """
whole = DbtDag(dag_id="whole", **configured("port_calls"), **ARGUMENTS)
"""


@pytest.fixture
def dagfile(tmp_path: Path) -> Path:
    return write_dag_file(tmp_path, DAGFILE + WHOLE)


@pytest.mark.parametrize("target", [".", "target/manifest.json", "target/../target/manifest.json"])
def test_a_project_is_rendered_from_within(
    run: Run, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harbor" / "target").mkdir(parents=True)
    shutil.copy(MANIFEST, tmp_path / "harbor" / "target")
    shutil.copy(PROJECT / "dbt_project.yml", tmp_path / "harbor")
    monkeypatch.chdir(tmp_path / "harbor")

    done = run("render", target, "--select", "port_calls")

    assert done.returncode == 0
    assert "harbor" in done.stdout.splitlines()[0]


def test_a_project_is_rendered_with_the_defaults_as_a_tree(run: Run) -> None:
    done = run("render", MANIFEST, "--select", "+port_calls")

    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.split() == ["rendering-project", "9", "tasks,", "4", "groups,", "9", "edges"]
    assert lines[-3:] == [
        "└── port_calls",
        "    ├── run  DbtRunLocalOperator  <- geo_cells_run, stg_ports.test, stg_positions.test",
        "    └── test  DbtTestLocalOperator  <- port_calls.run",
    ]


def test_a_folder_is_the_project_whose_manifest_lies_in_its_target(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ops" / "target").mkdir(parents=True)
    missing = run("render", tmp_path / "ops")
    shutil.copy(MANIFEST, tmp_path / "ops" / "target" / "manifest.json")

    done = run("render", tmp_path / "ops", "--format", "json", "--select", "stg_ports", "--exclude", "tag:none")
    alone = run("render", MANIFEST, "--format", "json", "--select", "stg_ports", "--test-behavior", "none")

    data = json.loads(done.stdout)
    assert (data["dag_id"], data["group_id"]) == ("ops", None)
    assert [task["task_id"] for task in data["tasks"]] == ["stg_ports.run", "stg_ports.test"]
    assert data["tasks"][0]["context"]["dbt_node_config"]["file_path"].startswith(str(tmp_path / "ops"))
    assert [task["task_id"] for task in json.loads(alone.stdout)["tasks"]] == ["stg_ports_run"]
    assert missing.returncode == 1
    assert "has no target/manifest.json. Run `dbt parse` there" in missing.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "task_ids"),
    [
        (["--dag-id", "whole"], ["port_calls.run", "port_calls.test"]),
        (["--group", "ships"], ["stg_vessels_run"]),
        (["--dag-id", "plain", "--group", "ports"], ["stg_ports.run", "stg_ports.test"]),
    ],
)
def test_of_a_dag_file_with_several_one_is_chosen(dagfile: Path, words: list[str], task_ids: list[str]) -> None:
    done = cosmos_venv("render", dagfile, "--format", "json", *words)

    assert done.returncode == 0, done.stderr
    assert [task["task_id"] for task in json.loads(done.stdout)["tasks"]] == task_ids
    assert "the file says so" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dag-id", "plain"], "several of these are meant"),
        (["--dag-id", "hole"], "none of these is meant"),
        (["--dag-id", "whole", "--group", "ships"], "none of these is meant"),
    ],
)
def test_who_does_not_choose_one_is_shown_what_there_is(dagfile: Path, words: list[str], said: str) -> None:
    done = cosmos_venv("render", dagfile, *words)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"plain, group ports; plain, group ships; whole: {said}" in done.stderr


@pytest.mark.long
def test_folders_stand_in_folders_and_what_converters_make_is_shown_as_such(tmp_path: Path) -> None:
    configured = DAGFILE.replace("select=[*select]", "group_nodes_by_folder=True, node_converters=CONVERTERS")
    converters = 'CONVERTERS = {DbtResourceType.EXPOSURE: lambda **given: None, "test": lambda **given: None}\n'
    source = "from cosmos_venv.constants import DbtResourceType\n" + converters.replace(
        '"test"', "DbtResourceType.TEST"
    )
    file = write_dag_file(tmp_path, source + configured.split("with DAG")[0] + WHOLE.replace('"port_calls"', ""))

    tree, data = cosmos_venv("render", file), cosmos_venv("render", file, "--format", "json")

    assert tree.returncode == 0, tree.stderr
    lines = tree.stdout.splitlines()
    at = lines.index("│       ├── port_calls")
    assert lines[1] == "├── models"
    assert "│   └── marts" in lines[:at]
    assert "  <- model.harbor_ops.stg_ports:test, model.harbor_ops.stg_positions:test" in lines[at + 1]
    assert lines[at + 2] == (
        "│       │   └── test  by the converter of test for model.harbor_ops.port_calls  <- models.marts.port_calls.run"
    )
    assert "── ops_dashboard_exposure  by the converter of exposure for exposure.harbor_ops" in tree.stdout
    conversions = {each["node_id"] for each in json.loads(data.stdout)["conversions"]}
    assert {"exposure.harbor_ops.ops_dashboard", "model.harbor_ops.port_calls"} <= conversions


@pytest.mark.long
def test_a_file_that_airflow_passes_over_is_rendered_with_a_warning(
    dagfile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The makers of the DAG file stand in a module beside it, as those of a factory do.
    dagfile.rename(dagfile.with_name("makers.py"))
    dagfile.write_text("from makers import whole\n")

    done = cosmos_venv("render", dagfile, "--dag-id", "whole")

    assert done.returncode == 0, done.stderr
    assert f"{dagfile}: Airflow passes the file over: it lacks 'airflow' and 'dag'." in done.stderr
    assert "dag_discovery_safe_mode" in done.stderr

    monkeypatch.setenv("AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE", "False")
    assert "passes the file over" not in cosmos_venv("render", dagfile, "--dag-id", "whole").stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("x = 1", "makes no DbtDag and no DbtTaskGroup", id="none"),
        pytest.param(
            DAGFILE + WHOLE.replace("port_calls", "tagg:x"), "CosmosValueError: RenderConfig.select", id="selection"
        ),
    ],
)
def test_a_file_without_a_plan_is_an_error_without_a_traceback(tmp_path: Path, source: str, said: str) -> None:
    done = cosmos_venv("render", write_dag_file(tmp_path, source))

    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([MANIFEST, "--select", "tagg:x"], "'tagg' is none of dbt's methods", id="selection"),
        pytest.param([MANIFEST, "--select", "stg_port"], "selects none of the 32 nodes", id="no-node"),
        pytest.param([MANIFEST, "--select", "source:*"], "none of them has a task", id="no-task"),
        pytest.param([MANIFEST, "--selector", "none"], "RenderConfig.selector='none' is not in", id="selector"),
        pytest.param([PROJECT / "dbt_ls.json"], "does not exist", id="no-manifest"),
        pytest.param([PROJECT / "none.py"], "does not exist. Give a DAG file", id="no-file"),
        pytest.param([MANIFEST, "--output", PROJECT], "Is a directory", id="output"),
    ],
)
def test_what_cannot_be_rendered_is_told(run: Run, words: list[object], said: str) -> None:
    done = run("render", *words)

    assert (done.returncode, done.stdout) == (1, "")
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize(("form", "begin"), [("mermaid", "flowchart LR"), ("dot", "digraph"), ("tree", "rendering-")])
def test_what_is_printed_can_be_written_to_a_file(run: Run, tmp_path: Path, form: str, begin: str) -> None:
    printed = run("render", MANIFEST, "--format", form)
    written = run("render", MANIFEST, "--format", form, "--output", tmp_path / "plan")

    assert (printed.returncode, written.returncode) == (0, 0), printed.stderr + written.stderr
    assert printed.stdout.startswith(begin)
    assert (tmp_path / "plan").read_text(encoding="utf-8") == printed.stdout
    assert written.stdout == ""
