"""Commands in the directory itself: those of the environment made ready last, and never in anybody's way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.spec import EnvironmentSpec

Spec = Callable[..., EnvironmentSpec]
MakeReady = Callable[..., Environment]
OutputOf = Callable[..., str]


def test_different_requirements_live_side_by_side_and_the_launcher_runs_the_last(
    tmp_path: Path, make_spec: Spec, make_ready: MakeReady, output_of: OutputOf
) -> None:
    one = make_ready(tmp_path, make_spec("hello==1.0"))
    launched_before = output_of(tmp_path / "bin" / "hello")

    two = make_ready(tmp_path, make_spec("hello==2.0"))

    assert launched_before == "hello 1.0"
    assert output_of(tmp_path / "bin" / "hello") == "hello 2.0"
    assert (output_of(one.script("hello")), output_of(two.script("hello"))) == ("hello 1.0", "hello 2.0")


def test_a_command_of_somebody_else_is_not_replaced(tmp_path: Path, make_spec: Spec, make_ready: MakeReady) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hello").write_text("theirs")

    make_ready(tmp_path, make_spec())

    assert (tmp_path / "bin" / "hello").read_text() == "theirs"


def test_a_plain_virtual_environment_in_the_directory_is_left_alone(
    tmp_path: Path, make_spec: Spec, make_ready: MakeReady
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    before = sorted((tmp_path / "bin").iterdir())
    lines: list[str] = []

    environment = make_ready(tmp_path, make_spec(), lines=lines)

    assert sorted((tmp_path / "bin").iterdir()) == before
    assert any("is a virtual environment already" in line for line in lines)
    assert environment.path != tmp_path


def test_a_file_in_the_place_of_bin_costs_the_commands_and_not_the_environment(
    tmp_path: Path, make_spec: Spec, make_ready: MakeReady, output_of: OutputOf
) -> None:
    (tmp_path / "bin").write_text("theirs")
    lines: list[str] = []

    environment = make_ready(tmp_path, make_spec(), lines=lines)

    assert output_of(environment.script("hello")) == "hello 2.0"
    assert (tmp_path / "bin").read_text() == "theirs"
    assert [line for line in lines if "does not get the commands of the environment: " in line and "bin" in line]
