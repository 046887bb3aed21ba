"""An environment for one task alone: there while it is used, gone on every way out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.processes.cancellation import Cancellation
from tests.kit import MakeSpec, OutputOf, StartPython, WaitForBackend, WaitUntil, as_words

Preference = Literal["uv", "pip"]


@pytest.mark.usefixtures("temporary_folder")
@pytest.mark.parametrize("preference", ["uv", "pip"])
def test_a_temporary_environment_is_gone_afterwards(
    tmp_path: Path, make_spec: MakeSpec, preference: Preference, output_of: OutputOf
) -> None:
    lines: list[str] = []

    with temporary_environment(
        make_spec(), preference=preference, cancellation=Cancellation(), report=lines.append
    ) as environment:
        said = output_of(environment.script("hello"))
        name = environment.path.name
        pins = environment.record.pins

    assert said == "hello 2.0"
    assert pins["hello"] == "2.0"
    assert name.startswith("cosmos-venv")
    assert list(tmp_path.glob("cosmos-venv*")) == []


@pytest.mark.usefixtures("temporary_folder")
def test_it_is_told_where_others_can_replace_a_temporary_environment(tmp_path: Path, make_spec: MakeSpec) -> None:
    told = {}

    for mode in (0o777, 0o1777):
        tmp_path.chmod(mode)
        lines: list[str] = []
        with temporary_environment(make_spec(), cancellation=Cancellation(), report=lines.append):
            told[mode] = [line for line in lines if f"can replace what stands in {tmp_path}" in line]

    assert {mode: len(lines) for mode, lines in told.items()} == {0o777: 1, 0o1777: 0}


KILLED = """
import json, sys, pickle
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.processes.cancellation import Cancellation
spec = pickle.loads(bytes.fromhex(sys.argv[1]))
with temporary_environment(spec, preference="uv", cancellation=Cancellation(), report=print):
    print("READY")
"""


def test_what_a_worker_killed_while_installing_left_is_removed_by_the_next_one(
    tmp_path: Path,
    make_spec: MakeSpec,
    slow_spec: EnvironmentSpec,
    monkeypatch: pytest.MonkeyPatch,
    start_python: StartPython,
    wait_for_backend: WaitForBackend,
    wait_until: WaitUntil,
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    worker = start_python(KILLED, as_words(slow_spec))
    backend = wait_for_backend()

    worker.kill()
    worker.wait()
    while_it_dies = list(folder.glob("cosmos-venv*"))
    wait_until(lambda: not Path("/proc", str(backend)).exists())

    def is_removed() -> bool:
        """Once the guard, which holds the lease, has seen the last process end."""
        with temporary_environment(make_spec(), preference="uv", cancellation=Cancellation(), report=print):
            pass
        return not list(folder.glob("cosmos-venv*"))

    wait_until(is_removed)
    assert len(while_it_dies) == 4  # the environment and the installer's own temporary folder, each with its lease
