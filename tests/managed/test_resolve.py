"""Tests of the places where a task looks for its environment, and of its choice when it cannot have it at once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.environments.store import BuildRecord, Environment
from cosmos_venv.managed import resolve
from cosmos_venv.operators.virtualenv import CosmosVirtualenvLockTimeout
from tests.kit import DbtCalls, MakeOperator
from tests.remote_settings import Configure


def test_an_environment_of_the_search_path_is_used_and_virtualenv_dir_not_made(
    make_operator: MakeOperator, dbt_calls: DbtCalls, kept_directory: Path, tmp_path: Path, configure: Configure
) -> None:
    make_operator().execute({})
    configure(virtualenv_search_path=f"{tmp_path / 'missing'}{os.pathsep}{kept_directory}")

    make_operator(virtualenv_dir=tmp_path / "own").execute({})
    configure(virtualenv_build="never")
    make_operator(virtualenv_dir=tmp_path / "own").execute({})

    assert len({call.prefix for call in dbt_calls()}) == 1
    assert not (tmp_path / "own").exists()


def test_what_the_search_path_lacks_is_built_in_virtualenv_dir_unless_that_is_forbidden(
    make_operator: MakeOperator, dbt_calls: DbtCalls, tmp_path: Path, configure: Configure
) -> None:
    (tmp_path / "image").mkdir()
    configure(virtualenv_search_path=tmp_path / "image", virtualenv_build="never")
    operator = make_operator(virtualenv_dir=tmp_path / "own")

    with pytest.raises(AirflowException, match=r"holds no environment .*, nor does virtualenv_search_path='.*image'"):
        operator.execute({})
    configure(virtualenv_build="auto")
    operator.execute({})

    assert dbt_calls()[0].prefix.is_relative_to(tmp_path / "own")
    assert not list((tmp_path / "image").iterdir())


def test_a_task_that_finds_its_environment_says_so_and_asks_nothing_about_building(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    tmp_path: Path,
    configure: Configure,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_operator(virtualenv_dir=tmp_path / "own").execute({})
    assert "is ready: " not in capsys.readouterr().out  # that one was built
    # Each would be refused by a task that has to build.
    configure(virtualenv_prune_max_count=-1, virtualenv_dir_mode="rwx", virtualenv_installer="conda")

    make_operator(virtualenv_dir=tmp_path / "own").execute({})

    prefix = {str(call.prefix) for call in dbt_calls()}
    assert len(prefix) == 1
    assert f"is ready: {prefix.pop()}." in capsys.readouterr().out


@pytest.fixture
def held_lock(tmp_path: Path) -> Iterator[Path]:
    """A directory whose lock another implementation holds."""
    directory = tmp_path / "held"
    directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        (directory / "cosmos_virtualenv.lock").write_text(str(owner.pid))
        yield directory
        owner.kill()


def test_a_task_that_may_wait_no_longer_goes_on_in_an_environment_of_its_own_where_that_is_set(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    held_lock: Path,
    configure: Configure,
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(virtualenv_max_retries_lock=0, virtualenv_lock_timeout_action="private")
    operator = make_operator(virtualenv_dir=held_lock)

    operator.execute({})

    (call,) = dbt_calls()
    logged = "".join(capfd.readouterr()).splitlines()
    (line,) = [line for line in logged if "goes on in a temporary environment of its own" in line]
    assert call.prefix.name.startswith("cosmos-venv")
    assert not call.prefix.exists()
    assert not (held_lock / "envs-v2").exists()
    assert "is still held by process" in line
    assert "[warning" in line.lower()


def test_a_task_that_may_wait_no_longer_fails_else(
    make_operator: MakeOperator, held_lock: Path, configure: Configure
) -> None:
    configure(virtualenv_max_retries_lock=0)

    with pytest.raises(CosmosVirtualenvLockTimeout, match="is still held by process"):
        make_operator(virtualenv_dir=held_lock).execute({})


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("0777", "would make .* untrusted: everybody may write to it"),
        ("rwx", "is no octal number"),
    ],
)
def test_permissions_that_cannot_be_are_refused(
    make_operator: MakeOperator, tmp_path: Path, configure: Configure, mode: str, reason: str
) -> None:
    configure(virtualenv_dir_mode=mode)

    with pytest.raises(AirflowException, match=rf"virtualenv_dir_mode = {mode}: it {reason}.*Give octal permissions"):
        make_operator(virtualenv_dir=tmp_path / "new").execute({})

    assert not (tmp_path / "new").exists()


def test_a_dbt_that_cannot_be_started_is_told_with_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dbt").touch()
    spec = EnvironmentSpec(requirements=("dbt-core",), interpreter=Interpreter.of())
    record = BuildRecord.of(spec, tmp_path, {}, installer="uv", seconds=0.0)
    environment = Environment(path=tmp_path, record=record, was_built=False)

    told = resolve.why_not_started(environment, OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC)))

    assert told == (
        f"The dbt of the environment cannot be started: {tmp_path}/bin/dbt: Exec format error. Its files are as they "
        "were installed: see whether their file system is mounted noexec now, and whether user id "
        f"{os.geteuid()} may execute the file and the program that its first line names."
    )
