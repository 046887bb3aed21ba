"""Whoever builds an environment keeps the store as it is configured: a task, and a detached builder for a parse."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.files.kernel_lock import lease_path
from cosmos_venv.managed import resolve
from cosmos_venv.managed.resolve import VirtualenvArguments
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse


@pytest.fixture(autouse=True)
def one_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_PRUNE_MAX_COUNT", "1")
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_PRUNE_MIN_AGE", "60")


def arguments(wheelhouse: Wheelhouse, *requirements: str) -> VirtualenvArguments:
    return VirtualenvArguments(
        py_requirements=("dbt-duckdb", *requirements), pip_install_options=tuple(wheelhouse.pip_install_options)
    )


def task(wanted: VirtualenvArguments, directory: Path) -> Path:
    with resolve.managed_environment(wanted, directory, cancellation=Cancellation(), report=print) as environment:
        return environment.path


def parse(wanted: VirtualenvArguments, directory: Path) -> Path:
    with resolve.environment_for_parsing(wanted, directory, report=print) as environment:
        return environment.path


@pytest.mark.parametrize("build", [task, parse])
def test_who_builds_prunes(
    build: Callable[[VirtualenvArguments, Path], Path], tmp_path: Path, fake_dbt_wheels: Wheelhouse
) -> None:
    first = build(arguments(fake_dbt_wheels, "dbt-core==1.10.0"), tmp_path)
    then = time.time() - 3600
    os.utime(lease_path(first), (then, then))

    second = build(arguments(fake_dbt_wheels), tmp_path)

    assert second.exists()
    assert not first.exists()
