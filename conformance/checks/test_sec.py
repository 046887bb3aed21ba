"""SEC: passwords and credentials stay where they belong."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import psutil
import pytest

from pytest_cosmos_venv import CosmosDbt

from ..adapter import Task
from ..harness.harness import Harness
from ..harness.processes import command_of
from ..harness.runs import dbt_running, directories, files_with, places, readable_by_others, require_hidden
from ..requirements import requirement

CONNECTION = "AIRFLOW_CONN_WAREHOUSE"


@pytest.fixture
def password() -> str:
    """A password unlike any other text on this machine."""
    return f"pa55-{secrets.token_hex(16)}"


def _variables(password: str) -> dict[str, str]:
    """Environment variables of a worker that knows the connection ``warehouse``, with this password."""
    return {CONNECTION: f"postgres://harbor:{password}@warehouse.example:5432/shop"}


def _task_with_connection(harness: Harness) -> Task:
    requirements = harness.requirements(adapter="postgres")
    return harness.kept_task(profile=harness.mapped_profile("warehouse"), py_requirements=requirements)


@requirement("SEC-001")
def test_a_password_is_in_no_file_that_is_left_or_that_others_may_read(harness: Harness, password: str) -> None:
    roots = places(harness)

    with dbt_running(harness, _task_with_connection(harness), **_variables(password), **harness.own_home) as call:
        during = [file for file in files_with(password, roots) if readable_by_others(file, roots)]
    left = files_with(password, roots)

    assert not during, f"while dbt runs no file that others may read must hold the password; seen: {during[0]}"
    assert not left, f"when the task has ended no file must hold the password; seen: {left[0]}"
    assert password in call.env.values(), (
        "the password must reach dbt by its environment, or this test shows nothing; seen: it did not"
    )


@requirement("SEC-002")
def test_a_password_is_in_no_log_command_line_or_rendered_field(harness: Harness, password: str) -> None:
    script = harness.wheelhouse.script("run", hold=True)

    with harness.start(_task_with_connection(harness), variables=_variables(password)) as running:
        running.race.wait_for("running")
        started = psutil.Process(running.pids[0]).children(recursive=True)
        commands = [command for each in started if password in (command := " ".join(command_of(each)))]
        script.release()
        outcome = running.finish().outcomes[0]

    hidden = [command.replace(password, "***") for command in commands]
    assert not hidden, f"no command line must hold the password; seen: {hidden[0]}"
    require_hidden(password, "the password", outcome)


@requirement("SEC-002")
def test_a_password_does_not_stay_in_the_environment_of_the_worker(harness: Harness, password: str) -> None:
    # The dbt of the second task inherits the variables that the first task has left in the process.
    outcome = harness.run(
        _task_with_connection(harness), harness.kept_task(append_env=True), variables=_variables(password)
    )

    assert outcome.succeeded, f"both tasks must succeed; seen: {outcome}"
    *_, second = harness.calls("run")
    left = [name for name, value in second.env.items() if password in value and name != CONNECTION]
    assert CONNECTION in second.env, "the worker's environment must reach dbt, as append_env says; seen: it does not"
    assert not left, f"after a task its password must not stay in the worker's environment; seen: variable {left[0]}"


@requirement("SEC-003")
@pytest.mark.parametrize("missing", [pytest.param([], id="succeeds"), pytest.param(["dbt-nowhere"], id="fails")])
def test_credentials_of_an_index_are_nowhere_to_be_read(
    harness: Harness, cosmos_dbt: CosmosDbt, password: str, missing: list[str]
) -> None:
    cosmos_dbt.index.require_login("harbor", password)
    task = harness.kept_task(
        py_requirements=[*harness.requirements(), *missing], pip_install_options=cosmos_dbt.index.pip_install_options
    )

    outcome = harness.run(task, variables=cosmos_dbt.index.environment)

    left = files_with(password, places(harness))
    assert outcome.succeeded is not bool(missing), f"the install must {'fail' if missing else 'succeed'}; {outcome}"
    require_hidden(password, "the credentials of an index", outcome, left)


@requirement("SEC-004")
@pytest.mark.parametrize("is_kept", [pytest.param(True, id="kept"), pytest.param(False, id="temporary")])
def test_directories_are_not_writable_by_others(harness: Harness, is_kept: bool) -> None:
    own = harness.own_temporary

    with dbt_running(harness, harness.kept_task() if is_kept else harness.task(), **own):
        made = [*directories(harness.virtualenv_dir), *directories(Path(own["TMPDIR"]))]
        writable = [f"{each}, mode {mode:o}" for each in made if (mode := _mode_if_open(each)) is not None]

    assert not writable, f"a directory that a task makes must be closed to whom the umask excludes; seen: {writable[0]}"


def _mode_if_open(directory: Path) -> int | None:
    """The mode of a directory to which more users may write than the umask allows; None where no more may.

    A directory that a setgid parent shares with its group counts as closed to others.
    """
    try:
        mode, above = directory.stat().st_mode, directory.parent.stat().st_mode
    except FileNotFoundError:
        return None
    shared = stat.S_IWGRP if above & stat.S_IWGRP and above & stat.S_ISGID else 0
    is_open = mode & (stat.S_IWGRP | stat.S_IWOTH) & _current_umask() & ~shared
    return stat.S_IMODE(mode) if is_open else None


def _current_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
