"""Which servers are there, and how is one started, reached, asked and ended?"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from cosmos_venv import guard
from cosmos_venv.dbt.warm import facts
from cosmos_venv.dbt.warm.place import Place, Program, folders, is_private, note_in
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.own_files import open_or_set_aside

LONGEST_START = 60.0
LONGEST_IMPORT = 5.0  # for whom a plain process would do: about what that one would import for itself
LONGEST_WORD = 5.0
_WORDS = 5
_CREDENTIALS = struct.Struct("iII")
# Its folder never enters sys.path, and no byte code of another Python is written into ours.
_BOOTSTRAP = """
import sys, types
if sys.path[:1] == [""]: del sys.path[0]
writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
package = types.ModuleType("cosmos_venv"); package.__path__ = [sys.argv[1]]; sys.modules["cosmos_venv"] = package
from cosmos_venv.dbt.warm import server
sys.dont_write_bytecode = writes
server.main(sys.argv[2])
"""


def connect(place: Place, *, within: float) -> socket.socket | None:
    """A connection to the server; None when nobody is there.

    :param within: seconds that each word on it may take.
    :raises NotWarm: when somebody else is there, or it takes no more connections.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(within)
        connection.connect(str(place.socket))
        _, uid = _peer(connection)
        if uid != os.geteuid():
            raise NotWarm("peer", f"{place.socket} is served by user id {uid}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BlockingIOError:
        connection.close()
        raise NotWarm("hung", "its server takes no more connections") from None
    except BaseException:
        connection.close()
        raise
    return connection


def start(place: Place, program: Program, identity: object, env: Mapping[str, str], *, idle: float, most: int) -> None:
    """Start a server; returns when it listens, while it still imports.

    It gets none of this process's descriptors, and of its environment only what an interpreter obeys while it starts.

    :raises NotWarm: when it cannot be started.
    :raises OSError: when its log cannot be written.
    """
    config = {
        "folder": str(place.folder),
        "key": place.key,
        "environment": str(program.environment),
        "script": str(program.script),
        "identity": identity,
        "modules": dict(program.modules),
        "packages": list(program.packages),
        "idle": idle,
        "most": most,
    }
    root = str(Path(guard.__file__).parent)
    log = open_or_set_aside(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            [str(program.interpreter), "-c", _BOOTSTRAP, root, json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=facts.startup_variables(env),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)
    said = _first_line(process)
    if said == "listening":
        return
    word, _, text = said.removeprefix("refused ").partition(" ")
    if word != "there":
        raise NotWarm(word or "start", text or f"its server did not start: {_last_line(place.log)}")


def is_command_of_a_server(words: Sequence[str]) -> bool:
    """Whether a process was started as ``start`` does it, by this release or another; so are all that it forks. The
    last word is its configuration."""
    return len(words) == _WORDS and words[1] == "-c" and "cosmos_venv.dbt.warm import server" in words[2]


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """What the server says once, before it lets go of us."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
    deadline = time.monotonic() + LONGEST_START
    said = b""
    try:
        with process.stdout as pipe:
            while b"\n" not in said and (left := deadline - time.monotonic()) > 0:
                if guard.readable([pipe.fileno()], left):
                    more = os.read(pipe.fileno(), 4096)
                    if not more:
                        break
                    said += more
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LONGEST_WORD)
    return said.decode("utf-8", "replace").partition("\n")[0]


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
    return "it said nothing"


def _peer(connection: socket.socket) -> tuple[int, int]:
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def end_hung(connection: socket.socket) -> None:
    """Kill the process that listens at the other end: it has not answered. What it has forked lives on."""
    pid, _ = _peer(connection)
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # While the connection stands that number is the listener's: it has not ended, so nobody else has got it.
        if not guard.readable([connection.fileno()], 0):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(process)


def servers() -> list[Place]:
    """All servers of this user that live."""
    return [
        Place(folder=folder, key=path.stem)
        for folder in folders()
        for path in (sorted(folder.glob("*.lock")) if folder.is_dir() and is_private(folder.lstat()) else ())
        if note_in(path) is not None
    ]


def state_of(place: Place) -> dict[str, Any] | None:
    """What a server says of itself: pid, environment, commands served, running, idle seconds, memory in bytes, whether
    it has made all that it makes between commands; None when it does not answer."""
    return ask(place, "state")


def stop(place: Place) -> bool:
    """Let a server end; commands that run are not touched. Whether it has taken the word."""
    return ask(place, "stop") is not None


def ask(place: Place, question: str) -> dict[str, Any] | None:
    """What a server answers; None when it does not."""
    try:
        connection = connect(place, within=LONGEST_WORD)
        if connection is None:
            return None
        with closing(connection):
            text = json.dumps({"ask": question}).encode()
            connection.sendall(len(text).to_bytes(guard.LENGTH_BYTES, "big") + text)
            with connection.makefile("r", encoding="utf-8") as lines:
                lines.readline()  # its greeting
                answer: dict[str, Any] = json.loads(lines.readline())
                return answer
    except (OSError, ValueError, NotWarm):
        return None
