"""The servers that run on this host and what they do now. For people, never asked by a command.

A server itself notes only how many commands it has served and when the last one began; the kernel knows the rest.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from cosmos_venv.dbt.warm import servers
from cosmos_venv.dbt.warm.servers import ServerPaths, is_private
from cosmos_venv.files.read_limits import decoded
from cosmos_venv.processes import guard

LONGEST_END = 10.0
# ready: waits for commands; importing: has not yet imported dbt; hung: does not answer; other: belongs to a user who
# alone may ask it.
ServerState = Literal["ready", "importing", "hung", "other"]


@dataclass(frozen=True, kw_only=True)
class RunningCommand:
    """A command that a server has forked.

    :param pid: of its process.
    :param name: such as ``dbt run``: the first words of it, no argument.
    :param seconds: since it began.
    :param memory_bytes: resident memory, with the pages that it shares with the server.
    """

    pid: int
    name: str
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class WarmServer:
    """One server, as one look saw it.

    The names are those of the JSON that ``cosmos-venv server status`` prints.

    :param pid: of its process.
    :param user: the owner of the process.
    :param environment: folder of the environment that it serves.
    :param state: the present state of the server.
    :param age_seconds: since it was started.
    :param idle_seconds: since a command began; None when it was not asked, or does not answer.
    :param commands: how many it has served; None when it was not asked, or does not answer.
    :param memory_bytes: resident.
    :param socket: on which it listens.
    :param running: the commands that run now.
    """

    pid: int
    user: str
    environment: str
    state: ServerState
    age_seconds: float
    idle_seconds: float | None
    commands: int | None
    memory_bytes: int
    socket: str
    running: tuple[RunningCommand, ...]


def running_servers(*, below: Path | None = None) -> list[WarmServer]:
    """The servers of this user, the oldest first; of all users when this one is root.

    :param below: only servers of this environment, or of environments in this directory; None: all servers.
    """
    wanted = None if below is None else Path(os.path.realpath(below))
    found = [server for each in psutil.process_iter() if (server := _seen(each, wanted)) is not None]
    return sorted(found, key=lambda each: -each.age_seconds)


def end(server: WarmServer) -> bool:
    """Let a server end; commands that run are not touched.

    :param server: as ``running_servers`` has seen it.
    :returns: whether it has ended within ``LONGEST_END``.
    """
    try:
        process = os.pidfd_open(server.pid)
    except OSError:
        return True
    try:
        # Checked after the pidfd was opened: from here on the PID cannot belong to another process.
        socket = Path(server.socket)
        if ServerPaths(folder=socket.parent, key=socket.stem).note().get("pid") != server.pid:
            return True  # the PID may belong to another process by now
        # SIGTERM ends a server between two commands; a hung server never comes to that point.
        number = signal.SIGKILL if server.state == "hung" else signal.SIGTERM
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        return bool(guard.readable([process], LONGEST_END))
    finally:
        os.close(process)


def _seen(process: psutil.Process, below: Path | None) -> WarmServer | None:
    """The server that a process runs; None for any other process, and for a server outside of ``below``."""
    try:
        uid, words = process.uids().effective, process.cmdline()
        # Root looks for servers of all users; any other user for its own servers.
        if os.geteuid() not in (0, uid) or not servers.is_command_of_a_server(words):
            return None
        config = decoded(words[-1], json.loads)
        environment = Path(config["environment"])
        # Another user's process may have any command line. A process that a server has forked has the server's
        # command line, but is no server.
        place = ServerPaths(folder=Path(config["folder"]), key=Path(config["key"]).name)
        if not is_private(place.folder.lstat(), uid=uid) or (note := place.note()).get("pid") != process.pid:
            return None
        if below is not None and not environment.is_relative_to(below):
            return None
        age, memory, running = time.time() - process.create_time(), process.memory_info().rss, tuple(_running(process))
        user = process.username()  # its number, where the machine knows no name
    except (psutil.Error, OSError, ValueError, KeyError, TypeError):
        return None
    state: ServerState = "ready" if note.get("is_ready") else "importing"
    said = None
    if uid != os.geteuid():
        state = "other"
    elif state == "ready" and (said := servers.state_of(place)) is None:
        state = "hung"
    return WarmServer(
        pid=process.pid,
        user=user,
        environment=str(environment),
        state=state,
        age_seconds=round(age, 1),
        idle_seconds=round(time.time() - said["last_used"], 1) if said else None,
        commands=said["commands"] if said else None,
        memory_bytes=memory,
        socket=str(place.socket),
        running=running,
    )


def _running(server: psutil.Process) -> Iterator[RunningCommand]:
    """The commands that run: each is a child of a keeper, which is a child of the server. A keeper without a child
    answers a query, or has not yet read its whole order.
    """
    for keeper in server.children():
        try:
            for command in keeper.children()[:1]:
                yield RunningCommand(
                    pid=command.pid,
                    name=keeper.name(),
                    seconds=time.time() - command.create_time(),
                    memory_bytes=command.memory_info().rss,
                )
        except psutil.Error:
            continue  # it has just ended
