"""The budget sees what building a DAG does, and tells what it costs."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from pytest_cosmos_venv.dags.budget import OverBudget, ParseBudget, check_side_effects
from pytest_cosmos_venv.dags.side_effects import watching
from pytest_cosmos_venv.throwaway import throwaway_folder

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
budget = ParseBudget()


@contextmanager
def checked() -> Iterator[None]:
    """Check the side effects of the block as those of a build."""
    with watching() as watch:
        yield
    check_side_effects(watch)


def _connect(address: Any) -> None:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.connect_ex(address)


def _send(address: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendmsg([b"x"], [], 0, address)


def _rmtree_by_hand(folder: Path) -> None:
    os.unlink(folder / "old")  # noqa: PTH108 - not from a frame of pathlib


def _look_up(ask: Callable[[str], object], host: str) -> None:
    with suppress(OSError):  # that there is no such host
        ask(host)


def _fork(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            (folder / "child").write_text("what the child does is the child's", encoding="utf-8")
        finally:
            os._exit(0)
    os.waitpid(child, 0)


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that building must not do; ``{folder}`` stands for the test's own.

    :param told: how it is told, the last of its deeds.
    """

    do: Callable[[Path], object]
    told: str


ACTS = {
    "subprocess": Act(
        do=lambda _: subprocess.run(["true", "two words"], check=True),
        told="started a process: true 'two words'",
    ),
    "shell": Act(
        do=lambda _: subprocess.run("true && true", shell=True, check=True),  # noqa: S602
        told="started a process: /bin/sh -c 'true && true'",
    ),
    "system": Act(
        do=lambda _: os.system("true"),  # noqa: S605
        told="started a process: true",
    ),
    "fork": Act(do=_fork, told="forked this process"),
    "tcp": Act(
        do=lambda _: _connect(("127.0.0.1", 9)),
        told="opened a connection to 127.0.0.1:9",
    ),
    "datagram": Act(
        do=lambda _: _send(("127.0.0.1", 9)),
        told="opened a connection to 127.0.0.1:9",
    ),
    "getaddrinfo": Act(
        do=lambda _: _look_up(lambda host: socket.getaddrinfo(host, 80), "quay.invalid"),
        told="asked for the address of quay.invalid",
    ),
    "unix": Act(
        do=lambda folder: _connect(f"{folder}/socket"),
        told="opened a connection to {folder}/socket",
    ),
    "sqlite": Act(
        do=lambda folder: sqlite3.connect(folder / "x.db").close(),
        told="opened the SQLite database {folder}/x.db",
    ),
    "write": Act(
        do=lambda folder: (folder / "x").write_text("x", encoding="utf-8"),
        told="wrote {folder}/x",
    ),
    "mkdir": Act(
        do=lambda folder: (folder / "a").mkdir(),
        told="made the folder {folder}/a",
    ),
    "rename": Act(
        do=lambda folder: (folder / "old").rename(folder / "new"),
        told="moved {folder}/old to {folder}/new",
    ),
    "remove": Act(
        do=lambda folder: (folder / "old").unlink(),
        told="removed {folder}/old",
    ),
    "remove-in-a-function-named-as-in-shutil": Act(
        do=_rmtree_by_hand,
        told="removed {folder}/old",
    ),
    "link": Act(
        do=lambda folder: (folder / "new").symlink_to("old"),
        told="linked old as {folder}/new",
    ),
    "rmtree": Act(
        do=lambda folder: shutil.rmtree(folder / "tree"),
        told="removed {folder}/tree",
    ),
}


def make_folder(folder: Path) -> Path:
    (folder / "tree").mkdir(parents=True)
    for name in ("old", "tree/full"):
        (folder / name).write_text("x", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ACTS)
def test_each_deed_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    act = ACTS[name]
    folder = make_folder(tmp_path.resolve() / "one")

    with pytest.raises(OverBudget) as raised, checked():
        act.do(folder)

    line, place = str(raised.value).splitlines()[1:]
    assert line.strip() == act.told.format(folder=folder)
    assert f"{Path(__file__).name}:" in place


@pytest.mark.long
def test_what_only_the_first_parse_does_for_the_next_ones_is_free(tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    def build() -> DAG:
        if not kept.exists():
            kept.write_text("a plan", encoding="utf-8")
        return DAG("harbor", schedule=None, start_date=START)

    budget(build)

    assert kept.exists()


def test_what_changes_nothing_is_free(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("VALUE = 1\n", encoding="utf-8")
    (tmp_path / "read").write_text("x", encoding="utf-8")
    elsewhere = threading.Event()

    def write_elsewhere(stop: threading.Event) -> None:
        while not stop.is_set():
            (tmp_path / "elsewhere").write_text("x", encoding="utf-8")
            elsewhere.set()

    stop = threading.Event()
    other = threading.Thread(target=write_elsewhere, args=(stop,))
    other.start()
    elsewhere.wait(10)
    elsewhere.clear()
    try:
        with checked():
            (tmp_path / "read").read_text("utf-8")
            tmp_path.mkdir(exist_ok=True)
            sqlite3.connect(":memory:").close()
            with Path(os.devnull).open("w") as nowhere:
                nowhere.write("x")
            sys.path.insert(0, str(tmp_path))
            __import__("mine")
            socket.getaddrinfo("127.0.0.1", 80)
            socket.gethostbyname("127.0.0.1")
            here, there = socket.socketpair()
            with here, there:
                here.sendmsg([b"x"])
            assert elsewhere.wait(10)
    finally:
        stop.set()
        other.join()
        sys.path.remove(str(tmp_path))


@pytest.mark.long
def test_scratch_in_the_temporary_folder_that_is_gone_is_free(tmp_path: Path) -> None:
    def build() -> DAG:
        with throwaway_folder("cosmos-scratch-") as folder:
            (folder / "profiles.yml").write_text("shop:", encoding="utf-8")
        return DAG("harbor", schedule=None, start_date=START)

    budget(build)


def test_a_file_in_the_temporary_folder_that_was_there_before_is_no_scratch(tmp_path: Path) -> None:
    (tmp_path / "there").touch()

    with pytest.raises(OverBudget, match=r"removed .*/there"), checked():
        (tmp_path / "there").unlink()


def test_what_a_thread_does_that_building_started_counts(tmp_path: Path) -> None:
    def write_in_a_thread() -> None:
        thread = threading.Thread(target=lambda: (tmp_path / "x").write_text("x", encoding="utf-8"))
        thread.start()
        thread.join()

    with pytest.raises(OverBudget, match="wrote "), checked():
        write_in_a_thread()
