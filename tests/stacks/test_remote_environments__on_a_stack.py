"""One remote store for Airflow's own executors: Celery workers on two hosts, and a fresh pod for each task."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.managed.own_host import __file__ as host_program
from tests.stacks.stack import CELERY, ON_A_STACK, Stack, on

pytestmark = [
    *ON_A_STACK,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give a process host and disks of its own"),
    on(CELERY),
]

HOSTS = ("amber", "basil")
DAG_FILE = """
from datetime import datetime, timezone
from airflow.sdk import DAG
from cosmos_venv import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

FOLDER = {folder!r}
PODS = {{"executor": "tests.managed.pod_executor.PodExecutor"}}

for dag_id, tasks in {{
    "hosts": {{"first": {{"queue": "amber"}}, "second": {{"queue": "basil"}}}},
    "pods": {{"first": PODS, "second": PODS, "third": PODS}},
}}.items():
    with DAG(dag_id, schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as globals()[dag_id]:
        before = None
        for name, where in tasks.items():
            task = DbtRunVirtualenvOperator(
                task_id=name,
                project_dir=FOLDER + "/harbor",
                profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=FOLDER + "/harbor/profiles.yml"),
                virtualenv_dir=FOLDER + "/environments/" + dag_id,
                py_requirements=["dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"],
                install_deps=False,
                vars={{"path": FOLDER + "/" + dag_id + "-" + name + ".duckdb"}},
                **where,
            )
            if before is not None:
                before >> task
            before = task
"""


@dataclass(frozen=True)
class Remote:
    """Two DAGs whose environments lie in a storage, each DAG with a storage of its own."""

    stack: Stack
    folder: Path
    own: Path
    """A folder for temporary files that each host has on a disk of its own."""

    def variables(self, dag_id: str) -> dict[str, str]:
        """The environment variables of what runs the tasks of a DAG."""
        return {
            "AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_DIR": f"file://{self.folder}/storage-of-{dag_id}",
            "AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE": str(self.folder / "key"),
            "AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT": "off",
            "TMPDIR": str(self.own),
        }

    def environments(self, dag_id: str) -> Path:
        return self.folder / "environments" / dag_id

    def told_by_each(self, dag_id: str) -> dict[str, str]:
        """The logs of the tasks of the only run, all of which succeed."""
        self.stack.unpause(dag_id)
        state, states = self.stack.end(dag_id)
        assert (state, {*states.values()}) == ("success", {"success"}), self.stack.logs()
        return {name: self.stack.log_of(dag_id, name) for name in states}


def prepare(stack: Stack) -> Remote:
    """A folder that all hosts have: the project, the key, the storages."""
    folder = stack.folder / "remote"
    remote = Remote(stack, folder, stack.short / "own")
    remote.own.mkdir()
    (folder / "harbor" / "models").mkdir(parents=True)
    (folder / "harbor" / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
    (folder / "harbor" / "profiles.yml").write_text(
        "harbor: {target: dev, outputs: {dev: {type: duckdb, path: \"{{ var('path') }}\"}}}\n"
    )
    (folder / "harbor" / "models" / "piers.sql").write_text("select 1 as id")
    (folder / "key").write_text("the key of all workers")
    (folder / "key").chmod(0o600)
    stack.variables["AIRFLOW__CORE__HOSTNAME_CALLABLE"] = "socket.gethostname"
    for host in HOSTS:
        stack.own_variables[host] |= remote.variables("hosts")
    disks = f"{remote.own}:{remote.environments('pods')}:{stack.cache('scheduler')}"
    stack.own_variables["scheduler"] |= {**remote.variables("pods"), "POD_DISKS": disks}
    stack.write("remote", DAG_FILE.format(folder=str(folder)))
    return remote


def test_a_celery_worker_uses_what_a_worker_of_another_host_has_built(scene: Remote) -> None:
    with ExitStack() as workers:
        for name in HOSTS:
            disks = f"{scene.own}:{scene.environments('hosts')}"
            workers.enter_context(scene.stack.celery_worker(name, below=[sys.executable, host_program, name, disks]))

        told = scene.told_by_each("hosts")

    assert "Creating the virtualenv" in told["first"]
    assert "Creating the virtualenv" not in told["second"]
    assert re.search(r"Fetched .* MB .*; built by amber at ", told["second"]), told
    assert not list(scene.environments("hosts").iterdir()), "each host has a disk of its own"


def test_each_pod_fetches_what_the_first_one_has_built(scene: Remote) -> None:
    told = scene.told_by_each("pods")

    assert "Creating the virtualenv" in told["first"]
    for name in ("second", "third"):
        assert "Creating the virtualenv" not in told[name]
        assert re.search(r"Fetched .* MB .*; built by pod-\d+-first at ", told[name]), told[name]
    assert not scene.environments("pods").exists() or not list(scene.environments("pods").iterdir())
