"""Environments that one machine builds and others fetch."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.archive.signed_record import Signer
from cosmos_venv.environments.maintenance.inventory import file_faults
from tests.environments.archive.machines import Machine
from tests.kit import MakeSpec, OutputOf


def test_an_environment_is_built_once_and_fetched_by_a_machine_of_another_path(
    tmp_path: Path, make_spec: MakeSpec, output_of: OutputOf
) -> None:
    builder = Machine(directory=tmp_path / "one" / "envs", remote=tmp_path / "remote")
    other = Machine(directory=tmp_path / "another place" / "with" / "its" / "own" / "envs", remote=tmp_path / "remote")

    built = builder.use(make_spec())
    fetched = other.use(make_spec())

    assert "Creating" in builder.log
    assert "Put " in builder.log
    assert "Fetched " in other.log
    assert "Creating" not in other.log
    assert output_of(fetched.script("hello")) == output_of(built.script("hello")) == "hello 2.0"
    assert file_faults(fetched.path, content=True) == []
    assert fetched.record["fetched_from"] == f"file://{tmp_path}/remote"
    assert fetched.record["pins"] == built.record["pins"]
    texts = [path for path in fetched.path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert [path for path in texts if str(tmp_path / "one").encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        pytest.param(Signer(key=b"the key of somebody else"), "signed with another key", id="another-key"),
        pytest.param(Signer(), "there is no key", id="no-key"),
    ],
)
def test_an_environment_of_strangers_is_not_used(
    tmp_path: Path, make_spec: MakeSpec, output_of: OutputOf, signer: Signer, reason: str
) -> None:
    Machine(directory=tmp_path / "one", remote=tmp_path / "remote").use(make_spec())
    before = {path: path.read_bytes() for path in (tmp_path / "remote").rglob("*") if path.is_file()}
    other = Machine(directory=tmp_path / "other", remote=tmp_path / "remote", signer=signer)

    environment = other.use(make_spec())

    assert reason in other.log
    assert "Creating" in other.log
    assert output_of(environment.script("hello")) == "hello 2.0"
    assert {path: path.read_bytes() for path in (tmp_path / "remote").rglob("*") if path.is_file()} == before


def test_an_archive_that_a_rule_of_the_storage_has_removed_is_put_there_again(
    tmp_path: Path, make_spec: MakeSpec
) -> None:
    machines = [Machine(directory=tmp_path / name, remote=tmp_path / "remote") for name in ("one", "two", "three")]
    machines[0].use(make_spec())
    (archive,) = (tmp_path / "remote").rglob("*.tar.zst")
    archive.unlink()

    for machine in machines[1:]:
        machine.use(make_spec())

    assert "its archive is gone" in machines[1].log
    assert "Creating" in machines[1].log
    assert "Fetched " in machines[2].log
