"""Many builders at once, and builders killed at every point: one build, or a rebuild, never a broken environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeSpec, StartPython, as_words

CONTENDER = """
import json, sys, pickle
from pathlib import Path
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.processes.cancellation import Cancellation
directory, order, stop_at = sys.argv[1:]
spec = pickle.loads(bytes.fromhex(order))

def report(line):
    print(line, flush=True)
    if stop_at and stop_at in line:
        print("AT THE POINT", flush=True)
        sys.stdin.read()

print("STARTED", flush=True)
sys.stdin.readline()
request = BuildRequest(store=EnvironmentStore(Path(directory)), spec=spec, preference="uv", max_tries=120)
with open_environment(request, cancellation=Cancellation(), report=report) as environment:
    print("READY", environment.was_built, environment.path, flush=True)
    sys.stdin.read()
"""


def say_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """The next line of the process that begins with the word."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith(word):
            return line.strip()
    raise AssertionError(f"the process ended without {word}: {''.join(seen)}")


def use_afterwards(directory: Path, spec: EnvironmentSpec) -> tuple[bool, list[str]]:
    """Whether the next task had to build, and what it was told; what it got works."""
    lines: list[str] = []
    with open_environment(
        BuildRequest(store=EnvironmentStore(directory), spec=spec, preference="uv", max_tries=0),
        cancellation=Cancellation(),
        report=lines.append,
    ) as environment:
        said = subprocess.run([environment.script("hello")], capture_output=True, text=True, check=True).stdout
        assert said == "hello 2.0\n"
        assert environment.record.pins["hello"] == "2.0"
        return environment.was_built, lines


def build_directories(directory: Path) -> list[Path]:
    return [path for path in (directory / "envs-v2").iterdir() if path.is_dir()]


@pytest.mark.parametrize("number", [8, pytest.param(64, marks=pytest.mark.long)])
def test_contenders_build_once_and_all_use_it(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython, number: int
) -> None:
    order = as_words(make_spec())
    contenders = [start_python(CONTENDER, tmp_path, order, "") for _ in range(number)]
    for process in contenders:
        read_until(process, "STARTED")

    for process in contenders:
        say_go(process)
    verdicts = [read_until(process, "READY").split() for process in contenders]

    assert sorted(was_built for _, was_built, _ in verdicts) == ["False"] * (number - 1) + ["True"]
    assert len({path for _, _, path in verdicts}) == 1
    assert len(build_directories(tmp_path)) == 1


@pytest.mark.parametrize(
    ("stop_at", "must_be_rebuilt"),
    [
        pytest.param("Creating the virtualenv", True, id="before-anything-is-made"),
        pytest.param("Resolved", True, id="before-packages-are-written"),
        pytest.param("Installed", True, id="before-byte-code-is-written"),
        pytest.param("is ready after", False, id="published-lock-still-held"),
    ],
)
def test_the_task_after_a_killed_builder_succeeds(
    tmp_path: Path, make_spec: MakeSpec, start_python: StartPython, stop_at: str, must_be_rebuilt: bool
) -> None:
    spec = make_spec()
    builder = start_python(CONTENDER, tmp_path, as_words(spec), stop_at)
    say_go(builder)
    read_until(builder, "AT THE POINT")

    builder.kill()
    builder.wait()
    was_built, _ = use_afterwards(tmp_path, spec)

    assert was_built is must_be_rebuilt
