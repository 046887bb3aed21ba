"""Unpacking: what is refused although its record is signed and fits, and what comes of the rest at another path."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.environments.archive.packing import BadArchive, Contents
from cosmos_venv.environments.archive.unpacking import unpack
from cosmos_venv.environments.archive.zstandard import zstd
from cosmos_venv.environments.installers.creation import create_empty
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.archive.forging import PREFIX, Member, link, plain, put, special, tar_of
from tests.kit import SetUmask

MODULE = plain("lib/harbor.py", b"PIER = 1\n")
LARGE = 64 << 20
FEW = 16 << 20


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An empty environment, with files of others around it."""
    create_empty(tmp_path / "in" / "store" / "build-1", Interpreter.of(), cancellation=Cancellation())
    for theirs in (tmp_path / "in" / "theirs", tmp_path / "in" / "store" / "theirs"):
        theirs.mkdir()
        (theirs / "RECORD").write_text("harbor.py,sha256=x,1\n")
    return tmp_path / "in" / "store" / "build-1"


def surroundings(environment: Path) -> dict[str, bytes]:
    """All files outside of the environment, and those of it that its creation made."""
    theirs = [*environment.parents[1].rglob("RECORD"), environment / "pyvenv.cfg", environment / "bin" / "activate"]
    links = [environment / "bin" / "python", environment / "lib64"]
    return {str(path): path.read_bytes() for path in theirs} | {
        str(path): os.fsencode(path.readlink()) for path in links
    }


def unpacked(archive: Path, contents: Contents, environment: Path) -> None:
    try:
        unpack(archive, contents, environment, on_file=lambda: None)
    finally:
        assert "cosmos-venv-unpack" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("/lib/harbor.py", id="absolute"),
        pytest.param("../theirs/RECORD", id="above"),
        pytest.param("lib/../../theirs/RECORD", id="above-in-the-middle"),
        pytest.param("..", id="the-folder-above"),
        pytest.param("./lib/harbor.py", id="dot"),
        pytest.param("lib//harbor.py", id="empty-step"),
        pytest.param("lib/harbor.py/..", id="ends-above"),
        pytest.param(".", id="itself"),
    ],
)
@pytest.mark.parametrize("make", [plain, lambda name: link(name, "lib")], ids=["file", "link"])
def test_a_member_outside_of_the_environment_is_refused(
    tmp_path: Path, environment: Path, name: str, make: Callable[[str], Member]
) -> None:
    before = surroundings(environment)
    contents = put(tmp_path / "archive", [MODULE, make(name)])

    with pytest.raises(BadArchive, match="leads out of the environment"):
        unpacked(tmp_path / "archive", contents, environment)

    assert surroundings(environment) == before


@pytest.mark.parametrize(
    "links",
    [
        pytest.param([("lib/out", "/etc/passwd")], id="absolute"),
        pytest.param([("lib/out", "../../theirs")], id="relative"),
        pytest.param([("out", "..")], id="the-folder-above"),
        pytest.param([("lib/out", "a/../../../theirs")], id="above-in-the-middle"),
        pytest.param([("lib/out", "")], id="empty"),
        pytest.param([("lib/a", ".."), ("lib/out", "a/../theirs")], id="through-another-link"),
        pytest.param([("lib/out", "z/../theirs"), ("lib/z", "..")], id="through-a-later-link"),
        pytest.param([("lib/out", "z/.."), ("lib/z", "y"), ("lib/y", "..")], id="through-two-others"),
        pytest.param([("lib/out", "../bin/python")], id="through-the-link-to-the-interpreter"),
    ],
)
def test_a_link_that_leads_out_is_refused(tmp_path: Path, environment: Path, links: list[tuple[str, str]]) -> None:
    before = surroundings(environment)
    contents = put(tmp_path / "archive", [MODULE, *(link(name, target) for name, target in links)])

    with pytest.raises(BadArchive, match=r"is a link that leads to .*, out of the environment"):
        unpacked(tmp_path / "archive", contents, environment)

    assert surroundings(environment) == before


def test_a_record_that_stands_behind_links_is_not_written_to(tmp_path: Path, environment: Path) -> None:
    """The RECORD files are corrected when the links stand."""
    site = "lib/python3/site-packages"
    relocated = plain("bin/harbor", f"#!{PREFIX}/bin/python\n".encode())
    links = [link("lib/a", ".."), link("lib/b", "a/.."), link(f"{site}/x.dist-info", "../../b/theirs")]
    contents = put(tmp_path / "archive", [relocated, *links], relocated=("bin/harbor",))
    before = surroundings(environment)

    with pytest.raises(BadArchive, match="out of the environment"):
        unpacked(tmp_path / "archive", contents, environment)

    assert surroundings(environment) == before


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(special("lib/x", tarfile.CHRTYPE, devmajor=1, devminor=5), id="character-device"),
        pytest.param(special("lib/x", tarfile.BLKTYPE, devmajor=8), id="block-device"),
        pytest.param(special("lib/x", tarfile.FIFOTYPE), id="fifo"),
        pytest.param(special("lib/x", tarfile.LNKTYPE, linkname="lib/harbor.py"), id="hard-link"),
        pytest.param(special("lib/x", tarfile.LNKTYPE, linkname="/etc/passwd"), id="hard-link-out"),
        pytest.param(special("lib/x", tarfile.DIRTYPE), id="directory"),
        pytest.param(special("lib/x", tarfile.CONTTYPE), id="contiguous"),
        pytest.param(special("lib/x", tarfile.GNUTYPE_SPARSE), id="sparse"),
    ],
)
def test_what_is_neither_a_file_nor_a_link_is_refused(tmp_path: Path, environment: Path, member: Member) -> None:
    contents = put(tmp_path / "archive", [MODULE, member])

    with pytest.raises(BadArchive, match="neither a file nor a link"):
        unpacked(tmp_path / "archive", contents, environment)

    assert not os.path.lexists(environment / "lib" / "x")


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1755, 0o7777])
def test_special_permissions_are_refused(tmp_path: Path, environment: Path, mode: int) -> None:
    contents = put(tmp_path / "archive", [plain("bin/harbor", mode=mode)])

    with pytest.raises(BadArchive, match=f"special permissions \\({mode:o}\\)"):
        unpacked(tmp_path / "archive", contents, environment)

    assert not (environment / "bin" / "harbor").exists()


@pytest.mark.parametrize(("mode", "expected"), [(0, 0o644), (0o777, 0o755), (0o666, 0o644), (0o700, 0o755)])
def test_files_are_for_all_to_read_and_for_nobody_to_write(
    tmp_path: Path, environment: Path, mode: int, expected: int
) -> None:
    contents = put(tmp_path / "archive", [plain("bin/harbor", mode=mode)])

    unpacked(tmp_path / "archive", contents, environment)

    assert (environment / "bin" / "harbor").stat().st_mode & 0o7777 == expected


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([MODULE, MODULE], id="a-file-twice"),
        pytest.param([MODULE, link("lib/harbor.py", "x")], id="a-link-over-a-file"),
        pytest.param([link("lib/harbor.py", "x"), MODULE], id="a-file-over-a-link"),
        pytest.param([link("lib/x", "y"), link("lib/x", "z")], id="a-link-twice"),
        pytest.param([plain("lib64/x"), plain("lib/x")], id="by-another-way"),
        pytest.param([plain("bin/python", b"#!/bin/sh\n", mode=0o755)], id="the-interpreter"),
        pytest.param([link("bin/python", "harbor")], id="a-link-over-the-interpreter"),
        pytest.param([plain("bin/python/x")], id="below-the-interpreter"),
        pytest.param([link("bin/python/x", "y")], id="a-link-below-the-interpreter"),
        pytest.param([plain("pyvenv.cfg", b"home = /theirs\n")], id="the-configuration"),
        pytest.param([link("pyvenv.cfg", "lib/harbor.py")], id="a-link-over-the-configuration"),
        pytest.param([link("lib64", "bin")], id="the-other-lib"),
        pytest.param([link("lib", "bin")], id="a-link-over-a-folder"),
        pytest.param([plain("bin")], id="a-file-over-a-folder"),
        pytest.param([MODULE, plain("lib/harbor.py/x")], id="below-a-file"),
        pytest.param([link("lib/x", "."), plain("lib/x/harbor.py")], id="below-a-link"),
        pytest.param([plain("lib/x/harbor.py"), link("lib/x", ".")], id="a-link-over-its-own-folder"),
        pytest.param([link("lib/x", "."), link("lib/x/y", ".")], id="a-link-below-a-link"),
    ],
)
def test_no_member_stands_where_another_one_does(tmp_path: Path, environment: Path, members: list[Member]) -> None:
    before = surroundings(environment)
    contents = put(tmp_path / "archive", members)

    with pytest.raises(BadArchive, match="comes twice, or stands in an empty environment"):
        unpacked(tmp_path / "archive", contents, environment)

    assert surroundings(environment) == before


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        pytest.param({"files": 1}, "more than its record says", id="more-files"),
        pytest.param({"unpacked": 5}, "more than its record says", id="more-bytes"),
        pytest.param({"files": 3}, "it holds 2 files instead of 3", id="fewer-files"),
        pytest.param({"unpacked": 10_000}, "18 bytes instead of 10000", id="fewer-bytes"),
        pytest.param({"size": 7}, r"it has \d+ bytes instead of 7", id="another-size"),
        pytest.param({"sha256": "0" * 64}, "its SHA-256 is not that of its record", id="another-digest"),
        pytest.param({"prefix": "", "relocated": ("lib/harbor.py",)}, "the path '' is none", id="no-prefix"),
    ],
)
def test_an_archive_holds_what_its_record_says(
    tmp_path: Path, environment: Path, claims: dict[str, Any], message: str
) -> None:
    contents = put(tmp_path / "archive", [MODULE, plain("lib/other.py", b"PIER = 2\n")], **claims)

    with pytest.raises(BadArchive, match=message):
        unpacked(tmp_path / "archive", contents, environment)


def _heads_alone(size: int) -> bytes:
    """The head of a member with so many bytes, and these."""
    info = tarfile.TarInfo("lib/large")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(size)


def _long_name(size: int) -> bytes:
    """The head of a name with so many bytes, and these: none of the members has any."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(size) + MODULE.head.tobuf()


@pytest.mark.parametrize("bomb", [_heads_alone, _long_name])
def test_what_unpacks_to_more_than_it_says_is_not_unpacked(
    tmp_path: Path, environment: Path, bomb: Callable[[int], bytes]
) -> None:
    contents = put(tmp_path / "archive", [MODULE], tar=bomb(LARGE))
    assert contents.size < LARGE / 1_000
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive):
            unpacked(tmp_path / "archive", contents, environment)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < FEW
    assert sum(path.stat().st_size for path in environment.rglob("large")) < FEW


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda whole: whole[: len(whole) // 2], id="cut-short"),
        pytest.param(lambda whole: whole[:-1], id="without-its-last-byte"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"not an archive" * 100, id="something-else"),
        pytest.param(lambda _: zstd().compress(b"not a tar" * 100), id="no-tar"),
        pytest.param(lambda _: zstd().compress(b""), id="nothing-in-it"),
        pytest.param(lambda _: zstd().compress(tar_of([MODULE])[:700]), id="tar-cut-short"),
        pytest.param(lambda _: zstd().compress(tar_of([MODULE])[:512]), id="tar-cut-behind-the-head"),
    ],
)
def test_damage_that_the_record_does_not_show_is_found(
    tmp_path: Path, environment: Path, spoil: Callable[[bytes], bytes]
) -> None:
    archive = tmp_path / "archive"
    put(archive, [MODULE])
    spoiled = spoil(archive.read_bytes())
    archive.write_bytes(spoiled)
    sha256 = hashlib.sha256(spoiled).hexdigest()
    contents = Contents(
        sha256=sha256, size=len(spoiled), unpacked=len(MODULE.content), files=1, prefix=PREFIX, relocated=()
    )

    with pytest.raises(BadArchive):
        unpacked(archive, contents, environment)


@pytest.mark.parametrize(
    ("claims", "tar_format"),
    [
        pytest.param({"name": "lib/\0x"}, tarfile.PAX_FORMAT, id="a-name-with-a-zero"),
        pytest.param({"name": "lib/" + "x/" * 3_000 + "x"}, tarfile.GNU_FORMAT, id="a-path-too-long"),
        pytest.param({"pax_headers": {"mtime": "nan"}}, tarfile.PAX_FORMAT, id="no-time"),
        pytest.param({"pax_headers": {"mtime": "inf"}}, tarfile.PAX_FORMAT, id="a-time-without-end"),
        pytest.param({"mtime": 2**80}, tarfile.GNU_FORMAT, id="a-time-too-late"),
        pytest.param({"pax_headers": {"size": "-5"}}, tarfile.PAX_FORMAT, id="a-negative-size"),
    ],
)
def test_odd_heads_are_refused_with_a_reason(
    tmp_path: Path, environment: Path, claims: dict[str, Any], tar_format: int
) -> None:
    odd = plain(**{"name": "lib/x", **claims})
    contents = put(tmp_path / "archive", [MODULE, odd], tar=tar_of([MODULE, odd], tar_format=tar_format))

    with pytest.raises(BadArchive):
        unpacked(tmp_path / "archive", contents, environment)


def test_whoever_ends_the_unpacking_has_it_ended(tmp_path: Path, environment: Path) -> None:
    contents = put(tmp_path / "archive", [plain(f"lib/{number}", os.urandom(1_000_000)) for number in range(30)])
    left = [5]

    def end() -> None:
        left[0] -= 1
        if not left[0]:
            raise CommandKilled("enough")

    with pytest.raises(CommandKilled):
        unpack(tmp_path / "archive", contents, environment, on_file=end)

    assert "cosmos-venv-unpack" not in {thread.name for thread in threading.enumerate()}
    assert len([path for path in (environment / "lib").iterdir() if path.is_file()]) == 4


def test_heads_that_stand_for_each_other_a_thousand_times_are_refused(tmp_path: Path, environment: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 6
    one = info.tobuf(tarfile.GNU_FORMAT) + b"lib/x\0" + bytes(506)
    contents = put(tmp_path / "archive", [MODULE], tar=one * 3_000 + tar_of([MODULE]))

    with pytest.raises(BadArchive):
        unpacked(tmp_path / "archive", contents, environment)


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        pytest.param(b"#!{old}/bin/python\nx", b"#!{new}/bin/python\nx", id="plain"),
        pytest.param(b"#!{old}/bin/python -E\nx", b"#!{new}/bin/python -E\nx", id="with-an-argument"),
        pytest.param(
            b"#!/bin/sh\n'''exec' '{old}/bin/python' \"$0\" \"$@\"\n' '''\nx", b"#!{new}/bin/python\nx", id="by-a-shell"
        ),
        pytest.param(
            b"#!/bin/sh\n'''exec' \"{old}/bin/python\" \"$0\" \"$@\"\n' '''\nx", b"#!{new}/bin/python\nx", id="as-pip"
        ),
        pytest.param(b"#!/bin/sh\n. {old}/bin/x\n", b"#!/bin/sh\n. {new}/bin/x\n", id="another-program"),
        pytest.param(b"home = {old}\n", b"home = {new}\n", id="no-script"),
    ],
)
def test_what_names_the_place_of_the_builder_names_the_new_one(
    tmp_path: Path, environment: Path, packed: bytes, expected: bytes
) -> None:
    script = plain("bin/harbor", packed.replace(b"{old}", PREFIX.encode()), mode=0o755)
    contents = put(tmp_path / "archive", [script], relocated=("bin/harbor",))

    unpacked(tmp_path / "archive", contents, environment)

    found = (environment / "bin" / "harbor").read_bytes()
    assert found == expected.replace(b"{new}", os.fsencode(environment))


@pytest.mark.parametrize("place", ["it's here", "long" * 40, "with blanks", "quo'ted", "dollar$HOME`id`"])
@pytest.mark.parametrize(
    "head", [b"#!{old}/bin/python\n", b"#!/bin/sh\n'''exec' '{old}/bin/python' \"$0\" \"$@\"\n' '''\n"]
)
def test_a_script_runs_at_any_path(tmp_path: Path, place: str, head: bytes) -> None:
    environment = tmp_path / place / "build-1"
    create_empty(environment, Interpreter.of(), cancellation=Cancellation())
    script = head.replace(b"{old}", PREFIX.encode()) + b"import sys\nprint(sys.prefix, sys.argv[1:])\n"
    contents = put(tmp_path / "archive", [plain("bin/harbor", script, mode=0o755)], relocated=("bin/harbor",))

    unpacked(tmp_path / "archive", contents, environment)
    said = subprocess.run(
        [environment / "bin" / "harbor", "a b"], capture_output=True, text=True, check=True
    ).stdout.strip()

    assert said == f"{environment} ['a b']"


def test_byte_code_of_a_source_that_names_its_place_is_left_out(tmp_path: Path, environment: Path) -> None:
    """It holds the builder's path, and Python would take it for that of the source: its size is the same."""
    source = plain("lib/place.py", f"PLACE = {PREFIX!r}\n".encode())
    members = [plain("lib/__pycache__/place.cpython-311.pyc", b"x"), source, plain("lib/__pycache__/other.pyc", b"y")]
    contents = put(tmp_path / "archive", members, relocated=("lib/place.py",))

    unpacked(tmp_path / "archive", contents, environment)

    assert (environment / "lib" / "place.py").read_text() == f"PLACE = {str(environment)!r}\n"
    assert [path.name for path in (environment / "lib").rglob("*.pyc")] == ["other.pyc"]


def test_what_is_unpacked_has_the_same_permissions_under_any_umask(
    tmp_path: Path, environment: Path, set_umask: SetUmask
) -> None:
    members = [plain("lib/a/b/x.py"), plain("bin/harbor", mode=0o755)]
    contents = put(tmp_path / "archive", members)
    set_umask(0o077)

    unpacked(tmp_path / "archive", contents, environment)

    modes = [oct((environment / name).stat().st_mode & 0o7777) for name in ("lib/a", "lib/a/b/x.py", "bin/harbor")]
    assert modes == ["0o755", "0o644", "0o755"]
