"""A builder that outlives who asked: callers wait a little, are told who builds, and learn what failed."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.publisher import BuildRequest
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import VirtualenvBeingBuilt, VirtualenvBuildError
from tests.kit import MakeSpec, StartPython, WaitForBackend, WaitUntil, as_words
from tools.demo_builds import BUILDER_LOG

PARSE = """
import json, sys, pickle
from pathlib import Path
from cosmos_venv.environments.detached import build_detached
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.publisher import BuildRequest
from cosmos_venv.environments.store import EnvironmentStore
spec = pickle.loads(bytes.fromhex(sys.argv[2]))
request = BuildRequest(store=EnvironmentStore(Path(sys.argv[1])), spec=spec, preference="uv", max_tries=5)
build_detached(request, wait=0, report=print)
"""


def ask(directory: Path, spec: EnvironmentSpec, *, wait: float | None) -> list[str]:
    lines: list[str] = []
    build_detached(
        BuildRequest(store=EnvironmentStore(directory), spec=spec, preference="uv", max_tries=5),
        wait=wait,
        report=lines.append,
    )
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


def test_the_builder_outlives_who_asked(
    tmp_path: Path,
    slow_spec: EnvironmentSpec,
    gate: Path,
    start_python: StartPython,
    wait_until: WaitUntil,
    wait_for_backend: WaitForBackend,
) -> None:
    parse = start_python(PARSE, tmp_path / "store", as_words(slow_spec))
    output = parse.communicate()[0]
    wait_for_backend()
    owner = (tmp_path / "store" / "cosmos_virtualenv.lock").read_text()
    session = os.getsid(int(owner))

    gate.unlink()
    wait_until(lambda: is_ready(tmp_path / "store", slow_spec))

    assert "VirtualenvBeingBuilt" in output
    assert f"by process {owner}" in output
    assert int(owner) != parse.pid
    # What is sent to the group of who asked does not reach it.
    assert session == int(owner)


LONG_LIVED = f"""
import warnings
import psutil
warnings.simplefilter("always")
try:
    exec({PARSE!r})
except Exception as error:
    print(type(error).__name__)
print("children:", [child.pid for child in psutil.Process().children()])
"""


def test_a_caller_that_lives_on_gets_no_zombie_and_ends_without_a_complaint(
    tmp_path: Path, slow_spec: EnvironmentSpec, start_python: StartPython, wait_for_backend: WaitForBackend
) -> None:
    output = start_python(LONG_LIVED, tmp_path / "store", as_words(slow_spec)).communicate()[0]
    wait_for_backend()

    assert output.splitlines()[1:] == ["VirtualenvBeingBuilt", "children: []"]
    assert BUILDER_LOG.search(output.splitlines()[0]), "make demo follows the log file"


def test_modules_in_the_working_directory_are_not_the_builder_s(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "json", "cosmos_venv"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stray module')")
    monkeypatch.chdir(tmp_path)

    ask(tmp_path / "store", make_spec(), wait=None)

    assert is_ready(tmp_path / "store", make_spec())


def test_who_may_not_wait_is_told_who_builds_and_where_its_log_is(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, wait_for_backend: WaitForBackend
) -> None:
    directory = tmp_path / "store"

    with pytest.raises(
        VirtualenvBeingBuilt,
        match=r"is being built for \d+ s by process \d+, log file .*\.log; the next parse will find it",
    ) as first:
        ask(directory, slow_spec, wait=0)
    wait_for_backend()
    with pytest.raises(VirtualenvBeingBuilt) as second:
        ask(directory, slow_spec, wait=0.1)
    gate.unlink()

    assert builder_of(first) == builder_of(second)
    assert ask(directory, slow_spec, wait=None) == []
    log = next((directory / "envs-v2" / "detached").glob("*.log"))
    assert "is ready after" in log.read_text()


def test_a_failure_is_shown_to_who_waits_and_to_the_next_who_does_not_try_again_at_once(
    tmp_path: Path, make_spec: MakeSpec
) -> None:
    spec = make_spec("hello==9.0")

    with pytest.raises(VirtualenvBuildError, match=r"(?s)could not install hello==9\.0.*hello==9\.0"):
        ask(tmp_path, spec, wait=None)
    log = next((tmp_path / "envs-v2" / "detached").glob("*.log"))
    after_the_first = log.stat()
    with pytest.raises(VirtualenvBuildError, match=r"(?s)could not install.*Tried \d+ s ago, again in \d+ s"):
        ask(tmp_path, spec, wait=None)

    # Each builder begins a new log.
    assert os.path.samestat(log.stat(), after_the_first)
    assert log.stat().st_mtime_ns == after_the_first.st_mtime_ns


def test_a_builder_that_is_told_to_end_leaves_nothing_and_no_message(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, wait_until: WaitUntil, wait_for_backend: WaitForBackend
) -> None:
    directory = tmp_path / "store"
    with pytest.raises(VirtualenvBeingBuilt) as asked:
        ask(directory, slow_spec, wait=0)
    wait_for_backend()

    os.kill(builder_of(asked), signal.SIGTERM)
    wait_until(lambda: not Path("/proc", str(builder_of(asked))).exists())

    assert not (directory / "cosmos_virtualenv.lock").exists()
    assert [path.name for path in (directory / "envs-v2").iterdir()] == ["detached"]
    assert list((directory / "envs-v2" / "detached").glob("*.failed")) == []


def test_no_credential_of_a_request_is_on_disk_or_on_a_command_line(
    tmp_path: Path, slow_spec: EnvironmentSpec, gate: Path, wait_for_backend: WaitForBackend
) -> None:
    directory = tmp_path / "store"
    options = (*slow_spec.pip_install_options, "--extra-index-url", "https://user:s3cret@host.invalid/simple")
    spec = replace(slow_spec, pip_install_options=options)

    with pytest.raises(VirtualenvBeingBuilt) as asked:
        ask(directory, spec, wait=0)
    wait_for_backend()
    builder = psutil.Process(builder_of(asked))
    command_lines = [" ".join(each.cmdline()) for each in (builder, *builder.children(recursive=True))]
    gate.unlink()
    ask(directory, spec, wait=None)

    written = [file for file in directory.rglob("*") if file.is_file() and not file.is_symlink()]
    assert len(command_lines) > 1, "the installer is at work"
    assert [line for line in command_lines if "s3cret" in line] == []
    assert [file for file in written if b"s3cret" in file.read_bytes()] == []
