"""Which files are read, how many bytes of them, and how deep JSON may be."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cosmos_venv.files.read_limits import (
    ANY_SIZE,
    Limit,
    UnfitFileError,
    decoded,
    read_file,
    read_pieces,
    refuse_unfit_file,
    walk,
)

FOUR = Limit(most=4, setting="artifact_max_bytes")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder of files that have no end, or keep their reader waiting, and of some that are read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link-to-pipe").symlink_to("pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "long").write_text("12345")
    (tmp_path / "short").write_text("1234")
    (tmp_path / "empty").touch()
    return tmp_path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reads", [read_file, refuse_unfit_file])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("link-to-pipe", "it is a named pipe, and no file that has an end"),
        ("zero", "it is a device, and no file that has an end"),
        (
            "long",
            "it has 5 bytes, more than [cosmos_venv] artifact_max_bytes = 4 (raise that if the file is right)",
        ),
    ],
)
def test_what_is_no_fit_file_is_not_read(
    odd: Path, reads: Callable[[Path, Limit], object], name: str, words: str
) -> None:
    with pytest.raises(OSError, match=re.escape(words)):
        reads(odd / name, FOUR)


def test_what_fits_is_read_to_its_end(odd: Path) -> None:
    assert [read_file(odd / name, FOUR) for name in ("short", "empty")] == [b"1234", b""]
    assert read_file(odd / "long", ANY_SIZE) == b"12345"
    assert read_file("/proc/self/status").startswith(b"Name:")  # which says of itself that it is empty


def test_a_stream_that_gives_more_than_it_has_promised_is_read_up_to_the_limit() -> None:
    asked: list[int] = []

    def endless(size: int) -> bytes:
        asked.append(size)
        return b"x" * size

    with pytest.raises(UnfitFileError, match=r"it has too many bytes, more than .* artifact_max_bytes = 4"):
        read_pieces(endless, expected=2, limit=FOUR, where="there")

    assert len(asked) == 2


@pytest.mark.parametrize("decode", [json.loads, msgspec.json.Decoder(dict[str, Any]).decode])
def test_json_that_is_nested_too_deeply_is_an_error_as_any_other(decode: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
        decoded('{"a":' * 100_000 + "1" + "}" * 100_000, decode)


def test_a_link_to_where_it_lies_in_is_not_followed_and_any_other_is(tmp_path: Path) -> None:
    """Two links to the folder itself would be a million paths at 20 levels."""
    for name in ("one/deep", "two"):
        (tmp_path / name).mkdir(parents=True)
    links = ["one/self .", "one/here .", "one/deep/up ../..", "three two", "one/two ../two", "two/one ../one"]
    for name, target in map(str.split, links):
        (tmp_path / name).symlink_to(target)

    found = {os.path.relpath(folder, tmp_path) for folder, _, _ in walk(tmp_path)}

    paths = ". one one/deep one/two two two/one two/one/deep three three/one three/one/deep"
    assert found == set(paths.split())
