"""Which machine builds, and whose environment stays in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_venv.environments.archive.remote_store import Visit
from cosmos_venv.environments.archive.signed_record import Signer, digest_of_record, opened
from cosmos_venv.environments.environment import read_record
from cosmos_venv.exceptions import VirtualenvError
from tests.environments.archive.machines import KEY, Machine
from tests.kit import MakeSpec


def record_file(remote: Path) -> Path:
    (file,) = remote.rglob("*.json")
    return file


def test_what_a_lock_file_names_is_not_replaced_when_its_archive_is_gone(tmp_path: Path, make_spec: MakeSpec) -> None:
    remote = tmp_path / "remote"
    Machine(directory=tmp_path / "one", remote=remote).use(make_spec())
    file = record_file(remote)
    before, name = file.read_bytes(), (file.stem, file.parent.name)
    for archive in remote.rglob("*.tar.zst"):
        archive.unlink()
    locked = Signer(key=KEY, locked={name: digest_of_record(opened(before)[0])})
    other = Machine(directory=tmp_path / "other", remote=remote, signer=locked)

    other.use(make_spec())

    assert other.has_built
    assert "The lock file names another build than this one" in other.log
    assert file.read_bytes() == before


def test_what_is_signed_is_not_replaced_by_hand_without_a_key(tmp_path: Path, make_spec: MakeSpec) -> None:
    remote, spec = tmp_path / "remote", make_spec()
    machine = Machine(directory=tmp_path / "one", remote=remote)
    environment = machine.use(spec)
    before = record_file(remote).read_bytes()
    without = Machine(directory=tmp_path / "one", remote=remote, signer=Signer())
    visit = Visit(
        store=without.store,
        name=spec.portable_digest,
        interpreter=spec.interpreter,
        cancellation=without.cancellation,
        report=print,
        warn=print,
    )

    with pytest.raises(VirtualenvError, match="the environment that is there is signed, and there is no key here"):
        visit.put(environment.path, read_record(environment.record_file), [])

    assert record_file(remote).read_bytes() == before
