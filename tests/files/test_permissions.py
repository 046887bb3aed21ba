"""Files to run are judged from the root directory down: nobody else may have put them there, or can replace them."""

from __future__ import annotations

import ctypes
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cosmos_venv.files.permissions import judge, make_directory
from tests.environments.elsewhere import as_user, needs_root

_PR_SET_DUMPABLE, _CLONE_NEWUSER = 4, 0x10000000
ME, SOMEBODY, IMAGE, SHARED = 51_234, 51_235, 50_000, 51_300


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A way to a ``store``, and who is to use it.

    :param way: (path, owner, group, mode) of each directory; (path, owner, target) of a link.
    :param user: of the process: user id, group id, further groups.
    :param expected: what the refusal says; empty: there is none.
    """

    name: str
    way: list[tuple[str, int, int, int] | tuple[str, int, str]]
    user: tuple[int, int, list[int]] = field(default=(ME, ME, []))
    expected: str = ""


SITUATIONS = [
    Situation(
        name="airflow-s-image-under-another-id",
        way=[("airflow", IMAGE, 0, 0o775), ("airflow/store", ME, 0, 0o775)],
        user=(ME, 0, []),
    ),
    Situation(
        name="a-volume-with-an-fsgroup",
        way=[("volume", 0, SHARED, 0o2775), ("volume/store", ME, SHARED, 0o2755)],
        user=(ME, ME, [SHARED]),
    ),
    Situation(
        name="a-volume-of-a-group-that-the-process-has-not",
        way=[("volume", 0, SHARED, 0o2775), ("volume/store", ME, SHARED, 0o2755)],
        expected="because of {place}/volume above it: group id 51300 may write to it",
    ),
    Situation(name="a-group-of-one-s-own", way=[("home", ME, ME, 0o775), ("home/store", ME, ME, 0o775)]),
    Situation(
        name="a-primary-group-that-others-have-too",
        way=[("home", ME, SHARED, 0o775), ("home/store", ME, SHARED, 0o755)],
        user=(ME, SHARED, []),
        expected="('chmod g+s {place}/home' says that the group shares it on purpose)",
    ),
    Situation(
        name="a-group-that-shares-on-purpose",
        way=[
            ("home", ME, SHARED, 0o2775),
            ("home/deeper", ME, SHARED, 0o2755),
            ("home/deeper/store", ME, SHARED, 0o2775),
        ],
        user=(ME, SHARED, []),
    ),
    Situation(
        name="everybody-may-write-above",
        way=[("shared", 0, 0, 0o777), ("shared/deeper", ME, ME, 0o755), ("shared/deeper/store", ME, ME, 0o755)],
        expected="store is not used because of {place}/shared above it: everybody may write to it (owner 0, group 0, "
        "mode 0777; this process runs as user id 51234): what stands there may be somebody else's. Give virtualenv_dir "
        "another directory; or, if you know what is in it, correct it with 'chmod o-w {place}/shared' ('chmod +t "
        "{place}/shared', as /tmp has it, will do).",
    ),
    Situation(
        name="it-is-not-there-yet",
        way=[("shared", 0, 0, 0o777)],
        expected="store is not used because of {place}/shared above it",
    ),
    Situation(
        name="somebody-s-folder-in-a-sticky-one-with-the-group-of-root",
        way=[("tmp", 0, 0, 0o3777), ("tmp/theirs", SOMEBODY, 0, 0o775), ("tmp/theirs/store", ME, ME, 0o755)],
        expected="{place}/tmp/theirs above it: it belongs to user id 51235",
    ),
    Situation(
        name="a-link-of-somebody-s-in-a-sticky-folder",
        way=[
            ("tmp", 0, 0, 0o1777),
            ("tmp/real", ME, ME, 0o755),
            ("tmp/real/store", ME, ME, 0o755),
            ("tmp/link", SOMEBODY, "real"),
        ],
        expected="{place}/tmp/link above it: it belongs to user id 51235",
    ),
    Situation(
        name="a-link-through-a-folder-of-everybody-s",
        way=[
            ("shared", 0, 0, 0o777),
            ("shared/real", ME, ME, 0o755),
            ("shared/real/store", ME, ME, 0o755),
            ("link", ME, "shared/../shared/real"),
        ],
        expected="because of {place}/shared above it",
    ),
    Situation(
        name="everybody-s-sticky-folder-itself",
        way=[("store", 0, 0, 0o1777)],
        expected="{place}/store is not used because everybody may write to it (owner 0, group 0, mode 1777; this "
        "process runs as user id 51234): what stands there may be somebody else's. "
        "Give virtualenv_dir a folder of its own below it, such as {place}/store/dbt-environments.",
    ),
    Situation(
        name="somebody-s-folder-itself",
        way=[("store", SOMEBODY, SOMEBODY, 0o700)],
        expected="it belongs to user id 51235 (owner 51235, group 51235, mode 0700; this process runs as user id "
        "51234): what stands there may be somebody else's. Give virtualenv_dir another directory; or, if you know what "
        "is in it, correct it with 'chown -h 51234 {place}/store'.",
    ),
]


def make(place: Path, situation: Situation) -> Path:
    """The way as it is described; the store at its end."""
    for name, owner, *rest in situation.way:
        path = place / name
        if len(rest) == 1:
            path.symlink_to(str(rest[0]))
            os.chown(path, owner, owner, follow_symlinks=False)
        else:
            group, mode = (int(each) for each in rest)
            path.mkdir()
            os.chown(path, owner, group)
            path.chmod(mode)
    last = place / situation.way[-1][0]
    return last if last.name == "store" else last / "store"


@needs_root
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.name)
def test_every_directory_on_the_way_is_judged(everybodys_folder: Path, situation: Situation) -> None:
    store = make(everybodys_folder, situation)
    user, group, groups = situation.user

    said = as_user(user, group, lambda: judge(store).follow(store), groups=groups)

    expected = situation.expected.format(place=everybodys_folder)
    assert (expected in said) if expected else (said == os.path.realpath(store))


@needs_root
def test_a_user_namespace_gives_root_another_number(everybodys_folder: Path) -> None:
    """Containers without root have one: what is the machine's root's looks like nobody's there."""
    store = everybodys_folder / "store"
    store.mkdir()
    os.chown(store, ME, ME)
    libc = ctypes.CDLL(None, use_errno=True)

    def within_a_namespace() -> str:
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        if libc.unshare(_CLONE_NEWUSER):
            return "skip"
        Path("/proc/self/uid_map").write_text(f"0 {ME} 1")
        assert Path("/").stat().st_uid not in (0, ME)
        return judge(store).follow(store)

    said = as_user(ME, ME, within_a_namespace)
    if said == "skip":
        pytest.skip("users may have no namespaces of their own here")
    assert said == str(store)


def test_a_relative_path_begins_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "here/below", "here/store"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")

    store = Path("../here/store")

    assert judge(store).follow(store) == os.path.realpath(tmp_path / "here" / "store")


@needs_root
@pytest.mark.parametrize(
    ("above", "group", "expected"),
    [
        pytest.param(0o755, SHARED, 0o755, id="a-shared-primary-group"),
        pytest.param(0o775, SHARED, 0o775, id="which-may-write-above"),
        pytest.param(0o775, ME, 0o755, id="another-group-than-that-above"),
    ],
)
def test_no_folder_of_a_store_is_open_to_a_group_to_which_the_one_above_is_not(
    everybodys_folder: Path, above: int, group: int, expected: int
) -> None:
    os.chown(everybodys_folder, ME, SHARED)
    everybodys_folder.chmod(above)

    def modes() -> list[str]:
        builds = everybodys_folder / "envs" / "builds"
        os.umask(0o002)
        make_directory(builds)
        return [f"{stat.S_IMODE(path.stat().st_mode):o}" for path in (builds.parent, builds)]

    assert as_user(ME, group, modes) == str([f"{expected:o}"] * 2)


@needs_root
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(0o775, "untrusted: group id 51300 may write to it", id="a-group-that-may-not-write-above"),
        pytest.param(0o2775, "made", id="shared-on-purpose"),
    ],
)
def test_a_mode_that_would_make_the_store_untrusted_is_refused(
    everybodys_folder: Path, mode: int, expected: str
) -> None:
    os.chown(everybodys_folder, ME, SHARED)

    def made() -> str:
        make_directory(everybodys_folder / "store", mode)
        judge(everybodys_folder / "store")
        return "made"

    assert expected in as_user(ME, SHARED, made)
