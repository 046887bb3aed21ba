"""The processes of a killed guard's session are ended, and no others, whatever their numbers."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from cosmos_venv.processes.guard import readable
from cosmos_venv.processes.orphans import Session
from tests.waiting import DEADLINE


class Abandon(Protocol):
    """Leave a session whose leader has ended and left one process behind, as a daemon is made."""

    def __call__(self, **options: Any) -> tuple[Session, psutil.Process]: ...


@pytest.fixture
def abandon() -> Iterator[Abandon]:
    left: list[psutil.Process] = []

    def abandon(**options: object) -> tuple[Session, psutil.Process]:
        words = ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!; read go_on"]
        leader = subprocess.Popen(
            words,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload] # those of Popen
        )
        child = psutil.Process(int(leader.stdout.readline()))
        left.append(child)
        session = Session.of(leader.pid)
        leader.communicate("\n", timeout=DEADLINE)
        return session, child

    yield abandon
    for child in left:
        if child.is_running():
            child.kill()


def ended(child: psutil.Process) -> bool:
    try:
        process = os.pidfd_open(child.pid)
    except ProcessLookupError:
        return True
    try:
        return bool(readable([process], DEADLINE))
    finally:
        os.close(process)


@pytest.mark.parametrize("shown_by", ["cwd", "env"])
def test_a_noted_session_is_ended_when_it_works_in_the_folder(abandon: Abandon, tmp_path: Path, shown_by: str) -> None:
    options: dict[str, dict[str, object]] = {
        "cwd": {"cwd": tmp_path},
        "env": {"env": {"PATH": os.defpath, "TARGET": f"{tmp_path}/target"}},
    }
    session, child = abandon(**options[shown_by])

    noted = Session.from_json(session.to_json().encode())
    assert noted == session
    noted.end_what_works_in(tmp_path)

    assert ended(child)


@pytest.mark.parametrize(
    ("cwd", "change"),
    [
        pytest.param("elsewhere", lambda session: session, id="another daemon that got the number"),
        pytest.param("here", lambda session: dataclasses.replace(session, boot_id="another"), id="another boot"),
        pytest.param("here", lambda session: dataclasses.replace(session, pid_namespace="pid:[1]"), id="a container"),
    ],
)
def test_a_noted_session_is_left_alone_unless_it_can_be_no_other(
    abandon: Abandon, tmp_path: Path, cwd: str, change: Callable[[Session], Session]
) -> None:
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    session, child = abandon(cwd=tmp_path / cwd)

    change(session).end_what_works_in(tmp_path / "here")

    assert child.is_running()


def test_a_session_is_left_alone_whose_leader_has_the_number_of_another(tmp_path: Path) -> None:
    living = subprocess.Popen(["sleep", "600"], start_new_session=True, cwd=tmp_path)
    session = Session.of(living.pid)
    assert session.started is not None
    earlier = dataclasses.replace(session, started=session.started - 1)

    earlier.end()
    earlier.end_what_works_in(tmp_path)
    was_alive = living.poll() is None
    living.kill()
    living.wait(DEADLINE)

    assert was_alive


@pytest.mark.parametrize("line", [b"{", b'{"leader": 1}'])
def test_half_a_note_names_no_session(line: bytes) -> None:
    assert Session.from_json(line) is None
