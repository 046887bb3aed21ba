"""A shared folder is made once, by whoever comes first, whatever happens to its maker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.shared_folders import SharedFolders

pytest_plugins = ["pytester"]

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def shared(tmp_path: Path) -> SharedFolders:
    return SharedFolders(root=tmp_path / "kept")


def write_word(word: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "word").write_text(word, encoding="utf-8")

    return make


def test_the_first_makes_it_and_the_others_find_it(shared: SharedFolders) -> None:
    first = shared.get("thing", "k1", write_word("first"))
    second = shared.get("thing", "k1", write_word("second"))

    assert first == second == shared.root / "thing-k1"
    assert (first / "word").read_text(encoding="utf-8") == "first"


def test_a_maker_that_is_killed_hands_over(shared: SharedFolders) -> None:
    def die(folder: Path) -> None:
        (folder / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    maker = FORK.Process(target=shared.get, args=("thing", "k1", die))
    maker.start()
    maker.join(30)

    folder = shared.get("thing", "k1", write_word("after"), timeout=30)

    assert maker.exitcode == -signal.SIGKILL
    assert [path.name for path in folder.glob("[!.]*")] == ["word"]
    assert sorted(path.name for path in shared.root.iterdir()) == ["thing-k1", "thing-k1.lock"]


def test_who_waits_too_long_is_told_for_whom(shared: SharedFolders) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def dawdle(folder: Path) -> None:
        begun.set()
        go_on.wait(30)

    maker = threading.Thread(target=shared.get, args=("thing", "k1", dawdle))
    maker.start()
    begun.wait(30)
    words = rf"thing-k1 is being made by process {os.getpid()} for more than 0.05 s. End that process, or give this run"
    with pytest.raises(ToolkitMisuse, match=words):
        shared.get("thing", "k1", write_word("never"), timeout=0.05)
    go_on.set()
    maker.join(30)

    assert shared.get("thing", "k1", write_word("never")).is_dir()


SHARING = """
    import os
    import pytest

    @pytest.fixture(scope="session")
    def thing(_cosmos_shared):
        def make(folder):
            with open(os.environ["MADE"], "a") as made:
                made.write("x")
            (folder / "word").touch()
        return _cosmos_shared.get("thing", "k1", make)

    @pytest.mark.parametrize("number", range(4))
    def test_it(thing, number):
        assert (thing / "word").exists()
"""


@pytest.mark.long
def test_the_workers_of_a_run_make_it_once_and_the_next_run_not_at_all(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pytester.path / "made"
    monkeypatch.setenv("MADE", str(made))
    pytester.makepyfile(SHARING)
    pytester.makeini("[pytest]\ncosmos_cache_dir = kept/here\n")

    pytester.runpytest_subprocess("-n", "2").assert_outcomes(passed=4)
    in_the_home = "--cosmos-cache-dir=~/kept/here"  # which pytester puts into its own folder
    pytester.runpytest_subprocess(in_the_home).assert_outcomes(passed=4)

    assert made.read_text(encoding="utf-8") == "x"
    assert (pytester.path / "kept" / "here" / "thing-k1").is_dir()
    assert not (pytester.path / ".pytest_cache" / "d").exists()


@pytest.mark.long
def test_without_an_option_it_is_kept_in_pytests_cache_where_there_is_one(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE", str(pytester.path / "made"))
    pytester.makepyfile(SHARING)

    pytester.runpytest_subprocess().assert_outcomes(passed=4)
    pytester.runpytest_subprocess("-n", "1", "-p", "no:cacheprovider").assert_outcomes(passed=4)

    assert (pytester.path / ".pytest_cache" / "d" / "cosmos-venv" / "thing-k1").is_dir()
    assert (pytester.path / "made").read_text(encoding="utf-8") == "xx"


def test_a_bad_cache_directory_is_a_sentence_in_the_test_that_needs_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SHARING + "\n    def test_other(): pass\n")
    (pytester.path / "file").touch()

    result = pytester.runpytest_subprocess("--cosmos-cache-dir=file/below")

    result.assert_outcomes(passed=1, errors=4)
    result.stdout.fnmatch_lines(["Nothing can be kept in */file/below (Not a directory): name a folder that *"])
    result.stdout.no_fnmatch_line("*sharing.py*")


def test_a_free_place_is_nobody_elses_and_is_found_again(shared: SharedFolders) -> None:
    with shared.free_place("work", "k1") as first, shared.free_place("work", "k1") as second:
        (first / "word").touch()
        assert first != second
    with shared.free_place("work", "k1") as third:
        assert third == first
        assert (third / "word").exists()
