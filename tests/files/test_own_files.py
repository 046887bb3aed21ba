"""Files of ours: opened only as the plain files they are, made with known permissions."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_venv.files import own_files
from tests.kit import SetUmask
from tests.odd_files import KINDS, plant


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT])
def test_what_is_no_plain_file_is_not_opened_and_not_waited_for(file: Path, kind: str, flags: int) -> None:
    plant(file, kind)

    with pytest.raises(own_files.OddFile, match=rf"it is a link, .* that is no plain file: '{file}'"):
        own_files.open_own(file, flags)


@pytest.mark.parametrize(("mode", "umask", "expected"), [(0o644, 0, 0o644), (0o755, 0, 0o755), (0o644, 0o077, 0o600)])
def test_a_umask_can_only_take_permissions_away(
    file: Path, set_umask: SetUmask, mode: int, umask: int, expected: int
) -> None:
    set_umask(umask)

    own_files.write_new(file, "ours", mode)

    assert stat.S_IMODE(file.stat().st_mode) == expected


def test_what_is_made_apart_takes_its_place_in_one_step(file: Path) -> None:
    file.write_text("old")

    with own_files.replace_atomically(file) as apart:
        apart.write_text("new")
        seen = file.read_text()

    assert (seen, file.read_text(), list(file.parent.iterdir())) == ("old", "new", [file])


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_an_error_leaves_the_old_one_and_nothing_else(file: Path, make: Callable[[Path], None]) -> None:
    file.write_text("old")

    def be_interrupted() -> None:
        with own_files.replace_atomically(file) as apart:
            make(apart)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()

    assert (file.read_text(), list(file.parent.iterdir())) == ("old", [file])


@pytest.mark.parametrize(
    ("name", "seconds", "stays"),
    [
        pytest.param(f".{'0' * 32}", 3_700, False, id="killed-long-ago"),
        pytest.param(f".{'0' * 32}", 3_500, True, id="perhaps-at-work"),
        pytest.param(".hidden", 3_700, True, id="of-somebody-else"),
    ],
)
def test_what_killed_processes_left_goes_after_an_hour(tmp_path: Path, name: str, seconds: float, stays: bool) -> None:
    (tmp_path / name).mkdir()
    then = time.time() - seconds
    os.utime(tmp_path / name, (then, then))

    own_files.sweep_abandoned(tmp_path)

    assert (tmp_path / name).exists() is stays


def test_whose_lock_keeps_others_out_takes_also_what_lies_ahead_of_its_clock(tmp_path: Path) -> None:
    left = tmp_path / f".{'0' * 32}"
    left.touch()
    ahead = time.time() + 600
    os.utime(left, (ahead, ahead))

    assert own_files.abandoned(tmp_path) == []
    assert own_files.abandoned(tmp_path, seconds=0) == [left]


def test_what_others_could_write_to_loses_that_permission(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    module = tmp_path / "package" / "module.py"
    module.touch()
    for path in (module, module.parent):
        path.chmod(0o777)

    own_files.shut_out_others(tmp_path)

    assert [stat.S_IMODE(path.stat().st_mode) for path in (module, module.parent)] == [0o755, 0o755]
