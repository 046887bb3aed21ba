"""Warm dbt under the executors that people run: whoever is killed, restarted or marked, dbt obeys; nothing is left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from cosmos_venv.dbt.warm import servers
from tests.dbt.warm.test_process__killed import kill_at_random
from tests.installed import copy_of_example
from tests.operators.executors import Running, Stack, celery_worker, running_stack
from tests.operators.real_scheduler import logs, wait_until
from tests.postgres import Postgres

STACKS = [
    Stack(release=3, executor="CeleryExecutor", is_exhaustive=True),
    Stack(release=3, executor="LocalExecutor", is_exhaustive=True),
    Stack(release=2, executor="CeleryExecutor", is_exhaustive=True),
    Stack(release=2, executor="LocalExecutor"),
]
TITLES = ("airflow task runner", "airflow worker --")  # of the processes of tasks, in Airflow 2 and 3
# DAGs of one task, whose dbt stands at a gate until somebody opens it.
OWN_SOCKETS = 3
"""Of a server: the one that tasks connect to, and both ends of the way from its keepers."""
GATES = ("victim", "other", "marked", "warned", "ended")

DAG_FILE = """
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

def harbor(dag_id, choice, *select):
    return DbtDag(
        dag_id=dag_id,
        max_active_tasks=1,
        project_config=ProjectConfig(FOLDER + "/harbor"),
        profile_config=profile(FOLDER + "/harbor"),
        execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir=ENVIRONMENTS),
        render_config=RenderConfig(load_method=LoadMode.CUSTOM, test_behavior=TestBehavior.NONE, select=list(select)),
        operator_args={{**DBT, "warm_dbt": choice}},
        **ONCE,
    )

first = harbor("first", "require", "path:seeds", "path:models/staging")
again = harbor("again", "require", "path:models/marts")
killed = harbor("killed", "auto", "path:seeds", "path:models/staging")
for gate in {gates!r}:
    with DAG(gate, **ONCE) as globals()[gate]:
        DbtRunVirtualenvOperator(
            task_id="run",
            project_dir=FOLDER + "/" + gate,
            profile_config=profile(FOLDER + "/" + gate),
            virtualenv_dir=ENVIRONMENTS,
            warm_dbt="require",
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

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Gate:
        made = cls(folder)
        (folder / "models").mkdir(parents=True)
        (folder / "dbt_project.yml").write_text("name: harbor\nversion: '1.0'\nprofile: harbor\n")
        (folder / "profiles.yml").write_text(PROFILE.format(path=folder / "harbor.duckdb"))
        (folder / "models" / "wait.py").write_text(MODEL.format(noted=str(made.noted), gate=str(made.fifo)))
        os.mkfifo(made.fifo)
        return made

    @property
    def fifo(self) -> Path:
        return self.folder / "gate"

    @property
    def noted(self) -> Path:
        return self.folder / "pid"

    def open(self) -> None:
        self.fifo.write_text("")


class Scene:
    """A stack that runs, and the projects of its DAGs."""

    def __init__(self, stack: Running, folder: Path) -> None:
        self.stack = stack
        self.gates = {name: Gate(folder / name) for name in GATES}

    def wait(self, has_happened: Callable[[], bool], what: str) -> None:
        wait_until(has_happened, what, self.stack.airflow)

    def runs(self, dag_id: str) -> dict[str, str]:
        """The states of its tasks, once all of them have ended."""
        self.stack.unpause(dag_id)
        ended = f"select 1 from dag_run where dag_id = '{dag_id}' and state in ('success', 'failed')"  # noqa: S608
        self.wait(lambda: bool(self.stack.airflow.ask(ended)), f"the run of {dag_id} ends")
        return self.stack.states(dag_id)

    def dbt(self, gate: str) -> psutil.Process:
        """The dbt of that DAG, which is waiting."""
        self.stack.unpause(gate)
        self.wait(self.gates[gate].noted.exists, f"dbt of {gate} waits")
        return psutil.Process(int(self.gates[gate].noted.read_text()))

    def passes(self, gate: str) -> None:
        """It is let through, and its task succeeds."""
        self.gates[gate].open()
        self.wait(lambda: self.stack.states(gate) == {"run": "success"}, f"{gate} succeeds")

    def is_gone(self, process: psutil.Process, why: str) -> None:
        self.wait(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, why)

    def told(self) -> str:
        return logs(self.stack.airflow)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stack", [stack.parameter() for stack in STACKS])
# One test: each worker of pytest-xdist would start a stack of its own for its share of several.
def test_dbt_is_forked_and_ends_with_its_task(
    stack: Stack, tmp_path: Path, kept_directory: Path, postgres: Postgres, short_folder: Path
) -> None:
    copy_of_example(tmp_path / "harbor", "snapshots")
    (tmp_path / "harbor" / "profiles.yml").write_text(PROFILE.format(path=tmp_path / "harbor.duckdb"))
    for name in GATES:
        Gate.make(tmp_path / name)
    source = DAG_FILE.format(folder=str(tmp_path), environments=str(kept_directory), gates=GATES)

    with running_stack(stack, source, folder=tmp_path, short=short_folder, postgres=postgres) as running:
        scene = Scene(running, tmp_path)
        try:
            all_tasks_of_a_dag_are_forked_from_a_server(scene)
            nothing_grows_with_further_tasks(scene)
            servers_that_are_killed_cost_no_task(scene)
            a_task_that_is_marked_ends_its_dbt(scene)
            a_lost_task_takes_its_own_dbt_along(scene)
            a_worker_that_is_told_to_end_lets_dbt_end(scene)
            if stack.executor == "CeleryExecutor":
                dbt_goes_as_its_task_when_the_worker_ends_at_once(scene, stack.release)
        finally:
            for task in tasks(scene):  # after a failure: Airflow 3 lets a task outlive the worker
                task.kill()


def only_server() -> dict[str, int]:
    (place,) = servers.servers()
    state = servers.state_of(place)
    assert state is not None
    return state


def all_tasks_of_a_dag_are_forked_from_a_server(scene: Scene) -> None:
    """Each is forked, or it would have failed."""
    states = scene.runs("first")

    assert len(states) == 4
    assert set(states.values()) == {"success"}, scene.told()
    assert 2 <= only_server()["commands"] <= len(states)


def nothing_grows_with_further_tasks(scene: Scene) -> None:
    server = psutil.Process(only_server()["pid"])
    before, memory = steady(scene, server), server.memory_info().rss

    states = scene.runs("again")

    assert set(states.values()) == {"success"}, scene.told()
    assert steady(scene, server) == before
    assert server.memory_info().rss <= memory + (1 << 20)
    assert only_server()["pid"] == server.pid


def steady(scene: Scene, server: psutil.Process) -> int:
    """The number of descriptors that it has when nobody is connected."""

    def is_alone() -> bool:
        sockets = [end for end in ends_held_by(server) if end.startswith("socket:")]
        return len(sockets) == OWN_SOCKETS and not server.children()

    scene.wait(is_alone, "nobody is connected to the server")
    return server.num_fds()


def servers_that_are_killed_cost_no_task(scene: Scene) -> None:
    is_over = threading.Event()
    killed: list[int] = []
    killer = threading.Thread(target=kill_at_random, args=(is_over, killed))
    killer.start()
    try:
        states = scene.runs("killed")
    finally:
        is_over.set()
        killer.join()

    assert set(states.values()) == {"success"}, scene.told()
    assert len(killed) >= 2


def a_task_that_is_marked_ends_its_dbt(scene: Scene) -> None:
    dbt = scene.dbt("marked")

    scene.stack.mark("marked", "failed")

    scene.is_gone(dbt, "dbt of a task that was marked failed is gone")


def a_lost_task_takes_its_own_dbt_along(scene: Scene) -> None:
    """A process of the worker that is lost takes its own dbt along, and no other. The server holds nothing of them."""
    victim = scene.dbt("victim")
    (task,) = tasks(scene)
    other = scene.dbt("other")
    server = psutil.Process(only_server()["pid"])

    assert not {*ends_held_by(server)} & {end for each in strangers(server) for end in ends_held_by(each)}
    for process in (task.parent(), task):
        assert process is not None
        process.kill()

    scene.is_gone(victim, "dbt of the lost task is gone")
    assert other.is_running()
    scene.passes("other")
    assert psutil.Process(only_server()["pid"]) == server


def tasks(scene: Scene) -> list[psutil.Process]:
    """The processes in which operators run."""
    worker = scene.stack.worker
    below = worker.children(recursive=True) if worker.is_running() else []
    titles = {each: title(each) for each in below}
    return [each for each in below if titles[each].startswith(TITLES) and "LocalExecutor" not in titles[each]]


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def ends_held_by(process: psutil.Process) -> Iterator[str]:
    """The ends of pipes and sockets, by their names in the kernel."""
    for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
        try:
            link = str(descriptor.readlink())
        except OSError:
            continue
        if link.startswith(("pipe:", "socket:")):
            yield link


def strangers(server: psutil.Process) -> list[psutil.Process]:
    """All processes but the server and what it has forked."""
    own = {server, *server.children(recursive=True)}
    return [process for process in psutil.process_iter() if process not in own]


def a_worker_that_is_told_to_end_lets_dbt_end(scene: Scene) -> None:
    dbt = scene.dbt("warned")
    scene.stack.worker.terminate()

    scene.passes("warned")

    scene.is_gone(dbt, "dbt of the last task is gone")
    scene.is_gone(scene.stack.worker, "the worker that was told to end is gone")


def dbt_goes_as_its_task_when_the_worker_ends_at_once(scene: Scene, release: int) -> None:
    """Airflow 3 ends its task. That of Airflow 2 is no child of the worker by then, and goes on to its end."""
    with celery_worker(scene.stack.airflow) as worker:
        scene.stack.worker = worker
        dbt = scene.dbt("ended")

        worker.send_signal(signal.SIGQUIT)

        scene.is_gone(worker, "the worker that was told to end at once is gone")
        if release == 2:
            assert dbt.is_running()
            scene.passes("ended")
        scene.is_gone(dbt, "its dbt is gone")
