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
from cosmos_venv.processes.cancellation import Cancellation
from tests.environments.archive.forging import PREFIX, Member, link, plain, put, special, tar_of

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
        left = {thread.name for thread in threading.enumerate()}  # noqa: TID251 - by its name
        assert "cosmos-venv-unpack" not in left


OUTSIDE, LEADS_OUT = "leads out of the environment", r"is a link that leads to .*, out of the environment"
NO_FILE, TWICE = "neither a file nor a link", "comes twice, or stands in an empty environment"
REFUSED: dict[str, tuple[str, list[Member]]] = {
    "absolute": (OUTSIDE, [plain("/lib/x")]),
    "above": (OUTSIDE, [plain("../theirs/RECORD")]),
    "above-in-the-middle": (OUTSIDE, [plain("lib/../../theirs/RECORD")]),
    "a-link-above": (OUTSIDE, [link("../theirs/RECORD", "lib")]),
    "dot": (OUTSIDE, [plain("./lib/x")]),
    "ends-above": (OUTSIDE, [link("lib/x/..", "lib")]),
    "link-to-an-absolute-path": (LEADS_OUT, [link("lib/out", "/etc/passwd")]),
    "link-to-a-relative-path": (LEADS_OUT, [link("lib/out", "../../theirs")]),
    "link-above-in-the-middle": (LEADS_OUT, [link("lib/out", "a/../../../theirs")]),
    "link-to-nothing": (LEADS_OUT, [link("lib/out", "")]),
    "link-through-another": (LEADS_OUT, [link("lib/a", ".."), link("lib/out", "a/../theirs")]),
    "link-through-two": (LEADS_OUT, [link("lib/out", "z/.."), link("lib/z", "y"), link("lib/y", "..")]),
    "link-through-the-interpreter": (LEADS_OUT, [link("lib/out", "../bin/python")]),
    "character-device": (NO_FILE, [special("lib/x", tarfile.CHRTYPE, devmajor=1, devminor=5)]),
    "fifo": (NO_FILE, [special("lib/x", tarfile.FIFOTYPE)]),
    "hard-link-out": (NO_FILE, [special("lib/x", tarfile.LNKTYPE, linkname="/etc/passwd")]),
    "directory": (NO_FILE, [special("lib/x", tarfile.DIRTYPE)]),
    "setuid": (r"special permissions \(4755\)", [plain("bin/harbor", mode=0o4755)]),
    "setgid": (r"special permissions \(2755\)", [plain("bin/harbor", mode=0o2755)]),
    "a-file-twice": (TWICE, [MODULE]),
    "a-link-over-a-file": (TWICE, [link("lib/harbor.py", "x")]),
    "by-another-way": (TWICE, [plain("lib64/harbor.py")]),
    "the-interpreter": (TWICE, [plain("bin/python", b"#!/bin/sh\n", mode=0o755)]),
    "a-link-below-the-interpreter": (TWICE, [link("bin/python/x", "y")]),
    "the-configuration": (TWICE, [plain("pyvenv.cfg", b"home = /theirs\n")]),
    "the-other-lib": (TWICE, [link("lib64", "bin")]),
    "a-link-over-a-folder": (TWICE, [link("lib", "bin")]),
    "below-a-file": (TWICE, [plain("lib/harbor.py/x")]),
    "below-a-link": (TWICE, [link("lib/l", "."), plain("lib/l/harbor.py")]),
}


@pytest.mark.parametrize("form", REFUSED)
def test_a_member_that_no_builder_has_packed_is_refused_and_changes_nothing(
    tmp_path: Path, environment: Path, form: str
) -> None:
    message, members = REFUSED[form]
    contents = put(tmp_path / "archive", [MODULE, *members])
    before = surroundings(environment)

    with pytest.raises(BadArchive, match=message):
        unpacked(tmp_path / "archive", contents, environment)

    assert surroundings(environment) == before
    assert not {"x", "harbor"} & {path.name for path in environment.rglob("*")}


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


@pytest.mark.parametrize(("mode", "expected"), [(0, 0o644), (0o777, 0o755)])
def test_files_are_for_all_to_read_and_for_nobody_to_write(
    tmp_path: Path, environment: Path, mode: int, expected: int
) -> None:
    contents = put(tmp_path / "archive", [plain("bin/harbor", mode=mode)])

    unpacked(tmp_path / "archive", contents, environment)

    assert (environment / "bin" / "harbor").stat().st_mode & 0o7777 == expected


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        pytest.param({"files": 1}, "more than its record says", id="more-files"),
        pytest.param({"unpacked": 5}, "more than its record says", id="more-bytes"),
        pytest.param({"files": 3}, "it holds 2 files instead of 3", id="fewer-files"),
        pytest.param({"unpacked": 10_000}, "18 bytes instead of 10000", id="fewer-bytes"),
        pytest.param({"size": 7}, r"it has \d+ bytes instead of 7", id="another-size"),
        pytest.param({"sha256": "0" * 64}, "its SHA-256 is not that of its record", id="another-digest"),
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
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: zstd().compress(b"not a tar" * 100), id="no-tar"),
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
        pytest.param({"pax_headers": {"mtime": "inf"}}, tarfile.PAX_FORMAT, id="a-time-without-end"),
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


@pytest.mark.parametrize("place", ["it's here", "long" * 40, "dollar$HOME`id`"])
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
