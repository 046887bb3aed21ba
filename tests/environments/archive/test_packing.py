"""Packing: what stands in an archive, and which environments stay on their machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_venv.environments.archive.packing import NotPortable, pack
from cosmos_venv.environments.installers.creation import create_empty
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.archive.forging import members_of
from tests.environments.archive.machines import Machine
from tests.kit import MakeSpec, OutputOf

EDITABLE = b'{"url": "file:///code", "dir_info": {"editable": true}}'


def empty_environment(environment: Path) -> Path:
    create_empty(environment, Interpreter.of(), cancellation=Cancellation())
    return environment


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return empty_environment(tmp_path / "build-1")


def add(environment: Path, name: str, content: bytes = b"") -> Path:
    file = environment / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def packed(environment: Path, archive: Path) -> list[str]:
    pack(environment, archive, on_file=lambda: None)
    return [member.name for member in members_of(archive)]


def test_what_was_installed_is_packed_in_order_and_byte_for_byte_the_same(environment: Path, tmp_path: Path) -> None:
    names = ["bin/z", "lib/a/__pycache__/x.pyc", "lib/a/x.py", "lib/b", "share/man/man1/x.1"]
    for name in reversed(names):
        add(environment, name, name.encode() * 100)
    (environment / "lib" / "link").symlink_to("a/x.py")

    found = packed(environment, tmp_path / "archive")
    again = pack(environment, tmp_path / "again", on_file=lambda: None)

    assert found == sorted([*names, "lib/link"])
    assert (tmp_path / "archive").read_bytes() == (tmp_path / "again").read_bytes()
    assert again.files == 6


def a_binary_with_its_place(environment: Path) -> None:
    add(environment, "lib/large.so", b"\0" * 3_000_000 + os.fsencode(environment) + b"\0" * 100)


def a_link_out(environment: Path) -> None:
    (environment / "lib" / "out").symlink_to("/etc/hostname")


def a_link_by_another_one(environment: Path) -> None:
    (environment / "lib" / "a").symlink_to("..")
    (environment / "lib" / "out").symlink_to("a/../elsewhere")


def a_fifo(environment: Path) -> None:
    os.mkfifo(environment / "lib" / "pipe")


def an_editable_installation(environment: Path) -> None:
    add(environment, "lib/python3/site-packages/harbor-1.dist-info/direct_url.json", EDITABLE)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (a_binary_with_its_place, r"lib/large\.so is a binary file that names its place"),
        (a_link_out, "lib/out is a link that leads to /etc/hostname, out of the environment"),
        (a_link_by_another_one, "lib/out is a link that leads to a/../elsewhere, out of the environment"),
        (a_fifo, "lib/pipe is neither a file nor a link"),
        (an_editable_installation, r"harbor-1\.dist-info is installed in editable mode"),
    ],
)
def test_what_works_only_where_it_stands_is_not_packed(
    environment: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(environment)

    with pytest.raises(NotPortable, match=reason):
        pack(environment, tmp_path / "archive", on_file=lambda: None)


def with_system_site_packages(_: Path, make_spec: MakeSpec) -> EnvironmentSpec:
    return make_spec(system_site_packages=True)


def with_a_binary(_: Path, make_spec: MakeSpec) -> EnvironmentSpec:
    # As a package's own installation step may do.
    write = "import sys; open(sys.prefix + '/lib/place.bin', 'wb').write(b'\\0' + sys.prefix.encode())"
    return replace(make_spec(), check=write)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (with_system_site_packages, "sees packages of this worker .*: it is built here"),
        (with_a_binary, r"stays on this machine: lib/place\.bin is a binary file that names its place"),
    ],
    ids=["system-site-packages", "binary"],
)
def test_an_environment_that_works_only_where_it_stands_is_built_on_each_machine(
    tmp_path: Path,
    make_spec: MakeSpec,
    output_of: OutputOf,
    kind: Callable[[Path, MakeSpec], EnvironmentSpec],
    reason: str,
) -> None:
    spec = kind(tmp_path, make_spec)
    for name in ("one", "other"):
        machine = Machine(directory=tmp_path / name, remote=tmp_path / "remote")

        environment = machine.use(spec)

        assert output_of(environment.script("hello")) == "hello 2.0"
        assert machine.has_built
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(machine.log)
    assert [path for path in (tmp_path / "remote").rglob("*") if path.is_file()] == []
