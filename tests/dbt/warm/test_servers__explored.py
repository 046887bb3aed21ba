"""The start of a server in every order of the steps of two tasks: one starts it, and whoever loses uses the other's.

The model: at most one process listens under a name. A task that has come by gets a connection: to the server that is
there, to its own, or to that of another one who was faster. Files of a server that lives nobody else removes; those
that a kill has left are in nobody's way.

A server is a process of its own. Here it is the task that has started it, and it lives until all others wait or are
over. Sockets are not seen: each call of one stands behind a step that all of them share, as does the end of the process
that listens.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.process import WarmStart
from cosmos_venv.dbt.warm.server import fork_conditions, listener
from cosmos_venv.dbt.warm.server.listener import Listener, Refused
from cosmos_venv.dbt.warm.servers import Program, ServerPaths
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.processes.cancellation import Cancellation
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule
from tests.explored import FURTHER, PROOF, SECONDS

KEY, OTHER = "a" * 20, "b" * 20
LISTENING = "listening"
A_WHILE = 3600.0
socket_of_python = socket.socket


class Here:
    """What belongs to the contender that this process is."""

    contender: Contender
    started: list[Listener]


class SeenSocket(socket.socket):
    """A socket whose calls come after a step."""

    def bind(self, address: Any) -> None:
        Here.contender.point(LISTENING)
        super().bind(address)

    def listen(self, *arguments: int) -> None:
        # It lasts until the process ends, which is a step of its own then.
        self._span = Here.contender.span(LISTENING)
        self._span.__enter__()
        super().listen(*arguments)

    def connect(self, address: Any) -> None:
        Here.contender.point(LISTENING)
        super().connect(address)


@pytest.fixture(autouse=True)
def _a_server_is_the_task_that_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(place: ServerPaths, *_: object, most: int, **__: object) -> None:
        config = {"folder": str(place.folder), "key": place.key, "environment": "harbor", "most": most}
        try:
            Here.started.append(Listener(config))
        except Refused as refused:
            if refused.word != "there":
                raise NotWarm(refused.word, str(refused)) from None

    monkeypatch.setattr(socket, "socket", SeenSocket)
    monkeypatch.setattr(servers, "start", start)
    monkeypatch.setattr(WarmStart, "_greeting", lambda *_: "")


def come_by(contender: Contender, key: str = KEY, most: int = 4) -> int:
    """A task that needs a server; returns how many it has started."""
    Here.contender, Here.started = contender, []
    warm = WarmStart(
        program=Program(environment=Path("harbor"), script=Path("harbor/bin/dbt"), modules={}),
        idle=A_WHILE,
        most=most,
        cancellation=Cancellation(),
        report=print,
        count=print,
        is_required=True,
    )
    folder = contender.folder / "warm"
    folder.mkdir(mode=0o700, exist_ok=True)
    connection, _ = warm._connected(ServerPaths(folder=folder, key=key), {}, {})
    assert all(each.is_there for each in Here.started), "the files of a server that lives were removed"
    for _ in range(3):  # until the others have come by: a sleep that ends earlier counts as a preemption
        time.sleep(A_WHILE)
    assert all(each.is_there for each in Here.started), "the files of a server that lives were removed"
    connection.close()
    return len(Here.started)


def come_by_elsewhere(contender: Contender) -> int:
    """A task of another environment, where there may be one server."""
    return come_by_unless_there_are_enough(contender, OTHER)


def come_by_unless_there_are_enough(contender: Contender, key: str) -> int:
    try:
        return come_by(contender, key, most=1)
    except NotWarm as error:
        if error.reason != "enough":
            raise
        return 0


def come_by_alone(contender: Contender) -> int:
    return come_by_unless_there_are_enough(contender, KEY)


def serve_and_leave(contender: Contender) -> None:
    """A server that nobody has needed for long."""
    Here.contender, Here.started = contender, []
    folder = contender.folder / "warm"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        server = Listener({"folder": str(folder), "key": KEY, "environment": "harbor", "most": 4})
    except Refused:
        return
    server.leave()
    server.socket.close()


def left_by_a_kill(folder: Path) -> None:
    """A socket on which nobody listens, and a lock that nobody holds."""
    warm = folder / "warm"
    warm.mkdir(mode=0o700)
    left = socket_of_python(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(warm / f"{KEY}.sock"))
    left.close()
    (warm / f"{KEY}.lock").write_text("{}")


def one_server(run: Schedule) -> None:
    listening: set[int] = set()
    for step in run.steps:
        if step.text == f"begin {LISTENING}":
            listening.add(step.contender)
        elif step.name in {"end", "kill"} or (
            step.name == "unlink" and step.text.endswith(".sock") and not step.outcome
        ):
            listening.discard(step.contender)
        assert len(listening) <= 1, "two servers listen under one name"


@pytest.mark.parametrize(
    ("works", "options"),
    [
        pytest.param([come_by, come_by], {"preemptions": 1, "kills": 0}, id="two", marks=PROOF),
        pytest.param([come_by, come_by], {"preemptions": 2, "kills": 0}, id="two-2", marks=FURTHER),  # 4 s of CPU
        pytest.param(
            [come_by, come_by],
            {"preemptions": 0, "kills": 1, "after": come_by, "may_raise": NotWarm},
            id="two-killed-0",
            marks=pytest.mark.long,
        ),
        pytest.param(
            [come_by, come_by],
            {"preemptions": 1, "kills": 1, "after": come_by, "may_raise": NotWarm},
            id="two-killed-1",
            marks=FURTHER,
        ),
        pytest.param(
            [come_by, come_by], {"preemptions": 1, "kills": 0, "fresh": left_by_a_kill}, id="stale", marks=PROOF
        ),
        pytest.param(
            [come_by, come_by],
            {"preemptions": 2, "kills": 0, "fresh": left_by_a_kill},
            id="stale-2",
            marks=FURTHER,
        ),
        pytest.param([come_by_alone, come_by_elsewhere], {"preemptions": 1, "kills": 0}, id="one-place", marks=PROOF),
        pytest.param(
            [come_by_alone, come_by_elsewhere], {"preemptions": 2, "kills": 0}, id="one-place-2", marks=FURTHER
        ),
        pytest.param([come_by, serve_and_leave], {"preemptions": 2, "kills": 0}, id="leaves-2", marks=pytest.mark.long),
        pytest.param(
            [come_by, serve_and_leave],
            {"preemptions": 1, "kills": 1},
            id="leaves-11",
            marks=FURTHER,
        ),
    ],
)
def test_two_tasks_at_once(
    cosmos_race: CosmosRace, works: list[Callable[[Contender], object]], options: dict[str, Any]
) -> None:
    exploration = cosmos_race.explore(works, check=one_server, seconds=SECONDS, **options)

    print(exploration)
    assert exploration.is_complete


# Faults, put back in: what a server would do without one of its precautions.
def looks_at_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_conditions, "claim", lambda _: True)


def takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listener, "_turn", lambda _: nullcontext())


def keeps_the_socket_of_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "remove", lambda *_: None)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "works", "told"),
    [
        (looks_at_no_claim, [come_by, come_by], "Address already in use|two servers listen"),
        (takes_no_turn, [come_by, serve_and_leave], "contender-0 raised"),
        (keeps_the_socket_of_a_dead_one, [come_by, come_by], "Address already in use"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_that_is_put_back_is_found(
    cosmos_race: CosmosRace,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    works: list[Callable[[Contender], object]],
    told: str,
) -> None:
    fault(monkeypatch)

    with pytest.raises(FailingSchedule, match=rf"\A.*({told})") as failure:
        cosmos_race.explore(works, fresh=left_by_a_kill, check=one_server, preemptions=1, kills=0)

    print(fault.__name__, failure.value.seed)
