"""Commands in the directory itself: those of the environment made ready last, and never in anybody's way."""

from __future__ import annotations

import time
from pathlib import Path

from cosmos_venv.environments.maintenance.pruner import prune
from cosmos_venv.environments.store import EnvironmentStore, PruneLimits
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.lease import lease_path
from tests.kit import MakeReady, MakeSpec, OutputOf, SetAge

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
