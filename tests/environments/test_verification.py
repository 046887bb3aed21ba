"""A build is held against its record: what changed since is named."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.inventory import read_inventory
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.environments.verification import verify
from cosmos_venv.lease import Lease, lease_path

Spec = Callable[..., EnvironmentSpec]
MakeReady = Callable[..., Environment]


@pytest.fixture
def built(tmp_path: Path, make_spec: Spec, make_ready: MakeReady) -> Environment:
    """An environment of hello 1.0 whose directories may be written to."""
    environment = make_ready(tmp_path, make_spec("hello==1.0"))
    for folder in [environment.path, *(path for path in environment.path.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return environment


def faults(directory: Path) -> list[str]:
    (stored,) = read_inventory(EnvironmentStore(directory))
    return verify(stored).faults


def change_record(environment: Environment, **changes: Any) -> None:
    environment.record_file.write_text(json.dumps({**environment.record, **changes}))


def site_packages(environment: Environment) -> Path:
    return next(environment.path.glob("lib/*/site-packages"))


def test_a_build_as_it_was_made_has_no_fault(tmp_path: Path, built: Environment) -> None:
    assert faults(tmp_path) == []


def test_a_missing_file_is_named(tmp_path: Path, built: Environment) -> None:
    (site_packages(built) / "hello" / "__init__.py").unlink()

    assert faults(tmp_path) == ["hello/__init__.py is missing"]


def test_what_was_installed_later_and_what_is_gone_is_named(tmp_path: Path, built: Environment) -> None:
    installed = site_packages(built) / "hello-1.0.dist-info"
    added = site_packages(built) / "added-3.0.dist-info"
    added.mkdir()
    (added / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 3.0\n")
    shutil.rmtree(installed)

    assert faults(tmp_path) == ["added is 3.0 instead of absent", "hello is not installed instead of 1.0"]


def test_an_interpreter_that_is_gone_is_named(tmp_path: Path, built: Environment) -> None:
    built.python.unlink()
    built.python.symlink_to(tmp_path / "uninstalled" / "python")

    assert faults(tmp_path) == [f"its interpreter is gone: bin/python leads to {tmp_path}/uninstalled/python"]


def test_an_interpreter_of_another_version_is_named(tmp_path: Path, built: Environment) -> None:
    spec = built.record["spec"]
    now = ".".join(map(str, sys.version_info[:3]))
    change_record(built, spec={**spec, "interpreter": {**spec["interpreter"], "version": "3.9.0"}})

    (fault,) = faults(tmp_path)

    assert fault.startswith("its interpreter is now cpython")
    assert fault.endswith(f" {now} instead of cpython 3.9.0")


def test_nothing_that_is_installed_is_run(tmp_path: Path, built: Environment) -> None:
    (site_packages(built) / "planted.pth").write_text(
        f"import pathlib; pathlib.Path({str(tmp_path / 'run')!r}).touch()"
    )

    faults(tmp_path)

    assert not (tmp_path / "run").exists()


def test_a_record_of_another_environment_is_a_fault(tmp_path: Path, built: Environment) -> None:
    change_record(built, digest="a" * 64)

    assert faults(tmp_path) == [f"the record is of another environment, {'a' * 64}"]


def test_a_build_without_record_has_that_fault(tmp_path: Path, built: Environment) -> None:
    built.record_file.unlink()

    assert faults(tmp_path) == ["there is no record"]


def test_a_build_without_lease_file_is_looked_at_all_the_same(tmp_path: Path, built: Environment) -> None:
    lease_path(built.path).unlink()

    assert faults(tmp_path) == []
    assert not lease_path(built.path).exists()


def test_a_build_that_is_being_removed_is_told_so(tmp_path: Path, built: Environment) -> None:
    (stored,) = read_inventory(EnvironmentStore(tmp_path))
    removing = Lease.exclusive(built.path)
    assert removing is not None

    found = verify(stored).faults
    removing.close()

    assert found == ["it has been removed"]
