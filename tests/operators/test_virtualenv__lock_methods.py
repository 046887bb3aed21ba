"""The lock methods that the seed document names, for subclasses that call them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.virtualenv import LOCK_FILENAME, CosmosVirtualenvLockTimeout
from pytest_cosmos_venv import CosmosLock, VenvLock
from tests.kit import MakeOperator


@pytest.fixture
def lock(cosmos_lock: CosmosLock, tmp_path: Path) -> VenvLock:
    return cosmos_lock(tmp_path / "environments")


@pytest.fixture
def operator(make_operator: MakeOperator, lock: VenvLock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its directory is that of ``lock``; it waits for a second."""
    monkeypatch.setenv("AIRFLOW__COSMOS__VIRTUALENV_MAX_RETRIES_LOCK", "1")
    return make_operator(virtualenv_dir=lock.file.parent)


def test_it_is_taken_and_released(operator: Any, lock: VenvLock) -> None:
    assert operator._is_lock_available()

    operator._acquire_venv_lock()

    assert lock.file.name == LOCK_FILENAME
    assert lock.owner == os.getpid()
    assert not operator._is_lock_available()
    operator._release_venv_lock()
    assert lock.owner is None
    assert operator._is_lock_available()


def test_a_missing_directory_is_made_by_who_takes_it_and_not_by_who_looks(
    make_operator: MakeOperator, tmp_path: Path
) -> None:
    operator = make_operator(virtualenv_dir=tmp_path / "new" / "environments")

    assert operator._is_lock_available()
    assert not (tmp_path / "new").exists()
    operator._acquire_venv_lock()
    operator._release_venv_lock()

    assert (tmp_path / "new" / "environments").is_dir()


def test_a_living_owner_keeps_it(operator: Any, lock: VenvLock, cosmos_lock: CosmosLock) -> None:
    pid = cosmos_lock.pids.live()
    lock.held_by(pid)

    assert not operator._is_lock_available()
    with pytest.raises(CosmosVirtualenvLockTimeout, match=rf"{LOCK_FILENAME} is still held by process {pid} .* after"):
        operator._acquire_venv_lock()
    operator._release_venv_lock()

    assert lock.owner == pid


def test_it_is_not_taken_twice(operator: Any) -> None:
    operator._acquire_venv_lock()

    with pytest.raises(CosmosValueError, match=r"holds the lock of virtualenv_dir=.* already"):
        operator._acquire_venv_lock()
    operator._release_venv_lock()


def test_who_holds_it_does_not_wait_for_itself_to_build(operator: Any, lock: VenvLock) -> None:
    operator._acquire_venv_lock()

    operator.execute({})

    assert lock.owner == os.getpid()
    assert not operator._is_lock_available()
    operator._release_venv_lock()
    assert lock.owner is None
    assert list(lock.file.parent.glob("envs-v2/*/bin/dbt"))


@pytest.mark.parametrize("method", ["_is_lock_available", "_acquire_venv_lock", "_release_venv_lock"])
def test_without_a_directory_there_is_no_lock(make_operator: MakeOperator, method: str) -> None:
    with pytest.raises(CosmosValueError, match="relies on value of parameter `virtualenv_dir` which is None"):
        getattr(make_operator(virtualenv_dir=None), method)()


def test_who_has_it_is_told_so_and_not_called_outdated(operator: Any, capfd: pytest.CaptureFixture[str]) -> None:
    operator._acquire_venv_lock()
    capfd.readouterr()

    assert not operator._is_lock_available()
    operator._release_venv_lock()

    said = "".join(capfd.readouterr())
    assert "This operator has the lock" in said
    assert "outdated" not in said


def test_a_directory_that_cannot_be_made_fails_as_a_task_does(make_operator: MakeOperator, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(AirflowException, match=r"virtualenv_dir=.*file/inside' cannot be locked"):
        make_operator(virtualenv_dir=tmp_path / "file" / "inside")._acquire_venv_lock()
