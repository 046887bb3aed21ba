"""What stands in a remote store and is not used: the task builds, says why in one line, and replaces what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.environments.archive.signed_record import ArchiveRecord, Signer
from cosmos_venv.environments.spec import EnvironmentSpec
from tests.environments.archive.forging import (
    Member,
    archive_file,
    forge,
    plain,
    record_file,
    record_in,
)
from tests.environments.archive.machines import A_BUILD_ALONE, KEY, Machine
from tests.kit import OutputOf

Spoil = Callable[[Path], object]


def with_members(*more: Member) -> Spoil:
    return lambda remote: forge(remote, members=lambda members: [*members, *more])


def with_contents(**claims: object) -> Spoil:
    return lambda remote: forge(
        remote,
        lambda record: replace(record, contents=replace(record.contents, **claims)),  # type: ignore[arg-type]
    )


def with_a_file_that_is_shorter(remote: Path) -> None:
    def shortened(members: list[Member]) -> list[Member]:
        return [replace(each, content=b"#") if each.name.endswith("hello/__init__.py") else each for each in members]

    forge(remote, members=shortened)


def cut_archive(remote: Path) -> None:
    archive = archive_file(remote)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def changed_archive(remote: Path) -> None:
    archive = archive_file(remote)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


def enveloped(**envelope: object) -> Spoil:
    def spoil(remote: Path) -> None:
        file = record_file(remote)
        file.write_text(json.dumps({**json.loads(file.read_text()), **envelope}))

    return spoil


def record(content: bytes) -> Spoil:
    return lambda remote: record_file(remote).write_bytes(content)


BROKEN = [
    pytest.param(with_members(plain("../evil")), "leads out of the environment", id="a-file-outside"),
    pytest.param(with_members(plain("bin/hello")), "comes twice", id="a-file-twice"),
    pytest.param(with_members(plain("bin/x", mode=0o4755)), "special permissions", id="setuid"),
    pytest.param(
        with_a_file_that_is_shorter, r"hello/__init__\.py has 1 bytes instead of", id="not-as-its-record-says"
    ),
    pytest.param(with_contents(unpacked=1), "more than its record says", id="more-bytes"),
    pytest.param(with_contents(unpacked=1 << 50), "more than the .* that are unpacked", id="sizes-that-none-has"),
    pytest.param(cut_archive, "its archive is gone, or has another size", id="archive-cut-short"),
    pytest.param(changed_archive, "its SHA-256 is not that of its record", id="archive-changed"),
    pytest.param(
        lambda remote: archive_file(remote).unlink(), "its archive is gone, or has another size", id="archive-missing"
    ),
    pytest.param(record(b"\0" * 500), "its record is damaged", id="record-garbage"),
    pytest.param(record(b"[" * 100_000), "its record is damaged", id="record-nested"),
    pytest.param(
        lambda remote: forge(remote, lambda record: replace(record, commands=("../../evil",))),
        "names a command '../../evil'",
        id="a-command-outside",
    ),
]


@pytest.mark.parametrize(("spoil", "reason"), BROKEN)
@pytest.mark.usefixtures("temporary_folder")
def test_what_is_broken_is_built_here_and_replaced(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf, spoil: Spoil, reason: str
) -> None:
    spoil(remote)
    machine = Machine(directory=tmp_path / "machine" / "envs", remote=remote)
    next_one = Machine(directory=tmp_path / "next" / "envs", remote=remote)

    environment = machine.use(hello)
    next_one.use(hello)

    assert output_of(environment.script("hello")) == "hello 2.0"
    assert machine.has_built, machine.log
    assert sum("is not used" in line for line in machine.lines) == 1, machine.log
    assert_tells(machine, reason)
    assert machine.builds == A_BUILD_ALONE
    assert sorted(path.name for path in (tmp_path / "machine").iterdir()) == ["envs"]
    assert sorted(path.name for path in machine.directory.iterdir()) == ["bin", "cosmos_virtualenv.flock", "envs-v1"]
    assert next_one.has_fetched, next_one.log


def assert_tells(machine: Machine, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(machine.log)


def of_another_platform(remote: Path) -> None:
    forge(remote, lambda record: replace(record, platform="cpython-3.9.0-win_amd64-envs-v1"))


def of_another_environment(remote: Path) -> None:
    forge(remote, lambda record: replace(record, name="0" * 64))


def of_an_earlier_release(remote: Path) -> None:
    file = record_file(remote)
    text = json.loads(json.loads(file.read_text())["record"])
    del text["pushed_at"]
    signer, text = Signer(key=KEY), json.dumps(text)
    file.write_text(json.dumps({"record": text, "hmac_sha256": signer._signature(text)}))


STRANGE = [
    pytest.param(enveloped(hmac_sha256=""), "it is not signed", id="not-signed"),
    pytest.param(enveloped(hmac_sha256="ä" * 64), "signed with another key", id="a-signature-in-other-letters"),
    pytest.param(
        lambda remote: forge(remote, signer=Signer(key=b"the key of somebody else")),
        "signed with another key",
        id="another-key",
    ),
    pytest.param(of_another_platform, "belongs to another environment", id="another-platform"),
    pytest.param(of_another_environment, "belongs to another environment", id="another-environment"),
]


@pytest.mark.parametrize(("spoil", "reason"), STRANGE)
@pytest.mark.usefixtures("temporary_folder")
def test_what_is_strange_is_built_here_and_left_alone(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec, output_of: OutputOf, spoil: Spoil, reason: str
) -> None:
    spoil(remote)
    before = {path: path.read_bytes() for path in remote.rglob("*") if path.is_file()}
    machine = Machine(directory=tmp_path / "envs", remote=remote)

    environment = machine.use(hello)

    assert output_of(environment.script("hello")) == "hello 2.0"
    assert machine.has_built, machine.log
    assert sum("is not used" in line for line in machine.lines) == 1, machine.log
    assert_tells(machine, reason)
    assert machine.builds == A_BUILD_ALONE
    assert {path: path.read_bytes() for path in remote.rglob("*") if path.is_file()} == before


def test_a_record_of_another_release_is_replaced(tmp_path: Path, remote: Path, hello: EnvironmentSpec) -> None:
    of_an_earlier_release(remote)
    machine = Machine(directory=tmp_path / "envs", remote=remote)

    machine.use(hello)

    assert machine.has_built
    assert_tells(machine, "its record is of another release")
    assert record_in(remote).pushed_at


def locked(change: Callable[[str], str]) -> Callable[[Path], Signer]:
    """Signer by a lock file that names the digest of the record there, or another one."""

    def signer(remote: Path) -> Signer:
        from cosmos_venv.environments.archive.signed_record import digest_of_record

        record = record_in(remote)
        return Signer(key=KEY, locked={(record.name, record.platform): change(digest_of_record(record.to_json()))})

    return signer


def test_an_environment_that_a_lock_file_names_needs_no_signature(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote, signer=replace(locked(str)(remote), key=b""))

    machine.use(hello)

    assert machine.has_fetched


def test_without_a_key_and_a_lock_file_nothing_is_used(tmp_path: Path, remote: Path, hello: EnvironmentSpec) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote, signer=Signer())

    machine.use(hello)

    assert machine.has_built
    assert_tells(machine, "there is no key")


def test_a_signed_environment_that_a_lock_file_names_otherwise_is_not_used(
    tmp_path: Path, remote: Path, hello: EnvironmentSpec
) -> None:
    machine = Machine(directory=tmp_path / "envs", remote=remote, signer=locked(lambda digest: digest[::-1])(remote))

    machine.use(hello)

    assert machine.has_built
    assert_tells(machine, "another one than the lock file names")


def test_lines_of_a_signed_record_do_not_forge_the_log(tmp_path: Path, remote: Path, hello: EnvironmentSpec) -> None:
    def lying(record: ArchiveRecord) -> ArchiveRecord:
        builder = replace(record.build.built_by, host="host\nERROR - the warehouse burns\x1b[2J")
        return replace(record, build=replace(record.build, built_by=builder))

    forge(remote, lying)
    machine = Machine(directory=tmp_path / "envs", remote=remote)

    machine.use(hello)

    assert machine.has_fetched
    assert not [line for line in machine.lines if "\n" in line or "\x1b" in line]
