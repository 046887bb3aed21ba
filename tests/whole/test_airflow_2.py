"""The same DAG on Airflow 2.11, end to end: a database, ``dag.test()``, a real install by pip, a fake dbt."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import textwrap
from pathlib import Path

import pytest

from cosmos_venv.dbt.warm import servers
from pytest_cosmos_venv import FakeVenv
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.command_line import harbor_source
from tests.dbt.warm.conftest import end_all_servers
from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2
from tests.rendering.recorded import CASES
from tests.warm_servers import live_servers

DEADLINE = 240.0

pytestmark = needs_airflow_2

INITDB = "from airflow.utils.db import initdb\ninitdb()\n"
RUN = """
import json
run = dag.test()
print("STATES", json.dumps({ti.task_id: ti.state for ti in run.get_task_instances()}))
"""


def states_of_harbor(project: Path, wheelhouse: Wheelhouse, tmp_path: Path) -> dict[str, str]:
    """Run the small project's DAG, and return the states of its tasks."""
    source = INITDB + harbor_source(project, tmp_path / "environments", wheelhouse) + RUN
    states: dict[str, str] = json.loads(run_on_airflow_2(source, tmp_path).rpartition("STATES")[2])
    return states


@pytest.mark.long
def test_a_dag_runs_and_all_its_tasks_start_warm(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT", "require")
        try:
            states = states_of_harbor(dbt_project, fake_dbt_wheels, tmp_path)
            (place,) = live_servers()
            state = servers.state_of(place)
        finally:
            end_all_servers()

    assert states == {"mart_run": "success", "piers_seed": "success", "staging_run": "success"}
    assert state is not None
    assert state["commands"] == 3


TABLES = """
failing = DbtDag(
    dag_id="failing",
    schedule=None,
    start_date=START,
    project_config=ProjectConfig({project!r}, install_dbt_deps=False),
    profile_config=PROFILE,
    execution_config=ExecutionConfig(dbt_executable_path={dbt!r}, invocation_mode="subprocess"),
    render_config=RenderConfig(
        load_method="dbt_ls", dbt_executable_path={dbt!r}, invocation_mode="subprocess", run_summary=True
    ),
)
import json
for each in (dag, failing):
    run = each.test()
    table = run.get_task_instance("dbt_run_summary").xcom_pull(task_ids="dbt_run_summary")
    rows = {{row["node"].split(".")[2]: [row["state"], row["started"].partition(" ")[0]] for row in table["rows"]}}
    print("TABLE", each.dag_id, run.state, json.dumps(rows, sort_keys=True))
"""


@pytest.mark.long
def test_a_run_has_a_table_and_its_own_state(
    tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse, cosmos_fake_venv: FakeVenv
) -> None:
    cosmos_fake_venv.script("run", nodes={"staging": "error"})
    source = harbor_source(dbt_project, tmp_path / "environments", fake_dbt_wheels)
    tables = TABLES.format(project=str(dbt_project), dbt=str(cosmos_fake_venv.dbt))

    said = run_on_airflow_2(INITDB + source.replace("DBT_LS)", "DBT_LS, run_summary=True)") + tables, tmp_path)

    found = {}
    for line in said.splitlines():
        if line.startswith("TABLE"):
            _, dag_id, state, rows = line.split(" ", 3)
            found[dag_id] = (state, json.loads(rows))
    names = ("mart", "piers", "staging")
    state, rows = found["harbor"]
    assert (state, {name: row[0] for name, row in rows.items()}) == ("success", dict.fromkeys(names, "success"))
    assert {row[1] for row in rows.values()} <= {"process", "warm"}
    ended = {"mart": ["upstream_failed", ""], "piers": ["success", "process"], "staging": ["error", "process"]}
    assert found["failing"] == ("failed", ended)


LOCAL_SOURCE = """
import json, pathlib
from datetime import datetime, timezone
from airflow import DAG
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from cosmos_venv import DbtRunLocalOperator, ProfileConfig
from cosmos_venv.operators.local import DbtRunOperationLocalOperator, DbtTestLocalOperator

class CompilingRun(DbtRunLocalOperator):
    def run_subprocess(self, command, env, cwd, **kwargs):
        result = super().run_subprocess(command, env, cwd, **kwargs)
        folder = pathlib.Path(cwd, "target", "compiled")
        folder.mkdir(parents=True)
        (folder / "mart.sql").write_text("select 1")
        return result

told = []
initdb()
shared = dict(
    project_dir={project!r},
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml"),
    dbt_executable_path={dbt!r},
)
start = datetime(2026, 1, 1, tzinfo=timezone.utc)
with DAG("harbor", schedule=None, start_date=start, default_args=dict(quiet=True)) as dag:
    CompilingRun(task_id="run", push_run_results_to_xcom=True, full_refresh="{{{{ ds == ds }}}}", **shared)
    DbtTestLocalOperator(task_id="test", on_warning_callback=told.append, **shared)
    grant = DbtRunOperationLocalOperator.partial(task_id="grant", macro_name="grant", **shared)
    grant.expand(args=[dict(a=1), dict(a=2)])
run = dag.test()
with create_session() as session:
    (fields,) = session.query(RenderedTaskInstanceFields).filter_by(task_id="run").all()
    result = dict(
        states={{f"{{ti.task_id}} {{ti.map_index}}": ti.state for ti in run.get_task_instances()}},
        compiled_sql=fields.rendered_fields["compiled_sql"],
        full_refresh=fields.rendered_fields["full_refresh"],
        xcom=len(run.get_task_instance("run").xcom_pull(task_ids="run", key="run_results")) > 100,
        warned=[context["test_names"] for context in told],
    )
print("RESULT", json.dumps(result))
"""


@pytest.mark.long
def test_local_operators_tell_what_came_of_dbt(tmp_path: Path, dbt_project: Path, cosmos_fake_venv: FakeVenv) -> None:
    cosmos_fake_venv.script("test", nodes={"test.harbor.unique_id.1a2b": "warn"})

    output = run_on_airflow_2(LOCAL_SOURCE.format(project=str(dbt_project), dbt=str(cosmos_fake_venv.dbt)), tmp_path)

    assert json.loads(output.rpartition("RESULT")[2]) == {
        "states": {"run -1": "success", "test -1": "success", "grant 0": "success", "grant 1": "success"},
        "compiled_sql": "-- compiled/mart.sql\nselect 1",
        "full_refresh": True,
        "xcom": True,
        "warned": [["unique_id"]],
    }
    assert sorted(call.arguments[:5] for call in cosmos_fake_venv.calls if call.command == "run-operation") == [
        ("run-operation", "grant", "--quiet", "--args", f"a: {number}\n") for number in (1, 2)
    ]


ALIAS_SOURCE = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from airflow.models.dataset import DatasetAliasModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from cosmos_venv.compat import asset_alias, asset_events

initdb()
barrier = Barrier(4)
NAMES = [f"harbor__load{number}" for number in range(20)]

def ask(number):
    found = []
    for name in NAMES:
        barrier.wait(20)
        alias = asset_alias(name)
        found.append(asset_events(dict(outlet_events={alias: number}), alias))
    return found

with ThreadPoolExecutor(4) as pool:
    found = [set(each) for each in pool.map(ask, range(4))]
with create_session() as session:
    names = [alias.name for alias in session.query(DatasetAliasModel)]
assert sorted(names) == sorted(NAMES), names
assert found == [{0}, {1}, {2}, {3}], found
"""


@pytest.mark.long
def test_mapped_tasks_that_give_assets_at_the_same_time_share_one_alias(tmp_path: Path) -> None:
    """No DAG that was parsed has it: the first of them stores it."""
    run_on_airflow_2(ALIAS_SOURCE, tmp_path)


RECORDED_SOURCE = """
import os, tempfile
from pathlib import Path
from tests.rendering.recorded import CASES, build

wrong, compared = [], 0
for case in CASES:
    config, expected = case["config"], case["result"]
    if case["name"] not in {names!r}:
        continue
    os.environ.update(config.get("env", {{}}))
    built = build(case, Path(tempfile.mkdtemp(dir={scratch!r})))
    for name in config.get("env", {{}}):
        del os.environ[name]
    found = dict(task_ids=sorted(built.tasks), group_ids=built.groups, edges=built.edges, tasks_map=built.tasks_map)
    wrong += [(case["name"], name) for name, value in found.items() if value != expected[name]]
    compared += 1
assert (compared, wrong) == ({number}, []), (compared, wrong)
"""


@pytest.mark.long
def test_what_cosmos_was_seen_to_render_is_rendered_on_airflow_2_too(tmp_path: Path) -> None:
    """Groups in groups, converted tasks and groups, detached tests, sources."""
    beginnings = ("converter_", "detach", "folders", "group_", "normalize_", "source_")
    leaving_out = ("folders_detached_build", "converter_model_whole_group")  # they differ on Airflow 3 too
    names = [case["name"] for case in CASES if case["name"].startswith(beginnings) and case["name"] not in leaving_out]

    run_on_airflow_2(RECORDED_SOURCE.format(names=names, number=len(names), scratch=str(tmp_path)), tmp_path)


SEEDS_SOURCE = """
import contextlib, io, json, pathlib
from datetime import datetime, timezone
from airflow.models import Variable
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from cosmos_venv import (
    DbtDag, ExecutionConfig, InvocationMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig,
    SeedRenderingBehavior, TestBehavior
)
from cosmos_venv.cli import main

initdb()
project = pathlib.Path({project!r})
runs = []

def run():
    dag = DbtDag(
        dag_id="harbor",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=ProjectConfig(project),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        execution_config=ExecutionConfig(dbt_executable_path={dbt!r}, invocation_mode=InvocationMode.SUBPROCESS),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_LS,
            select=["path:seeds"],
            seed_rendering_behavior=SeedRenderingBehavior.WHEN_SEED_CHANGES,
            test_behavior=TestBehavior.NONE,
        ),
    )
    done = dag.test()
    assert done.state == "success", done
    runs.append(done.run_id)

def seeds(*words):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = main(["seeds", *words, "--json"])
    return [code, json.loads(said.getvalue())]

run()
run()
(project / "seeds" / "piers.csv").write_text("id,name\\n2,South\\n")
run()
run()
with create_session() as session:
    of_seeds = Variable.key.not_like("cosmos_venv_answer_%")  # what dbt ls has said of the project
    (stored,) = session.query(Variable).filter(of_seeds)
    description = stored.description
listed = seeds("list", "harbor")
forgotten = [seeds("forget", "harbor", "piers"), seeds("forget", "harbor", "piers")]
run()
with create_session() as session:
    session.query(Variable).filter(of_seeds).update(dict(val="junk", is_encrypted=False), synchronize_session=False)
run()
run()
print("RESULT", json.dumps(dict(runs=runs, description=description, listed=listed, forgotten=forgotten)))
"""


@pytest.mark.long
def test_seeds_are_remembered_in_the_database_of_airflow_2(
    tmp_path: Path, dbt_project: Path, cosmos_fake_venv: FakeVenv
) -> None:
    """A damaged Variable is repaired, and the command lists and forgets it."""
    output = run_on_airflow_2(SEEDS_SOURCE.format(project=str(dbt_project), dbt=str(cosmos_fake_venv.dbt)), tmp_path)

    result = json.loads(output.rpartition("RESULT")[2])
    seeding = [call for call in cosmos_fake_venv.calls if call.command == "seed"]
    loading = [result["runs"].index(call.env["AIRFLOW_CTX_DAG_RUN_ID"]) for call in seeding]
    assert loading == [0, 2, 4, 5]
    code, listed = result["listed"]
    ((seed,), ((again, taken), (nothing, none))) = listed["seeds"], result["forgotten"]
    assert (code, seed["seed"], seed["place"], seed["run_id"]) == (0, "seed.harbor.piers", "harbor", result["runs"][2])
    assert (again, taken["forgotten"], nothing, none["forgotten"]) == (0, [seed], 1, [])
    assert result["description"].startswith("cosmos-venv: what seed.harbor.piers held when harbor loaded it last.")


# Airflow 2 hands its permission to call `execute` over to `execute` alone, not to what goes on behind a trigger.
BEHIND_A_TRIGGER = """
from types import SimpleNamespace
from unittest import mock
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.watch import trigger
from cosmos_venv.operators.watcher import DbtRunWatcherOperator

profile = ProfileConfig("harbor", "dev", profiles_yml_filepath="{project}/profiles.yml")
alone = dict(profile_config=profile, model_unique_id="model.harbor.mart", allow_nested_operators=False)
watcher = DbtRunWatcherOperator(task_id="watches", project_dir="{project}", **alone)
context = dict(ti=SimpleNamespace(try_number=1))
nodes = mock.patch.object(trigger, "look_or_defer", return_value=["model.harbor.mart"])
dbt = mock.patch.object(type(watcher), "build_and_run_cmd")
with nodes, dbt as ran:
    watcher.execute_complete(context, dict(action="run alone", reason="", told={{}}, try_number=1))
    watcher.execute_complete(context, dict(action="wait", reason="", told={{}}, try_number=0))
    print("RESULT", ran.call_count)
"""


@pytest.mark.long
def test_what_goes_on_behind_a_trigger_calls_no_execute(tmp_path: Path, dbt_project: Path) -> None:
    output = run_on_airflow_2(BEHIND_A_TRIGGER.format(project=dbt_project), tmp_path)

    assert output.endswith("RESULT 2\n")


def run_on_airflow_2(source: str, tmp_path: Path) -> str:
    """The output of a Python of Airflow 2."""
    done = subprocess.run(
        [str(AIRFLOW_2), "-W", "ignore", "-c", textwrap.dedent(source)],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": "pip",
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout
    # Airflow 2 warns of an execute that another execute calls, and fails it with allow_nested_operators=False.
    assert "cannot be called outside TaskInstance" not in done.stdout
    return done.stdout
