"""Commands in the directory itself: those of the environment made ready last, and never in anybody's way."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from cosmos_venv.environments.layout import PruneLimits, StorePolicy
from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import lease_path
from tests.kit import MakeReady, MakeSpec, OutputOf, SetAge, StartPython

ONE = PruneLimits(max_age=0, max_count=1, min_age=0)
OLD_GO = PruneLimits(max_age=500, max_count=0, min_age=0)


def test_different_requirements_live_side_by_side_and_the_launcher_runs_the_last(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf
) -> None:
    one = make_ready(tmp_path, make_spec("hello==1.0"))
    launched_before = output_of(tmp_path / "bin" / "hello")

    two = make_ready(tmp_path, make_spec("hello==2.0"))

    assert launched_before == "hello 1.0"
    assert output_of(tmp_path / "bin" / "hello") == "hello 2.0"
    assert (output_of(one.script("hello")), output_of(two.script("hello"))) == ("hello 1.0", "hello 2.0")


def test_a_command_of_somebody_else_is_not_replaced(tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hello").write_text("theirs")

    make_ready(tmp_path, make_spec())

    assert (tmp_path / "bin" / "hello").read_text() == "theirs"


def test_a_plain_virtual_environment_in_the_directory_is_left_alone(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    before = sorted((tmp_path / "bin").iterdir())
    lines: list[str] = []

    environment = make_ready(tmp_path, make_spec(), lines=lines)

    assert sorted((tmp_path / "bin").iterdir()) == before
    assert any("is a virtual environment already" in line for line in lines)
    assert environment.path != tmp_path


def test_a_file_in_the_place_of_bin_costs_the_commands_and_not_the_environment(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf
) -> None:
    (tmp_path / "bin").write_text("theirs")
    lines: list[str] = []

    environment = make_ready(tmp_path, make_spec(), lines=lines)

    assert output_of(environment.script("hello")) == "hello 2.0"
    assert (tmp_path / "bin").read_text() == "theirs"
    assert [line for line in lines if "does not get the commands of the environment: " in line and "bin" in line]


def run_prune(directory: Path, limits: PruneLimits) -> None:
    prune(
        EnvironmentStore(directory),
        limits,
        now=time.time() + 1,
        max_tries=0,
        cancellation=Cancellation(),
        report=print,
    )


def test_a_command_of_an_environment_that_was_pruned_runs_that_of_the_newest_left(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf, set_age: SetAge
) -> None:
    older, kept, pruned = (make_ready(tmp_path, make_spec(f"hello{pin}")) for pin in (">0", "==1.0", "==2.0"))
    for environment, age in ((older, 100), (kept, 100), (pruned, 1000)):
        set_age(lease_path(environment.path), age)

    run_prune(tmp_path, OLD_GO)

    assert not pruned.path.exists()
    assert output_of(tmp_path / "bin" / "hello") == "hello 1.0"


def test_where_no_environment_is_left_its_commands_go_and_those_of_others_stay(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, set_age: SetAge
) -> None:
    set_age(lease_path(make_ready(tmp_path, make_spec()).path), 1000)
    (tmp_path / "bin" / "theirs").write_text("theirs")

    run_prune(tmp_path, OLD_GO)

    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["theirs"]


def test_who_builds_and_prunes_leaves_no_command_that_leads_nowhere(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, set_age: SetAge
) -> None:
    set_age(lease_path(make_ready(tmp_path, make_spec()).path), 1000)

    make_ready(tmp_path, replace(make_spec(), requirements=()), policy=StorePolicy(limits=ONE))

    assert list((tmp_path / "bin").iterdir()) == []


def test_a_command_whose_environment_was_deleted_by_hand_says_what_to_do(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady
) -> None:
    link = tmp_path / "envs-v1" / make_ready(tmp_path, make_spec()).digest
    link.unlink()

    ended = subprocess.run([tmp_path / "bin" / "hello"], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == (
        f"hello: the environment {link} is gone. "
        "Run a task that needs it, or cosmos-venv env warm DAGFILE: the next build here makes this command anew.\n"
    )


HALF = """
import os, signal, sys
from pathlib import Path
from cosmos_venv.environments.maintenance.launchers import write_launchers

def die(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
write_launchers(Path(sys.argv[1]), Path("link"), ["hello"])
"""


def test_a_command_that_a_kill_left_half_goes_with_the_next_build(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, start_python: StartPython
) -> None:
    (tmp_path / "bin").mkdir()
    start_python(HALF, tmp_path / "bin").wait()
    (half,) = (tmp_path / "bin").iterdir()
    (tmp_path / "bin" / ".theirs").touch()

    make_ready(tmp_path, make_spec())

    assert not half.exists()
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == [".theirs", "hello"]
