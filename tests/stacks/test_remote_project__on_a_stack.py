"""A project in an archive that is replaced while a run goes on: the tasks of one run see one version."""

from __future__ import annotations

import hashlib
import tarfile
from functools import partial
from pathlib import Path

from tests.stacks.stack import AIRFLOW_2, AIRFLOW_3, ON_A_STACK, Stack, on
from tests.stacks.watched import make_three_models

pytestmark = [*ON_A_STACK, on(AIRFLOW_3, AIRFLOW_2)]

DAG_FILE = """
import time
from datetime import datetime, timezone
from pathlib import Path
from airflow import DAG
from cosmos_venv import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
try:
    from airflow.sdk import task
except ImportError:
    from airflow.decorators import task

DBT = {{"dbt_executable_path": {dbt!r}, "invocation_mode": "subprocess"}}

def tell(context, operator):
    operator.log.info("It runs %s", operator.project_dir)

def group(name):
    return DbtTaskGroup(
        name,
        project_config=ProjectConfig("file://{archive}", install_dbt_deps=False),
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath={profiles!r}),
        execution_config=ExecutionConfig("local", **DBT),
        render_config=RenderConfig(load_method="dbt_ls", select=[name], **DBT),
        operator_args={{"interceptors": [tell]}},
    )

@task
def gate(name):
    while not Path({gates!r}, name).exists():
        time.sleep(0.1)

with DAG("elsewhere", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    group("staging") >> gate("{{{{ run_id }}}}") >> group("mart")
"""


class Elsewhere:
    """The project, its archive, and a file that lets each run go on."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.gates = stack, stack.folder / "gates"
        self.project, self.archive = stack.folder / "elsewhere" / "harbor", stack.folder / "elsewhere" / "harbor.tar.gz"
        self.gates.mkdir()
        make_three_models(self.project)
        self.publish()
        profiles = str(self.project / "profiles.yml")
        dbt = str(stack.new_dbt("elsewhere").dbt)
        places = {"archive": self.archive, "profiles": profiles, "gates": str(self.gates)}
        stack.write("elsewhere", DAG_FILE.format(dbt=dbt, **places))

    def publish(self) -> str:
        """Replace the archive; returns the beginning of its version."""
        with tarfile.open(self.archive, "w:gz") as tar:
            tar.add(self.project, arcname="harbor")
        return hashlib.sha256(self.archive.read_bytes()).hexdigest()[:12]

    def read(self) -> None:
        """Let a DAG processor see the archive as it is now. A command of Airflow 3 cannot note a version."""
        if self.stack.kind.is_2:
            self.stack.read_dag_files()
            return
        before = self._noted()
        with self.stack.dag_processor(seconds_between_parses=3600):
            self.stack.wait_until(lambda: self._noted() > before, "the version is noted")

    def _noted(self) -> int:
        """The length of what is noted; its text is encrypted."""
        found = self.stack.ask("select length(val) from variable where key like 'cosmos_venv_project_%'")
        return int(found[0][0]) if found else 0

    def begin(self, run_id: str) -> None:
        """Begin a run, and wait until it stands before its second half."""
        self.stack.trigger("elsewhere", run_id)
        states = partial(self.stack.states, "elsewhere", run_id)
        self.stack.wait_until(lambda: states().get("gate") == "running", "it is halfway")

    def go_on(self, run_id: str) -> dict[str, str]:
        """Let a run go on to its end, and return the states of its tasks."""
        Path(self.gates, run_id).touch()
        return self.stack.end("elsewhere", run_id)[1]


def prepare(stack: Stack) -> Elsewhere:
    return Elsewhere(stack)


def test_a_run_goes_on_with_its_version_and_the_next_one_takes_the_new_one(scene: Elsewhere) -> None:
    stack, all_good = scene.stack, dict.fromkeys(["staging.staging_run", "gate", "mart.mart_run"], "success")
    first = hashlib.sha256(scene.archive.read_bytes()).hexdigest()[:12]
    scene.read()
    scene.begin("first")
    (scene.project / "models" / "added.sql").write_text("select 1 as id")
    second = scene.publish()
    scene.read()

    assert scene.go_on("first") == all_good, stack.logs()
    scene.begin("second")
    assert scene.go_on("second") == all_good, stack.logs()

    for run_id, version in (("first", first), ("second", second)):
        for task_id in ("staging.staging_run", "mart.mart_run"):
            assert f"/projects-v1/{version}" in stack.log_of("elsewhere", task_id, run_id), (run_id, task_id)
