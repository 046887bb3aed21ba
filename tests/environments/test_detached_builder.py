"""A builder that outlives who asked: callers wait a little, are told who builds, and learn what failed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBeingBuilt, VirtualenvBuildError

Spec = Callable[..., EnvironmentSpec]
StartPython = Callable[..., "subprocess.Popen[str]"]
WaitUntil = Callable[[Callable[[], object]], None]

PARSE = """
import json, sys
from pathlib import Path
from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.spec import EnvironmentSpec
spec = EnvironmentSpec.from_dict(json.loads(sys.argv[2]))
build_detached(Path(sys.argv[1]), spec, preference="uv", max_tries=5, wait=0, report=print)
"""


def ask(directory: Path, spec: EnvironmentSpec, *, wait: float | None) -> list[str]:
    lines: list[str] = []
    build_detached(directory, spec, preference="uv", max_tries=5, wait=wait, report=lines.append)
    return lines


def is_ready(directory: Path, spec: EnvironmentSpec) -> bool:
    environment = EnvironmentStore(directory).find(spec)
    if environment is not None:
        environment.close()
    return environment is not None


def builder_of(error: pytest.ExceptionInfo[VirtualenvBeingBuilt]) -> int:
    found = re.search(r"by process (\d+)", str(error.value))
    assert found is not None
    return int(found.group(1))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """While this file exists a slow build waits; removed at the end, so that no builder stays."""
    path = tmp_path / "gate"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def slow_spec(make_spec: Spec, make_slow_sdist: Callable[[Path], Path], gate: Path) -> EnvironmentSpec:
    return make_spec(str(make_slow_sdist(gate)))


def test_who_may_wait_gets_a_ready_environment(tmp_path: Path, make_spec: Spec) -> None:
    spec = make_spec()

    first = ask(tmp_path, spec, wait=None)
    second = ask(tmp_path, spec, wait=None)

    assert is_ready(tmp_path, spec)
    assert "is being built by a process of its own" in first[0]
    assert second == []


def test_the_builder_outlives_who_asked(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, start_python: StartPython, wait_until: WaitUntil
) -> None:
    parse = start_python(PARSE, tmp_path / "store", json.dumps(slow_spec.as_dict()))
    output = parse.communicate()[0]
    wait_until(lambda: gate.exists() and gate.read_text())
    owner = (tmp_path / "store" / "cosmos_virtualenv.lock").read_text()
    session = os.getsid(int(owner))

    gate.unlink()
    wait_until(lambda: is_ready(tmp_path / "store", slow_spec))

    assert "VirtualenvBeingBuilt" in output
    assert f"by process {owner}" in output
    assert int(owner) != parse.pid
    # What is sent to the group of who asked does not reach it.
    assert session == int(owner)


def test_who_may_not_wait_is_told_who_builds_and_where_its_log_is(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, wait_until: WaitUntil
) -> None:
    directory = tmp_path / "store"

    with pytest.raises(
        VirtualenvBeingBuilt,
        match=r"is being built for \d+ s by process \d+, log file .*\.log; the next parse will find it",
    ) as first:
        ask(directory, slow_spec, wait=0)
    wait_until(lambda: gate.exists() and gate.read_text())
    with pytest.raises(VirtualenvBeingBuilt) as second:
        ask(directory, slow_spec, wait=0.1)
    gate.unlink()

    assert builder_of(first) == builder_of(second)
    assert ask(directory, slow_spec, wait=None) == []
    log = next((directory / "envs-v1" / "detached").glob("*.log"))
    assert "is ready after" in log.read_text()


def test_a_failure_is_shown_to_who_waits_and_to_the_next_who_does_not_try_again_at_once(
    tmp_path: Path, make_spec: Spec
) -> None:
    spec = make_spec("hello==9.0")

    with pytest.raises(VirtualenvBuildError, match=r"(?s)could not install hello==9\.0.*hello==9\.0"):
        ask(tmp_path, spec, wait=None)
    began = time.monotonic()
    with pytest.raises(VirtualenvBuildError, match=r"(?s)could not install.*Tried \d s ago, again in \d+ s"):
        ask(tmp_path, spec, wait=None)

    assert time.monotonic() - began < 1


def test_a_failure_that_is_a_minute_old_is_tried_again(
    tmp_path: Path, make_spec: Spec, slow_spec: EnvironmentSpec, gate: Path
) -> None:
    spec = make_spec("hello==9.0")
    with pytest.raises(VirtualenvBuildError, match="could not install"):
        ask(tmp_path, spec, wait=None)
    failure = next((tmp_path / "envs-v1" / "detached").glob("*.failed"))
    then = time.time() - 61
    os.utime(failure, (then, then))

    with pytest.raises(VirtualenvBuildError, match=r"could not install(?s:.)*Tried 0 s ago"):
        ask(tmp_path, spec, wait=None)


def test_a_killed_builder_is_followed_by_another(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, wait_until: WaitUntil
) -> None:
    directory = tmp_path / "store"
    with pytest.raises(VirtualenvBeingBuilt) as first:
        ask(directory, slow_spec, wait=0)
    wait_until(lambda: gate.exists() and gate.read_text())
    backend = gate.read_text()

    os.kill(builder_of(first), signal.SIGKILL)
    wait_until(lambda: not Path("/proc", backend).exists())
    gate.unlink()
    with pytest.raises(VirtualenvBeingBuilt) as second:
        ask(directory, slow_spec, wait=0)
    wait_until(gate.exists)
    gate.unlink()
    ask(directory, slow_spec, wait=None)

    assert builder_of(second) != builder_of(first)
    assert is_ready(directory, slow_spec)


def test_a_builder_that_is_told_to_end_leaves_nothing_and_no_message(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, wait_until: WaitUntil
) -> None:
    directory = tmp_path / "store"
    with pytest.raises(VirtualenvBeingBuilt) as asked:
        ask(directory, slow_spec, wait=0)
    wait_until(lambda: gate.exists() and gate.read_text())

    os.kill(builder_of(asked), signal.SIGTERM)
    wait_until(lambda: not (directory / "cosmos_virtualenv.lock").exists())

    assert list((directory / "envs-v1" / "builds").iterdir()) == []
    assert list((directory / "envs-v1" / "detached").glob("*.failed")) == []


def test_no_credential_of_an_order_is_on_disk_or_on_a_command_line(
    tmp_path: Path, make_spec: Spec, make_slow_sdist: Callable[[Path], Path], gate: Path, wait_until: WaitUntil
) -> None:
    directory = tmp_path / "store"
    spec = make_spec(
        str(make_slow_sdist(gate)), options=("--extra-index-url", "https://user:s3cret@host.invalid/simple")
    )

    with pytest.raises(VirtualenvBeingBuilt) as asked:
        ask(directory, spec, wait=0)
    wait_until(lambda: gate.exists() and gate.read_text())
    command_lines = [
        subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout,
        Path(f"/proc/{builder_of(asked)}/cmdline").read_text(),
    ]
    gate.unlink()
    ask(directory, spec, wait=None)

    written = [file for file in directory.rglob("*") if file.is_file() and not file.is_symlink()]
    assert [line for line in command_lines if "s3cret" in line] == []
    assert [file for file in written if b"s3cret" in file.read_bytes()] == []


def test_a_file_in_place_of_the_directory_is_refused_before_anything_starts(tmp_path: Path, make_spec: Spec) -> None:
    file = tmp_path / "file"
    file.write_text("")

    with pytest.raises(CosmosValueError, match=r"virtualenv_dir: .*file is not a directory"):
        ask(file, make_spec(), wait=None)


LOADED = """
import sys
import cosmos_venv.environments.detached, cosmos_venv.environments.store, cosmos_venv.environments.temporary
print("cosmos_venv.environments.builder" in sys.modules, "psutil" in sys.modules)
import cosmos_venv.environments.publisher
print([name for name in sys.modules if name.partition(".")[0] == "airflow"])
"""


def test_a_builder_imports_no_airflow_and_a_task_with_a_ready_environment_no_builder(start_python: StartPython) -> None:
    output = start_python(LOADED).communicate()[0]

    assert output.splitlines() == ["False False", "[]"]
