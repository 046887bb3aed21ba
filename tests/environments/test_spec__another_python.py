"""An environment of another Python than the worker's: one executable, found once, and both installers use that one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import Interpreter
from tests.kit import MakeReady, MakeSpec, OutputOf

WHICH = "import os, platform, sys; print(os.path.realpath(sys.executable), platform.python_version())"


@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_both_installers_make_it_of_the_executable_that_was_found(
    tmp_path: Path, make_spec: MakeSpec, make_ready: MakeReady, output_of: OutputOf, other_python: str, preference: str
) -> None:
    asked = Interpreter.of(other_python)

    environment = make_ready(tmp_path, make_spec(interpreter=asked), preference=preference)

    assert output_of(environment.python, "-I", "-c", WHICH) == f"{asked.executable} {asked.version}"
    assert output_of(environment.script("hello")) == "hello 2.0"
    assert environment.record.spec.interpreter.version == asked.version
    assert not asked.version.startswith(f"3.{sys.version_info.minor}.")
    assert list(environment.path.glob("lib/*/site-packages/hello/__pycache__/*.pyc"))


def test_the_python_of_a_virtual_environment_means_the_one_it_was_made_of(tmp_path: Path, other_python: str) -> None:
    subprocess.run([other_python, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)

    assert Interpreter.of(str(tmp_path / "venv" / "bin" / "python")) == Interpreter.of(other_python)
