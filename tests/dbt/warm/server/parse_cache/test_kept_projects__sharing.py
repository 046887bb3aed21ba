"""Commands that share what a server keeps: in other folders, at once, killed, and where it is switched off."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psutil

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject, head_of, kept_file, moved, root_of
from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.workspace import Outputs, workspace
from tests.dbt.warm.server.parse_cache.project import MARKS, Kept, change, made_pier

pytestmark = MARKS


def _moved(pier: Kept) -> Kept:
    """The same project in another folder, with its parse file."""
    other = made_pier(pier.folder.with_name("pier-fedcba9876543210"))
    shutil.copytree(pier.folder, other.folder, dirs_exist_ok=True)
    content = (pier.folder / "target" / PARTIAL_PARSE_FILE).read_bytes()
    (other.folder / "target" / PARTIAL_PARSE_FILE).write_bytes(moved(content, root_of(head_of(content)), other.folder))
    return other


def test_a_project_is_kept_whatever_its_folder_and_each_command_reads_its_own(pier: Kept) -> None:
    pier.keep("build")
    other = _moved(pier)
    shutil.rmtree(pier.folder / "seeds")
    before = pier.state()["kept_uses"]

    done = [other.run(command, "--full-refresh") for command in ("seed", "build")]

    assert [each.returncode for each in done] == [0, 0], done
    assert other.state()["kept_uses"] == before + 2
    named = [(other.folder / "target" / name).read_bytes() for name in ("manifest.json", "graph.gpickle")]
    assert all(os.fsencode(other.folder) in each and os.fsencode(pier.folder) not in each for each in named)


def test_a_manifest_names_no_other_task_s_folder_for_a_seed_that_is_switched_off(pier: Kept) -> None:
    pier.write("seeds/spare.csv", "id\n1\n")
    pier.write("seeds/spare.yml", "seeds: [{name: spare, config: {enabled: false}}]\n")
    pier.keep("ls")
    other = _moved(pier)
    before = pier.state()["kept_uses"]

    assert other.run("ls").returncode == 0

    assert other.state()["kept_uses"] == before + 1
    text = (other.folder / "target" / "manifest.json").read_text()
    assert '"seed.pier.spare": [{' in text
    assert str(other.folder) in text
    assert str(pier.folder) not in text


def test_it_is_used_in_the_folders_that_tasks_make_and_a_change_is_seen(pier: Kept) -> None:
    parsed = ParsedProject(project_dir=pier.folder, kept=kept_file(pier.folder.parent / "cache", ["pier"]))
    uses, numbers = [], []

    for is_changed in (False, False, False, False, True):
        if is_changed:
            change(pier, "models/pier.sql", "1 as number", "2 as number")
        with workspace(pier.folder, install_deps=False, parsed=parsed) as place:
            shutil.copy(pier.folder / "profiles.yml", place)
            task = Kept(place, [])
            artifacts = Outputs.of(place, {}).artifacts()
            done = task.run("build")
            assert done.returncode == 0, done.lines
            parsed.keep(artifacts)
            uses.append(task.state()["kept_uses"])
            numbers.append(task.row()["number"])

    assert numbers == [1, 1, 1, 1, 2]
    assert [after - before for before, after in pairwise(uses)] == [0, 1, 1, 0]


def test_a_command_that_was_killed_with_the_lock_holds_up_no_other(pier: Kept) -> None:
    pier.write(
        "models/thief.py",
        "import os, signal\n"
        "def model(dbt, session):\n"
        "    from dbt.adapters.factory import FACTORY\n"
        "    (adapter,) = FACTORY.adapters.values()\n"
        "    was_free = adapter.get_macro_resolver()._lock.acquire(timeout=1)\n"
        "    if os.environ.get('DIES'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return session.sql(f'select {was_free} as was_free')\n",
    )
    pier.keep("build")

    killed = pier.run("run", "--select", "thief", env={"DIES": "1"})
    pier.keep("run", "--select", "thief")

    assert killed.returncode == -signal.SIGKILL
    assert pier.row("main.thief") == {"was_free": True}


def test_two_commands_at_once_share_what_is_kept(pier: Kept) -> None:
    pier.keep("build")
    before = pier.state()["kept_uses"]

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: pier.run("ls", "--quiet"), range(6)))

    assert {tuple(each.lines) for each in done} == {tuple(done[0].lines)}
    assert "pier.pier" in done[0].lines
    assert pier.state()["kept_uses"] == before + 6
    (place,) = servers.servers()
    # Python starts a process that minds semaphores for whoever makes one that other processes may open.
    assert {each.name() for each in psutil.Process(place.note()["pid"]).children()} <= {"dbt-warm-keeper"}


def test_where_it_is_switched_off_nothing_is_kept(short_folder: Path, pier: Kept) -> None:
    """The server is its own: its state is compared."""
    pier.run("build", keeps=False)
    before = pier.state()

    for _ in range(3):
        assert pier.run("build", keeps=False).returncode == 0

    after = pier.state()
    assert (after["kept_bytes"], after["kept_uses"]) == (0, 0)
    assert after["memory_bytes"] - before["memory_bytes"] < 2 << 20


def test_a_command_that_may_not_use_what_is_kept_does_not_have_it_either(pier: Kept) -> None:
    pier.write(
        "models/spy.py",
        "import sys\n"
        "def model(dbt, session):\n"
        "    seen = -1\n"
        "    for frame in sys._current_frames().values():\n"
        "        while frame:\n"
        "            kept = getattr(getattr(frame.f_locals.get('self'), 'projects', None), 'ready', None)\n"
        "            if kept is not None:\n"
        "                seen = len(kept)\n"
        "            frame = frame.f_back\n"
        "    return session.sql(f'select {seen} > 0 as has_some, {seen} as seen')\n",
    )
    pier.keep("build")

    seen = []
    for keeps in (True, False):
        assert pier.run("run", "--select", "spy", keeps=keeps).returncode == 0
        seen.append(pier.row("main.spy"))

    assert seen[0]["has_some"] is True
    assert seen[1] == {"has_some": False, "seen": 0}
