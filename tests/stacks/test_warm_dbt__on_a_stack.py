"""Warm dbt under the executors that people run: whoever is killed, restarted or marked, dbt obeys; nothing is left."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from cosmos_venv.dbt.warm import servers
from tests.dbt.warm.test_process__killed import kill_at_random
from tests.installed import DBT, copy_of_example, needs_dbt, needs_dbt_wheels
from tests.stacks.stack import AIRFLOW_2, CELERY, ON_A_STACK, Stack, on
from tests.warm_servers import live_servers

pytestmark = [*ON_A_STACK, needs_dbt, needs_dbt_wheels]

OWN_SOCKETS = 1
"""Of a server: the one that tasks connect to."""
GATES = ("victim", "other", "noted", "warned", "ended")
"""DAGs of one task, whose dbt stands at a gate until somebody opens it."""

# Whose worker a test ends has a queue of its own.
DAG_FILE = """
import os
from datetime import datetime, timezone
from airflow import DAG
from cosmos_venv import (
    DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig, TestBehavior
)
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

FOLDER, ENVIRONMENTS = {folder!r}, {environments!r}
ONCE = {{"schedule": "@once", "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc)}}
DBT = {{"py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"], "install_deps": False}}

def profile(project):
    return ProfileConfig("harbor", "dev", profiles_yml_filepath=project + "/profiles.yml")

def tell(context):
    with open(FOLDER + "/" + context["dag"].dag_id + "/task", "w") as file:
        file.write(str(os.getpid()))

def harbor(dag_id, choice, *select):
    return DbtDag(
        dag_id=dag_id,
        max_active_tasks=1,
        project_config=ProjectConfig(FOLDER + "/harbor"),
        profile_config=profile(FOLDER + "/harbor"),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=ENVIRONMENTS),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_LS,
            dbt_executable_path={dbt!r},
            test_behavior=TestBehavior.NONE,
            select=list(select),
        ),
        operator_args={{**DBT, "warm_dbt": choice}},
        **ONCE,
    )

warm_first = harbor("warm_first", "require", "path:seeds", "path:models/staging")
warm_again = harbor("warm_again", "require", "path:models/marts")
warm_killed = harbor("warm_killed", "auto", "path:seeds", "path:models/staging")
for gate in {gates!r}:
    with DAG(gate, **ONCE) as globals()[gate]:
        DbtRunVirtualenvOperator(
            task_id="run",
            project_dir=FOLDER + "/" + gate,
            profile_config=profile(FOLDER + "/" + gate),
            virtualenv_dir=ENVIRONMENTS,
            warm_dbt="require",
            on_execute_callback=tell,
            queue=gate if gate in ("warned", "ended") else "default",
            **DBT,
        )
"""
PROFILE = "harbor: {{target: dev, outputs: {{dev: {{type: duckdb, path: '{path}'}}}}}}\n"
MODEL = """
import os

def model(dbt, session):
    with open({noted!r} + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename({noted!r} + ".new", {noted!r})
    open({gate!r}).read()
    return session.sql("select 1 as id")
"""


@dataclass(frozen=True)
class Gate:
    """A project of one model, which waits until it is let through."""

    stack: Stack
    folder: Path

    def make(self) -> None:
        (self.folder / "models").mkdir(parents=True)
        (self.folder / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
        (self.folder / "profiles.yml").write_text(PROFILE.format(path=self.folder / "harbor.duckdb"))
        model = MODEL.format(noted=str(self.folder / "dbt"), gate=str(self.folder / "gate"))
        (self.folder / "models" / "wait.py").write_text(model)
        os.mkfifo(self.folder / "gate")

    def begin(self) -> psutil.Process:
        """The dbt of its DAG, which waits at the gate."""
        self.stack.unpause(self.folder.name)
        self.stack.wait_until((self.folder / "dbt").exists, f"dbt of {self.folder.name} waits")
        return self._process("dbt")

    def task(self) -> psutil.Process:
        """The process in which its operator runs."""
        return self._process("task")

    def passes(self) -> None:
        """It is let through, and its task succeeds."""
        (self.folder / "gate").write_text("")
        assert self.stack.end(self.folder.name) == ("success", {"run": "success"}), self.stack.logs()

    def end(self) -> None:
        """End a dbt that still waits, after a failure: its task would keep a slot from all others."""
        if (self.folder / "dbt").exists():
            with suppress(psutil.NoSuchProcess):
                self._process("dbt").kill()

    def _process(self, name: str) -> psutil.Process:
        return psutil.Process(int((self.folder / name).read_text()))


@dataclass(frozen=True)
class Warm:
    """DAGs whose dbt is warm."""

    stack: Stack
    gates: dict[str, Gate]

    def is_gone(self, process: psutil.Process, why: str) -> None:
        self.stack.wait_until(
            lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, f"{why} is gone"
        )

    def succeeds(self, dag_id: str) -> dict[str, str]:
        """The states of the tasks of its only run."""
        self.stack.unpause(dag_id)
        state, states = self.stack.end(dag_id)
        assert (state, {*states.values()}) == ("success", {"success"}), self.stack.logs()
        return states


def prepare(stack: Stack) -> Warm:
    folder = stack.folder / "warm"
    copy_of_example(folder / "harbor", "snapshots")
    (folder / "harbor" / "profiles.yml").write_text(PROFILE.format(path=folder / "harbor.duckdb"))
    gates = {name: Gate(stack, folder / name) for name in GATES}
    for gate in gates.values():
        gate.make()
    environments = str(folder / "environments")
    stack.write("warm", DAG_FILE.format(folder=str(folder), environments=environments, dbt=str(DBT), gates=GATES))
    return Warm(stack, gates)


@pytest.fixture(autouse=True)
def _servers_of_the_stack(stack: Stack, scene: Warm, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process finds the servers where the stack's processes do."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")  # the same folder named twice is looked at twice
    monkeypatch.setenv("TMPDIR", str(stack.short))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    for gate in scene.gates.values():
        gate.end()


def only_server() -> dict[str, int]:
    (place,) = live_servers()
    state = servers.state_of(place)
    assert state is not None
    return state


@on(CELERY, AIRFLOW_2)
def test_all_tasks_of_a_dag_are_forked_from_a_server_and_nothing_grows(scene: Warm) -> None:
    """Each is forked, or it would have failed."""
    states = scene.succeeds("warm_first")

    assert len(states) == 4
    assert 2 <= only_server()["commands"] <= len(states)
    server = psutil.Process(only_server()["pid"])
    before, memory = steady(scene, server), server.memory_info().rss
    scene.succeeds("warm_again")

    assert steady(scene, server) == before
    assert server.memory_info().rss <= memory + (1 << 20)
    assert only_server()["pid"] == server.pid
    # Airflow 3's supervisor would wait a minute for whoever holds one of its sockets.
    assert "stuck sockets" not in scene.stack.logs()


def steady(scene: Warm, server: psutil.Process) -> int:
    """The number of descriptors that it has when nobody is connected."""

    def is_alone() -> bool:
        sockets = [end for end in ends_held_by(server) if end.startswith("socket:")]
        return len(sockets) == OWN_SOCKETS and not server.children()

    scene.stack.wait_until(is_alone, "nobody is connected to the server")
    return server.num_fds()


@on(CELERY, AIRFLOW_2)
def test_servers_that_are_killed_cost_no_task(scene: Warm) -> None:
    is_over = threading.Event()
    killed: list[int] = []
    killer = threading.Thread(target=kill_at_random, args=(is_over, killed))
    killer.start()
    try:
        scene.succeeds("warm_killed")
    finally:
        is_over.set()
        killer.join()

    assert len(killed) >= 2


@on(CELERY, AIRFLOW_2)
def test_a_task_that_is_marked_ends_its_dbt(scene: Warm) -> None:
    dbt = scene.gates["noted"].begin()

    scene.stack.mark_task("noted", "run", "failed")

    scene.is_gone(dbt, "dbt of a task that was marked failed")


@on(CELERY)
def test_a_process_of_the_worker_that_is_lost_takes_its_own_dbt_along_and_no_other(scene: Warm) -> None:
    victim = scene.gates["victim"].begin()
    other = scene.gates["other"].begin()
    server = psutil.Process(only_server()["pid"])

    own = {server, *server.children(recursive=True)}
    strangers = [process for process in scene.stack.started.find() if process not in own]
    assert not {*ends_held_by(server)} & {end for each in strangers for end in ends_held_by(each)}
    task = scene.gates["victim"].task()
    for process in (task.parent(), task):
        assert process is not None
        process.kill()

    scene.is_gone(victim, "dbt of the lost task")
    assert other.is_running()
    scene.gates["other"].passes()
    assert psutil.Process(only_server()["pid"]) == server


def ends_held_by(process: psutil.Process) -> Iterator[str]:
    """The ends of pipes and sockets, by their names in the kernel."""
    for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
        try:
            link = str(descriptor.readlink())
        except OSError:
            continue
        if link.startswith(("pipe:", "socket:")):
            yield link


@on(CELERY)
def test_a_worker_that_is_told_to_end_lets_dbt_end(scene: Warm) -> None:
    with scene.stack.celery_worker("warned") as worker:
        dbt = scene.gates["warned"].begin()
        worker.terminate()

        scene.gates["warned"].passes()

        scene.is_gone(dbt, "dbt of the last task")
        scene.is_gone(worker, "the worker")


@on(CELERY)
def test_dbt_goes_with_its_task_when_the_worker_ends_at_once(scene: Warm) -> None:
    with scene.stack.celery_worker("ended") as worker:
        dbt = scene.gates["ended"].begin()
        worker.send_signal(signal.SIGQUIT)

        scene.is_gone(worker, "the worker")
        scene.is_gone(dbt, "its dbt")
