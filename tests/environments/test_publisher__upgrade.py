"""``--upgrade``: resolved anew now and then, into a new generation, by one task; nobody waits for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from tests.environments.upgrades import HOUR, change_record, make_old, release, upgraded, use
from tests.kit import OutputOf, StartPython, as_words, published_build


@pytest.fixture
def spec(index: Path) -> EnvironmentSpec:
    return upgraded(index)


def test_it_is_resolved_anew_once_it_is_old_enough(
    tmp_path: Path, index: Path, spec: EnvironmentSpec, wheelhouse: Path, output_of: OutputOf
) -> None:
    first = use(tmp_path / "store", spec)
    release(index, wheelhouse)

    still_young = use(tmp_path / "store", spec)
    make_old(first)
    newer = use(tmp_path / "store", spec)
    again = use(tmp_path / "store", spec)

    assert (still_young.path, still_young.was_built) == (first.path, False)
    assert newer.was_built
    assert newer.path != first.path
    assert output_of(newer.script("hello")) == "hello 2.0"
    assert (again.path, again.was_built) == (newer.path, False)


def test_who_uses_the_old_generation_keeps_it(
    tmp_path: Path, index: Path, spec: EnvironmentSpec, wheelhouse: Path, output_of: OutputOf
) -> None:
    make_old(use(tmp_path / "store", spec))
    running = EnvironmentStore(tmp_path / "store").find(spec)
    assert running is not None
    release(index, wheelhouse)

    make_old(use(tmp_path / "store", spec))
    use(tmp_path / "store", spec)  # its builder removes the generations that nobody uses

    assert output_of(running.script("hello")) == "hello 1.0"
    running.close()


@pytest.mark.parametrize("upgrade_after", [HOUR, None], ids=["not-asked-for", "switched-off"])
def test_what_does_not_ask_for_it_is_never_resolved_anew(
    tmp_path: Path, spec: EnvironmentSpec, upgrade_after: float | None
) -> None:
    if upgrade_after is not None:
        spec = replace(spec, pip_install_options=spec.pip_install_options[1:])
    first = use(tmp_path / "store", spec)
    make_old(first)

    second = use(tmp_path / "store", spec, upgrade_after=upgrade_after)

    assert (second.path, second.was_built) == (first.path, False)


def test_an_environment_of_unknown_age_is_resolved_anew(tmp_path: Path, spec: EnvironmentSpec) -> None:
    change_record(use(tmp_path / "store", spec), built_at="long ago")

    assert use(tmp_path / "store", spec).was_built


def test_a_store_that_cannot_be_written_is_used_as_it_is(
    tmp_path: Path, spec: EnvironmentSpec, start_python: StartPython
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    if os.getuid():
        (tmp_path / "store" / "envs-v2").chmod(0o555)

    output = start_python(READ_ONLY + UPGRADE, tmp_path / "store", as_words(spec)).communicate("go\n")[0]

    assert f"READY False {first.path}" in output
    assert "--upgrade does nothing there" in output


# For root, whom permissions do not keep from writing: a read-only mount that only this process sees.
READ_ONLY = """
import ctypes, os, subprocess, sys
if os.getuid() == 0:
    assert ctypes.CDLL(None).unshare(0x00020000) == 0
    for words in ("--make-rprivate /", f"--bind {sys.argv[1]} {sys.argv[1]}", f"-o remount,bind,ro {sys.argv[1]}"):
        subprocess.run(["mount", *words.split()], check=True)
"""

UPGRADE = """
import json, sys, pickle
from pathlib import Path
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.builder import temporary_environment
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.upgrades import HOUR, make_old, release, upgraded, use
spec = pickle.loads(bytes.fromhex(sys.argv[2]))
print("STARTED", flush=True)
sys.stdin.readline()
request = BuildRequest(store=EnvironmentStore(Path(sys.argv[1])), spec=spec, preference="uv", max_tries=0)
with open_environment(request, upgrade_after=3600, cancellation=Cancellation(), report=print) as environment:
    print("READY", environment.was_built, environment.path, flush=True)
"""


def test_of_many_tasks_one_upgrades_and_none_waits_or_fails(
    tmp_path: Path, spec: EnvironmentSpec, start_python: StartPython
) -> None:
    first = use(tmp_path / "store", spec)
    make_old(first)
    tasks = [start_python(UPGRADE, tmp_path / "store", as_words(spec)) for _ in range(6)]
    for task in tasks:
        assert task.stdout is not None
        assert task.stdout.readline() == "STARTED\n"

    for task in tasks:
        assert task.stdin is not None
        task.stdin.write("go\n")
        task.stdin.flush()
    ready = [line.split() for task in tasks for line in task.communicate()[0].splitlines() if line.startswith("READY")]

    assert len(ready) == 6
    assert [was_built for _, was_built, _ in ready].count("True") == 1
    newer = published_build(tmp_path / "store")
    assert newer != first.path
    assert {Path(path) for _, _, path in ready} <= {first.path, newer}
