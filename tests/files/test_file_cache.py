"""A kept file stays for those who use it, however many use the folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.managed import caches
from tests.kit import SetUmask
from tests.odd_files import KINDS, plant


@pytest.fixture
def kept(tmp_path: Path) -> FileCache:
    return FileCache(folder=tmp_path / "cache" / "kept", suffix=".txt", most=3)


def _write_before(kept: FileCache, digest: str, seconds: float) -> None:
    kept.write(digest, b"x")
    at = time.time() - seconds
    os.utime(kept.path(digest), (at, at))


@pytest.mark.parametrize("is_mapped", [True, False])
def test_what_is_used_stays_and_the_least_used_goes(kept: FileCache, is_mapped: bool) -> None:
    for number, digest in enumerate(["used", "idle", "other"]):
        _write_before(kept, digest, 1_200 - number)

    assert (kept.mapped if is_mapped else kept.read)("used")
    kept.write("new", b"x")

    assert kept.read("used") is not None
    assert kept.read("idle") is None


def test_reading_leaves_the_time_where_it_is_not_noted_and_where_it_was_set_just_now(kept: FileCache) -> None:
    _write_before(kept, "young", 60)
    _write_before(kept, "dated", 1_200)
    before = [kept.path(name).stat().st_mtime for name in ("young", "dated")]

    kept.read("young")
    kept.read("dated", is_noted=False)

    assert [kept.path(name).stat().st_mtime for name in ("young", "dated")] == before


def test_more_dags_than_fifty_do_not_push_each_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE", "True")

    for files in (caches.kept_listings(), caches.kept_plans(), caches.kept_fingerprints()):
        assert files is not None
        for number in range(120):
            files.write(str(number), b"x")
        assert all(files.read(str(number)) == b"x" for number in range(120))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_not_there_and_is_never_an_error(kept: FileCache, kind: str) -> None:
    kept.write("other", b"x")
    for path in (kept.path("odd"), kept.folder / "odd.lock"):
        plant(path, kind)

    found = [kept.read("odd"), kept.mapped("odd")]
    with kept.exclusive("odd", report=pytest.fail):
        kept.write("odd", b"ours")

    assert found == [None, None]


def test_nothing_is_kept_where_others_can_replace_the_folder(tmp_path: Path) -> None:
    kept = FileCache(folder=tmp_path / "shared" / "cache" / "kept", suffix=".txt")
    kept.write("known", b"x")
    (tmp_path / "shared").chmod(0o777)

    kept.write("new", b"x")

    assert (kept.read("known"), kept.read("new"), kept.mapped("known")) == (None,) * 3
    (tmp_path / "shared").chmod(0o1777)
    assert kept.read("known") == b"x"


def test_nothing_is_kept_where_the_cache_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__COSMOS__ENABLE_CACHE", "False")

    assert caches.kept_fingerprints() is None


def test_what_is_kept_is_for_its_user_alone_in_a_folder_that_others_may_read(
    kept: FileCache, set_umask: SetUmask
) -> None:
    """A parse file holds the values of variables that a project asks for."""
    kept.folder.mkdir(parents=True, mode=0o755)
    set_umask(0o022)

    kept.write("parsed", b"x")

    assert kept.path("parsed").stat().st_mode & 0o777 == 0o600


def test_files_that_a_parse_removes_meanwhile_do_not_fail_a_cleanup_and_do_not_count(
    kept: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for digest in ("gone", "old"):
        _write_before(kept, digest, 100)
    remaining, look = kept.path("old"), Path.lstat

    def swept(path: Path) -> os.stat_result:
        kept.path("gone").unlink(missing_ok=True)
        return look(path)

    monkeypatch.setattr(Path, "lstat", swept)
    monkeypatch.setattr(Path, "glob", lambda *_: iter([kept.path("gone"), remaining]))

    assert kept.remove_unused(50) == 1
    assert not remaining.exists()
