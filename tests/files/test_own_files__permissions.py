"""Files to run are judged from the root directory down: nobody else may have put them there, or can replace them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files.own_files import make_directory, refuse_untrusted
from tests.environments.elsewhere import REPOSITORY, as_user, needs_root, require_open_checkout

_PR_SET_DUMPABLE, _CLONE_NEWUSER = 4, 0x10000000
ME, SOMEBODY, IMAGE, SHARED = 51_234, 51_235, 50_000, 51_300
IDS = {"me": ME, "somebody": SOMEBODY, "image": IMAGE, "shared": SHARED}


@dataclass(frozen=True)
class Situation:
    """A way to a ``store``, and who is to use it.

    :param name: of the test.
    :param way: each directory, and ``path owner:group mode``; each link, and ``path owner target``.
    :param expected: what the refusal says; empty: there is none.
    :param user: of the process: user id, group id, further groups.
    """

    name: str
    way: str
    expected: str = ""
    user: tuple[int, int, list[int]] = (ME, ME, [])


FACTS = "this process runs as user id {me}): what stands there may be somebody else's. Give virtualenv_dir"
ANOTHER = f"{FACTS} another directory; or, if you know what is in it, correct it with"
SITUATIONS = [
    Situation("airflow-s-image", "airflow image:0 775, airflow/store me:0 775", user=(ME, 0, [])),
    Situation("an-fsgroup", "volume 0:shared 2775, volume/store me:shared 2755", user=(ME, ME, [SHARED])),
    Situation(
        "an-fsgroup-that-the-process-has-not",
        "volume 0:shared 2775, volume/store me:shared 2755",
        "because of {place}/volume above it: group id {shared} may write to it",
    ),
    Situation("a-group-of-one-s-own", "home me:me 775, home/store me:me 775"),
    Situation(
        "a-primary-group-that-others-have-too",
        "home me:shared 775, home/store me:shared 755",
        "'chmod g-w {place}/home' ('chmod g+s {place}/home' says that the group shares it on purpose)",
        user=(ME, SHARED, []),
    ),
    Situation(
        "a-group-that-shares-on-purpose",
        "home me:shared 2775, home/deeper me:shared 2755, home/deeper/store me:shared 2775",
        user=(ME, SHARED, []),
    ),
    Situation(
        "everybody-may-write-above",
        "shared 0:0 777, shared/deeper me:me 755, shared/deeper/store me:me 755",
        "store is not used because of {place}/shared above it: everybody may write to it (owner 0, group 0, mode 0777; "
        f"{ANOTHER} 'chmod o-w {{place}}/shared' ('chmod +t {{place}}/shared', as /tmp has it, will do)",
    ),
    Situation("it-is-not-there-yet", "shared 0:0 777", "store is not used because of {place}/shared above it"),
    Situation(
        "somebody-s-folder-in-a-sticky-one-with-the-group-of-root",
        "tmp 0:0 3777, tmp/theirs somebody:0 775, tmp/theirs/store me:me 755",
        "{place}/tmp/theirs above it: it belongs to user id {somebody}",
    ),
    Situation(
        "a-link-of-somebody-s-in-a-sticky-folder",
        "tmp 0:0 1777, tmp/real me:me 755, tmp/real/store me:me 755, tmp/link somebody real",
        "{place}/tmp/link above it: it belongs to user id {somebody}",
    ),
    Situation(
        "a-link-through-a-folder-of-everybody-s",
        "shared 0:0 777, shared/real me:me 755, shared/real/store me:me 755, link me shared/../shared/real",
        "because of {place}/shared above it",
    ),
    Situation(
        "everybody-s-sticky-folder-itself",
        "store 0:0 1777",
        "store is not used because everybody may write to it (owner 0, group 0, mode 1777; "
        f"{FACTS} a folder of its own below it, such as {{place}}/store/dbt-environments.",
    ),
    Situation(
        "somebody-s-folder-itself",
        "store somebody:somebody 700",
        "it belongs to user id {somebody} (owner {somebody}, group {somebody}, mode 0700; "
        f"{ANOTHER} 'chown -h {{me}} {{place}}/store'.",
    ),
]


def make(place: Path, situation: Situation) -> Path:
    """The way as it is described; the store at its end."""
    path = place
    for name, whose, rest in map(str.split, situation.way.split(", ")):
        path = place / name
        owner, group = (IDS.get(each) or int(each) for each in (whose.split(":") * 2)[:2])
        if ":" in whose:
            path.mkdir()
        else:
            path.symlink_to(rest)
        os.chown(path, owner, group, follow_symlinks=False)
        if ":" in whose:
            path.chmod(int(rest, 8))
    return path if path.name == "store" else path / "store"


@needs_root
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.name)
def test_every_directory_on_the_way_is_judged(everybodys_folder: Path, situation: Situation) -> None:
    store = make(everybodys_folder, situation)
    user, group, groups = situation.user

    def judged() -> str:
        refuse_untrusted(store)
        return "trusted"

    said = as_user(user, group, judged, groups=groups)

    expected = situation.expected.format(place=everybodys_folder, **IDS)
    assert (expected in said) if expected else (said == "trusted")


# In a process of its own: the kernel refuses a namespace (EINVAL) to a process with two threads, and a library that
# another test has used may start a thread in each child of this process (OpenTelemetry's exporters do).
IN_A_NAMESPACE = """
import ctypes, errno, os, sys
from pathlib import Path
from cosmos_venv.files.own_files import refuse_untrusted

store, user, dumpable, new_user_namespace = sys.argv[1], *map(int, sys.argv[2:])
libc = ctypes.CDLL(None, use_errno=True)
os.setgroups([])
os.setgid(user)
os.setuid(user)
libc.prctl(dumpable, 1, 0, 0, 0)
if libc.unshare(new_user_namespace):
    sys.exit(errno.errorcode[ctypes.get_errno()])
Path("/proc/self/uid_map").write_text(f"0 {user} 1")
assert Path("/").stat().st_uid not in (0, user)
refuse_untrusted(Path(store))
print("trusted")
"""


@needs_root
def test_a_user_namespace_gives_root_another_number(everybodys_folder: Path) -> None:
    """Containers without root have one: what is the machine's root's looks like nobody's there."""
    require_open_checkout()
    store = everybodys_folder / "store"
    store.mkdir()
    os.chown(store, ME, ME)

    numbers = [str(number) for number in (ME, _PR_SET_DUMPABLE, _CLONE_NEWUSER)]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE, store, *numbers],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    if done.stderr.strip() in ("EPERM", "ENOSPC"):  # forbidden, or none is left: settings of the machine
        pytest.skip(f"users may have no namespaces of their own here ({done.stderr.strip()})")
    assert (done.stdout.strip(), done.stderr) == ("trusted", "")


def test_a_mount_that_forces_its_mode_is_used_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount").chmod(0o777)

    with pytest.raises(VirtualenvError, match=r"everybody may write to it.* virtualenv_dir_may_be_open = True"):
        refuse_untrusted(tmp_path / "mount")

    refuse_untrusted(tmp_path / "mount", is_open_allowed=True)


def test_a_relative_path_begins_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "here/store"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "store").chmod(0o777)
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(VirtualenvError, match="everybody may write to it"):
        refuse_untrusted(Path("../here/store"))


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
        pytest.param("0775", "untrusted: group id 51300 may write to it", id="a-group-that-may-not-write-above"),
        pytest.param("2775", "made", id="shared-on-purpose"),
    ],
)
def test_a_mode_that_would_make_the_store_untrusted_is_refused(
    everybodys_folder: Path, mode: str, expected: str
) -> None:
    os.chown(everybodys_folder, ME, SHARED)

    def made() -> str:
        make_directory(everybodys_folder / "store", mode)
        refuse_untrusted(everybodys_folder / "store")
        return "made"

    assert expected in as_user(ME, SHARED, made)
