"""Packing and unpacking: what stands in an archive, which environments stay on their machine, what is refused."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.environments.archive import BadArchive, NotPortable, pack, unpack, zstd
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import VirtualenvError
from tests.kit import SetUmask

EDITABLE = b'{"url": "file:///code", "dir_info": {"editable": true}}'
INTERPRETER = Interpreter.of().executable


def nothing() -> None:
    pass


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An empty environment."""
    folder = tmp_path / "build-1"
    subprocess.run([INTERPRETER, "-I", "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def add(environment: Path, name: str, content: bytes = b"") -> Path:
    file = environment / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def state_of(environment: Path) -> dict[str, object]:
    """What each file and folder is (content, permission to execute, seconds of its time), and where each link leads."""
    return {
        str(path.relative_to(environment)): os.path.realpath(path)
        if path.is_symlink()
        else ("folder" if path.is_dir() else path.read_bytes(), path.stat().st_mode & 0o100, int(path.stat().st_mtime))
        for path in environment.rglob("*")
    }


def test_links_to_the_interpreter_lead_there_whatever_their_names(environment: Path, tmp_path: Path) -> None:
    """Python 3.14 makes ``bin/𝜋thon`` beside the others."""
    pi = environment / "bin" / "𝜋thon"
    pi.unlink(missing_ok=True)
    pi.symlink_to("python")

    pack(environment, tmp_path / "archive", interpreter=INTERPRETER, on_file=nothing)
    shutil.rmtree(environment)
    unpack(tmp_path / "archive", environment, interpreter=INTERPRETER, on_file=nothing)

    assert os.readlink(pi) == os.readlink(environment / "bin" / "python") == INTERPRETER  # noqa: PTH115 - as written


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_is_unpacked_is_what_was_packed_and_for_all_to_read(
    environment: Path, tmp_path: Path, set_umask: SetUmask, umask: int
) -> None:
    for name in ("lib/a/__pycache__/x.pyc", "lib/a/x.py", f"lib/{'long' * 50}/{'long' * 50}"):
        add(environment, name, name.encode() * 100)
    add(environment, "bin/tool", b"#!/bin/sh\n").chmod(0o700)
    (environment / "lib" / "link").symlink_to("a/x.py")
    os.utime(environment / "lib" / "a" / "x.py", (1_700_000_000.5, 1_700_000_000.5))
    before = state_of(environment)

    pack(environment, tmp_path / "archive", interpreter=INTERPRETER, on_file=nothing)
    shutil.rmtree(environment)
    set_umask(umask)
    unpack(tmp_path / "archive", environment, interpreter=INTERPRETER, on_file=nothing)

    assert state_of(environment) == before
    modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in environment.rglob("*") if not path.is_symlink()}
    assert modes == {"0o644", "0o755"}


def a_link_out(environment: Path) -> None:
    (environment / "lib" / "out").symlink_to("/etc/hostname")


def a_command_elsewhere(environment: Path) -> None:
    (environment / "bin" / "tool").symlink_to("/bin/sh")


def a_fifo(environment: Path) -> None:
    os.mkfifo(environment / "lib" / "pipe")


def an_editable_installation(environment: Path) -> None:
    add(environment, "lib/python3/site-packages/harbor-1.dist-info/direct_url.json", EDITABLE)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (a_link_out, "lib/out is a link that leads to /etc/hostname, out of the environment"),
        (a_command_elsewhere, "bin/tool is a link that leads to /bin/sh, out of the environment"),
        (a_fifo, "lib/pipe is neither a file nor a link"),
        (an_editable_installation, r"harbor-1\.dist-info is installed in editable mode"),
    ],
)
def test_what_works_only_on_this_machine_is_not_packed(
    environment: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(environment)

    with pytest.raises(NotPortable, match=reason):
        pack(environment, tmp_path / "archive", interpreter=INTERPRETER, on_file=nothing)


def tar_of(*members: tarfile.TarInfo) -> bytes:
    """A packed tar file with members that no builder packs; each that has a content has ``evil``."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            member.size = 4 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"evil"))
    content: bytes = zstd().compress(written.getvalue())
    return content


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([member("../evil")], id="outside"),
        pytest.param([member("lib/out", tarfile.SYMTYPE, "/etc")], id="a-link-to-a-path"),
        pytest.param([member("lib/out", tarfile.SYMTYPE, "../../outside")], id="a-link-out"),
        pytest.param([member("../evil", tarfile.SYMTYPE, INTERPRETER)], id="a-link-to-the-interpreter-outside"),
        pytest.param([member("lib/out", tarfile.LNKTYPE, "../outside/kept")], id="a-hard-link-out"),
        pytest.param([member("bin/python", mode=0o755)], id="through-the-link-to-the-interpreter"),
        pytest.param([member("lib/device", tarfile.CHRTYPE)], id="a-device"),
    ],
)
def test_a_member_that_leads_out_is_refused(environment: Path, tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    outside = add(tmp_path, "outside/kept", b"kept")
    add(tmp_path, "archive", tar_of(*members))
    interpreter = Path(os.path.realpath(environment / "bin" / "python"))
    before = interpreter.stat()

    with pytest.raises(BadArchive):
        unpack(tmp_path / "archive", environment, interpreter=INTERPRETER, on_file=nothing)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "build-1", "outside"]
    assert (outside.read_bytes(), outside.stat().st_nlink) == (b"kept", 1)
    assert (interpreter.stat().st_size, interpreter.stat().st_mtime) == (before.st_size, before.st_mtime)


def test_no_file_gets_special_permissions(environment: Path, tmp_path: Path) -> None:
    add(tmp_path, "archive", tar_of(member("bin/root", mode=0o6777)))

    unpack(tmp_path / "archive", environment, interpreter=INTERPRETER, on_file=nothing)

    assert stat.S_IMODE((environment / "bin" / "root").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: whole[: len(whole) // 2], id="cut-short"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"garbage" * 100, id="no-zstandard"),
        pytest.param(lambda _: zstd().compress(b"not a tar" * 100), id="no-tar"),
    ],
)
def test_damage_is_told_as_such(environment: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    add(environment, "lib/large", os.urandom(100_000))
    pack(environment, tmp_path / "archive", interpreter=INTERPRETER, on_file=nothing)
    add(tmp_path, "archive", damage((tmp_path / "archive").read_bytes()))

    with pytest.raises(BadArchive, match="it cannot be unpacked: "):
        unpack(tmp_path / "archive", environment, interpreter=INTERPRETER, on_file=nothing)


def test_an_old_tarfile_unpacks_nothing(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(environment, tmp_path / "archive", interpreter=INTERPRETER, on_file=nothing)
    monkeypatch.delattr(tarfile, "data_filter")

    with pytest.raises(VirtualenvError, match=r"has no filters: update it to 3\.10\.12"):
        unpack(tmp_path / "archive", environment, interpreter=INTERPRETER, on_file=nothing)
