"""STDLIB ONLY. The socket, the lock and the note of a server, by which tasks find the server."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cosmos_venv.dbt.warm.server import fork_conditions

WAITING = 128
_TURN, _LONGEST_TURN = 0.01, 2.0
_LENGTH = 8192  # of a note, with the path of an environment
_FORGOTTEN = 86_400.0  # seconds; then a file that notes a task's visit or a refusal is removed


class Refused(Exception):
    """This environment cannot be served, or not now.

    :param word: the reason, as the metric has it.
    :param text: the reason, for people.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word


class Listener:
    """The files of one server. Its lock shows that the server lives, and a note in the lock names the process.

    :param config: ``folder`` and ``key`` of the files, the ``environment`` that is served, and ``most``: how many
        servers there may be.
    :raises Refused: when another server has the lock, or there are enough servers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._environment, self._most = config["environment"], config["most"]
        self.started = time.time()
        self._folder = Path(config["folder"])
        self._path = self._folder / config["key"]
        with self._turn():
            self.lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            # Two tasks may start a server at once.
            if not fork_conditions.claim(self.lock):
                raise Refused("there", "another one has just been started")
            if self._others() >= self._most:
                remove(f"{self._path}.lock")
                raise Refused(
                    "enough", f"there are {self._most} servers already, as many as virtualenv_warm_dbt_max allows"
                )
            # A killed server has left its socket file, to which no socket could be bound.
            remove(f"{self._path}.sock", f"{self._path}.refused")
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # By the umask of this process its mode is 0600.
            self.socket.bind(f"{self._path}.sock")
            self.socket.listen(WAITING)
            self.socket.setblocking(False)
            self.note(is_ready=False)

    @property
    def is_there(self) -> bool:
        """Whether tasks can still find the server."""
        return Path(f"{self._path}.sock").exists()

    def note(self, *, is_ready: bool, done: Mapping[str, object] | None = None) -> None:
        """Write into the lock which process this is, for lists of servers.

        :param is_ready: whether all imports are done.
        :param done: further entries; None: there are none.
        """
        note = {
            "pid": os.getpid(),
            "environment": self._environment,
            "started": self.started,
            "is_ready": is_ready,
            **(done or {}),
        }
        # Each note has one length, so that no reader finds an empty note, or the end of the note before.
        os.pwrite(self.lock, json.dumps(note).ljust(_LENGTH).encode(), 0)

    def drop_log(self) -> None:
        """Remove the log, which was for errors at the start."""
        remove(f"{self._path}.log")

    def refuse(self, word: str, text: str) -> None:
        """Say why this environment will have no server, and leave.

        :param word: the reason, as the metric has it.
        :param text: the reason, for people.
        """
        Path(f"{self._path}.refused").write_text(json.dumps({"word": word, "text": text}), encoding="utf-8")
        self.leave()

    def leave(self) -> None:
        """Remove the files by which tasks find the server."""
        with self._turn():
            # Another server may have its files there by now.
            if _is_still(self.lock, f"{self._path}.lock"):
                remove(f"{self._path}.sock", f"{self._path}.lock", f"{self._path}.log")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Lock the folder within this block: no other server makes or removes files there.

        The wait for a server that was stopped within such a block ends after two seconds, without the lock.
        """
        turn = os.open(self._folder / "turn", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _LONGEST_TURN
        while not fork_conditions.claim(turn) and time.monotonic() < deadline:
            time.sleep(_TURN)
        try:
            yield
        finally:
            os.close(turn)

    def _others(self) -> int:
        """The number of live servers; files of dead ones are removed."""
        count = 0
        for file in self._folder.iterdir():
            path = file.with_suffix("")
            if path == self._path:
                continue
            if file.suffix == ".lock":
                count += _is_alive(path)
            elif file.suffix in (".seen", ".refused") and time.time() - file.stat().st_mtime > _FORGOTTEN:
                remove(file)
        return count


def _is_alive(path: Path) -> bool:
    """Whether there is a server of that name; if not, its files are removed."""
    try:
        # A link must not lead elsewhere, and a named pipe must not be waited for.
        descriptor = os.open(f"{path}.lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        with suppress(OSError):  # the name is no regular file
            if fork_conditions.is_claimed(descriptor):
                return True
        remove(f"{path}.sock", f"{path}.lock", f"{path}.log")
        return False
    finally:
        os.close(descriptor)


def _is_still(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except OSError:
        return False


def remove(*paths: str | Path) -> None:
    """Remove those of these files that exist.

    :param *paths: of the files.
    """
    for path in paths:
        with suppress(OSError):
            Path(path).unlink()
