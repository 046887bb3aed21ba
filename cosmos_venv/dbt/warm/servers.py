"""The servers of a host: where their files stand, and how one is started, reached, asked and ended.

The name of a server's files is a digest of all that its commands must have in common. So a command that needs another
server finds other files.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cosmos_venv.dbt.warm.server import fork_conditions
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.files.own_files import is_trusted_path, open_own
from cosmos_venv.files.read_limits import content_of, value_of
from cosmos_venv.processes import guard
from cosmos_venv.version import __version__

# Linux has 108 bytes for the path, and the last byte is zero.
_LONGEST_SOCKET_PATH = 107
_LONGEST_REFUSAL = 3_600.0  # seconds; then a server is started once more, since the cause may be gone
# Hex digits. The path of a socket is short, and a temporary folder may be deep.
_KEY_LENGTH = 20


@dataclass(frozen=True, kw_only=True)
class Program:
    """The program that a server serves.

    :param environment: folder of the virtual environment, its real path. Its ``bin/python`` runs the server.
    :param script: the program that commands run, a Python script of that environment.
    :param modules: imported beforehand, by name, with whether each must be there.
    :param packages: packages whose sub-packages are imported, as far as they can be.
    """

    environment: Path
    script: Path
    modules: Mapping[str, bool]
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServerPaths:
    """The files of one server: ``<folder>/<key>.sock`` and its like.

    :param folder: belongs to this user alone.
    :param key: the name of the server, a digest.
    """

    folder: Path
    key: str

    @property
    def socket(self) -> Path:
        """The socket on which it listens."""
        return self.folder / f"{self.key}.sock"

    @property
    def log(self) -> Path:
        """The log of its start, which it removes when it is ready."""
        return self.folder / f"{self.key}.log"

    @property
    def seen(self) -> Path:
        """An empty file whose time says when the last task looked for this server."""
        return self.folder / f"{self.key}.seen"

    def note(self) -> dict[str, Any]:
        """The note of the server about itself; empty when there is none."""
        return note_in(self.folder / f"{self.key}.lock") or {}

    def refusal(self) -> NotWarm | None:
        """Why a server has refused this environment in the last hour; None where none has."""
        path = self.folder / f"{self.key}.refused"
        try:
            if time.time() - path.stat().st_mtime > _LONGEST_REFUSAL:
                return None
        except OSError:
            return None
        said = value_of(content_of(path), dict[str, str]) or {}
        return NotWarm(said["word"], said["text"]) if {"word", "text"} <= said.keys() else None

    def was_seen(self, seconds: float) -> bool:
        """Whether another task looked for this server within so many seconds. The present look is noted.

        :param seconds: the time to look back.
        """
        try:
            before = self.seen.lstat().st_mtime
        except FileNotFoundError:
            before = 0.0
        descriptor = open_own(self.seen, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
        return time.time() - before <= seconds


def paths_of(program: Program, env: Mapping[str, str]) -> tuple[ServerPaths, list[list[int]]]:
    """The files of the server of a program, for commands with these environment variables; and its identity.

    :param program: the program that the server serves.
    :param env: the variables; variables that count only when an interpreter starts are part of the name.
    :returns: the paths, and the identity, which changes with the files of the environment.
    :raises NotWarm: when no server is possible.
    """
    try:
        identity = fork_conditions.identity(str(program.environment), str(program.script))
        # Our own files count too: a server of other code is another server.
        files = [Path(guard.__file__), *sorted(Path(__file__).with_name("server").glob("*.py"))]
        code = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    except OSError as error:
        raise NotWarm("files", f"{error.filename} cannot be looked at: {error.strerror}") from None
    user, variables = [os.getresuid(), os.getresgid()], fork_conditions.startup_variables(env)
    parts = [__version__, code, asdict(program), identity, variables, user]
    text = json.dumps(parts, default=str, sort_keys=True)
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_LENGTH]
    return ServerPaths(folder=folder_for(key), key=key), identity


def folders() -> Iterator[Path]:
    """The folders where servers of this user may have their files, the first choice first. None need exist."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if parent and Path(parent).is_absolute():
            yield Path(parent) / f"cosmos-venv-warm-{os.geteuid()}"


def folder_for(key: str) -> Path:
    """The folder for a server's files, made where it is missing.

    :param key: the name of the server.
    :raises NotWarm: when no folder can be used.
    """
    problem = "there is no folder for its socket"
    for folder in folders():
        if len(os.fsencode(folder / f"{key}.sock")) > _LONGEST_SOCKET_PATH:
            problem = f"the path of {folder} is too long for a socket"
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
        except OSError as error:
            problem = f"{folder} cannot be made: {error.strerror}"
            continue
        if is_private(status) and os.access(folder, os.W_OK | os.X_OK) and is_trusted_path(folder):
            return folder
        problem = f"{folder} is not this user's alone, can be replaced by others, or cannot be written to"
    raise NotWarm("folder", problem)


def is_private(status: os.stat_result, *, uid: int | None = None) -> bool:
    """Whether a path is a folder of one user alone.

    :param status: of the path itself, not of the target of a link.
    :param uid: of that user; None: the user of this process.
    """
    # Another user who can write there could listen in place of the server.
    owner = os.geteuid() if uid is None else uid
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077


def note_in(lock: Path) -> dict[str, Any] | None:
    """The note that a server has written into its lock; None when no process holds the lock.

    :param lock: the path of the lock.
    """
    try:
        descriptor = open_own(lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        if not fork_conditions.is_claimed(descriptor):
            return None
        return value_of(os.pread(descriptor, 65_536, 0), dict[str, Any]) or {}
    except OSError:
        return None
    finally:
        os.close(descriptor)


LONGEST_START = 60.0
LONGEST_IMPORT = 5.0  # seconds; then a plain process takes over: it would import for about as long
LONGEST_WORD = 5.0
# python, -c, the program, the folder of this package, the configuration.
_WORDS = 5
# Our folder never enters the server's sys.path, and another Python writes no byte code into it.
_BOOTSTRAP = """
import sys, types
if sys.path[:1] == [""]: del sys.path[0]
writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
package = types.ModuleType("cosmos_venv"); package.__path__ = [sys.argv[1]]; sys.modules["cosmos_venv"] = package
from cosmos_venv.dbt.warm.server import server
sys.dont_write_bytecode = writes
server.main(sys.argv[2])
"""


def connect(place: ServerPaths, *, within: float) -> socket.socket | None:
    """A connection to the server; None when none is there.

    :param place: the server.
    :param within: seconds that each read or write may take.
    :raises OSError: when the server accepts no more connections.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(within)
        connection.connect(str(place.socket))
    except BaseException as error:
        connection.close()
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return None
        raise
    return connection


def start(
    place: ServerPaths, program: Program, identity: object, env: Mapping[str, str], *, idle: float, most: int
) -> None:
    """Start a server; returns when it listens, while it still imports.

    It gets no descriptors of this process, and only those variables that count when an interpreter starts.

    :param place: its files.
    :param program: the program that it serves.
    :param identity: of the files of the environment, as ``paths_of`` gives it: the server ends when it changes.
    :param env: the variables of the command for which it is started.
    :param idle: seconds after which it ends without a command.
    :param most: servers that this user may have on this host, this one included.
    :raises NotWarm: when it cannot be started.
    :raises OSError: when its log cannot be written.
    """
    config = {**asdict(place), **asdict(program), "identity": identity, "idle": idle, "most": most}
    # The folder of this package. The server loads only its own files from it.
    root = str(Path(guard.__file__).parents[1])
    log = open_own(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            [str(program.environment / "bin" / "python"), "-c", _BOOTSTRAP, root, json.dumps(config, default=str)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=fork_conditions.startup_variables(env),
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
    """Whether a process has the command line of a server that ``start`` has started.

    The processes that a server forks have the same command line.

    :param words: the command line of the process; the last word is the server's configuration.
    """
    return len(words) == _WORDS and words[1:3] == ["-c", _BOOTSTRAP]


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """The one line that the server writes before it closes the pipe."""
    try:
        said = process.communicate(timeout=LONGEST_START)[0]
    except subprocess.TimeoutExpired:  # it hangs in its first import
        process.kill()
        try:
            said = process.communicate(timeout=LONGEST_WORD)[0]
        except subprocess.TimeoutExpired as error:  # a server that it has forked hangs, and holds the pipe
            said = error.output or b""
    return said.decode("utf-8", "replace").partition("\n")[0]


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
    return "it said nothing"


def state_of(place: ServerPaths) -> dict[str, Any] | None:
    """The note of a server that answers; None when it does not answer.

    :param place: the server.
    :returns: ``pid``, ``environment``, ``commands`` served, when it was ``last_used``, and ``is_prepared``: whether all
        its warm-up steps are done. It takes these steps between commands.
    """
    try:
        connection = connect(place, within=LONGEST_WORD)
        if connection is None:
            return None
        with closing(connection), connection.makefile("rb") as greeting:
            return place.note() if greeting.readline() else None
    except OSError:
        return None
