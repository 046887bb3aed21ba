"""A pruner killed before any of its steps leaves nothing that is half: what can be found works, the rest is rubbish."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from tests.kit import MakeReady, MakeSpec, StartPython

# Python tells an audit hook of each step before it is made.
PRUNE = """
import itertools, os, signal, sys
from pathlib import Path
from cosmos_venv.environments.maintenance.pruner import PruneLimits, prune, surplus
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation

STEPS = {"os.rename", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.symlink", "fcntl.flock"}
store, last_step, made = EnvironmentStore(Path(sys.argv[1])), int(sys.argv[2]), itertools.count(1)

def kill_before_the_last_step(event, arguments):
    if event in STEPS and next(made) == last_step:
        print(event, *arguments[:1], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

limits = PruneLimits(max_age=500, max_count=0, min_age=0)
sys.addaudithook(kill_before_the_last_step)
look = lambda: surplus(store, limits, now=4e9)
prune(store, look, max_tries=0, cancellation=Cancellation(), report=lambda line: None)
"""


@pytest.fixture
def template(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> Path:
    """A store of one environment, hello 1.0."""
    make_ready(tmp_path / "template", make_spec("hello==1.0"))
    return tmp_path / "template"


def can_be_used(store: Path, spec: EnvironmentSpec) -> bool:
    """Whether the environment is found; who finds one can use it."""
    environment = EnvironmentStore(store).find(spec)
    if environment is None:
        return False
    with closing(environment):
        command = [str(environment.python), "-I", "-c", "import hello; print(hello.VERSION)"]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"1.0\n"
    return True


def layout(store: Path) -> list[str]:
    return sorted(path.name[64:].partition("-")[0] + path.suffix for path in (store / "envs-v2").iterdir())


@pytest.mark.long
def test_a_pruner_killed_before_any_step_costs_a_rebuild_at_most(
    tmp_path: Path, template: Path, make_spec: MakeSpec, make_ready: MakeReady, start_python: StartPython
) -> None:
    spec = make_spec("hello==1.0")
    whole = layout(template)
    seen = []

    step, stride = 1, 1
    while True:
        store = tmp_path / f"killed-before-step-{step}"
        shutil.copytree(template, store, symlinks=True)
        pruner = start_python(PRUNE, store, step)
        said = pruner.communicate()[0].strip()
        if pruner.returncode == 0:
            break
        assert pruner.returncode == -signal.SIGKILL, said
        seen.append((said.partition(" ")[0], can_be_used(store, spec)))

        if step % 2:
            make_ready(store, spec)
            assert layout(store) == whole
        else:
            again = start_python(PRUNE, store, 0)
            assert again.communicate()[0] == ""
            assert layout(store) == []
            assert not list(store.glob("*.lock*"))
        # Deleting is many times the same.
        stride = 9 if seen[-3:] == [("os.remove", False)] * 3 else stride
        step += stride

    steps = [step for step, _ in seen]
    found = [is_found for _, is_found in seen]
    assert {"os.remove", "os.rmdir", "os.link", "fcntl.flock"} <= set(steps)
    # Found by everybody until the record is removed, by nobody afterwards.
    assert found == sorted(found, reverse=True)
    assert found[0]
    assert not found[-1]
