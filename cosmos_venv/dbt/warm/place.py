"""The files of a server: their folder, and their name, which is a digest of all that it must be the same for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_venv import guard
from cosmos_venv.dbt.warm import facts, life
from cosmos_venv.exceptions import NotWarm
from cosmos_venv.limits import ANY_SIZE, UnfitFileError, decoded, open_file
from cosmos_venv.own_files import open_or_set_aside, open_own, read_own
from cosmos_venv.release import __version__
from cosmos_venv.trust import is_trusted_way

_LAYOUT = "2"
_LONGEST_SOCKET_PATH = 107
_LONGEST_REFUSAL = 3_600.0
_KEY_LENGTH = 20
_LONGEST_HEAD = 8192
_OF_A_SERVER = (
    *("artifact_texts", "child", "dbt_parts", "facts", "first_use", "flat_merge", "forking", "imports"),
    *("json_text", "keeper", "kept_project", "kept_projects", "life", "likeness", "memory", "offers", "parsed"),
    *("parsed_artifacts", "post", "server"),
)
# A path that is too long for the first line stands in the second, behind a shell's exec.
_INTERPRETER = re.compile(
    r"#!(?P<short>/\S*python[\d.]*)[ \t]*\n"
    r"|#!/bin/sh\n'''exec' (['\"]?)(?P<long>/[^\n]*python[\d.]*)\2 \"\$0\" \"\$@\""
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a server serves.

    :param environment: folder of the Python environment, its real path.
    :param script: the program that commands run, a Python script of that environment.
    :param python: its interpreter; None: the one that the script names.
    :param modules: imported beforehand, by name, with whether each must be there.
    :param packages: of whose inner packages each is imported that can be.
    """

    environment: Path
    script: Path
    python: Path | None = None
    modules: Mapping[str, bool]
    packages: tuple[str, ...] = ()

    @property
    def interpreter(self) -> Path:
        """Raises NotWarm where the script is no Python program."""
        if self.python is not None:
            return self.python
        try:
            with open_file(self.script, ANY_SIZE) as file:
                head = os.fsdecode(file.read(_LONGEST_HEAD))
        except UnfitFileError as error:
            raise NotWarm("binary", f"{self.script} is no Python program: {error.strerror}") from None
        found = _INTERPRETER.match(head)
        if found is None:
            raise NotWarm("binary", f"{self.script} is no Python program")
        return Path(found["short"] or found["long"])


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files of one server are: ``<folder>/<key>.sock`` and its like."""

    folder: Path
    key: str

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.key}.sock"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.key}.log"

    @property
    def seen(self) -> Path:
        return self.folder / f"{self.key}.seen"

    def note(self) -> dict[str, Any]:
        """What the server says of itself; empty when there is none."""
        return note_in(self.folder / f"{self.key}.lock") or {}

    def refusal(self) -> NotWarm | None:
        """Why this environment has had no server a while ago."""
        path = self.folder / f"{self.key}.refused"
        try:
            if time.time() - path.stat().st_mtime > _LONGEST_REFUSAL:
                return None
            said = decoded(read_own(path), json.loads)
            return NotWarm(said["word"], said["text"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def was_seen(self, seconds: float) -> bool:
        """Whether a task has come by here so many seconds ago or less; this one is noted."""
        try:
            before = self.seen.lstat().st_mtime
        except FileNotFoundError:
            before = 0.0
        descriptor = open_or_set_aside(self.seen, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
        return time.time() - before <= seconds


def place_of(program: Program, env: Mapping[str, str]) -> tuple[Place, list[list[int]]]:
    """Where the server of a program is, or would be, for commands with these environment variables; and its identity.

    :raises NotWarm: where there cannot be one.
    """
    try:
        identity = facts.identity(str(program.environment), str(program.script))
        code = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in _code_files()]
    except OSError as error:
        raise NotWarm("files", f"{error.filename} cannot be looked at: {error.strerror}") from None
    parts = [
        *(_LAYOUT, __version__, code, str(program.environment), str(program.script), identity),
        *(sorted(program.modules.items()), program.packages, sorted(facts.startup_variables(env).items())),
        *(os.getresuid(), os.getresgid()),
    ]
    key = hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_LENGTH]
    return Place(folder=folder_for(key), key=key), identity


def _code_files() -> list[Path]:
    here = Path(__file__).parent
    return [Path(guard.__file__), *(here / f"{name}.py" for name in _OF_A_SERVER)]


def folders() -> Iterator[Path]:
    """Where servers of this user may have their files, the first choice first. None need exist."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if parent and Path(parent).is_absolute():
            yield Path(parent) / f"cosmos-venv-warm-{os.geteuid()}"


def folder_for(key: str) -> Path:
    """The folder for a server's files, made where it is missing. Raises NotWarm where there cannot be one."""
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
        if is_private(status) and os.access(folder, os.W_OK | os.X_OK) and is_trusted_way(folder):
            return folder
        problem = f"{folder} is not this user's alone, can be replaced by others, or cannot be written to"
    raise NotWarm("folder", problem)


def is_private(status: os.stat_result, *, uid: int | None = None) -> bool:
    """Whether it is a folder of a user alone: of this one, where no other is named."""
    owner = os.geteuid() if uid is None else uid
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077


def note_in(lock: Path) -> dict[str, Any] | None:
    """What the server whose lock this is has written there; None when none holds it."""
    try:
        descriptor = open_own(lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        if not life.is_claimed(descriptor):
            return None
        with suppress(ValueError):
            note = decoded(os.pread(descriptor, 65_536, 0), json.loads)
            return note if isinstance(note, dict) else {}
        return {}
    except OSError:
        return None
    finally:
        os.close(descriptor)
