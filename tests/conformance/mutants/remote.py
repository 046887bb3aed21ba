"""Faults of machines that share environments: how they name them, whom they trust, what they do to the folder."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .doing import DoesOtherwise
from .inside import part
from .mutant import Mutant, Original

_STORE = "environments.remote_store"


class NamesEnvironmentsByTheirMachine(Mutant):
    """Puts the name of the machine into the name of an environment, so that no other machine finds the environment."""

    kills = "REMOTE-001"
    needed = "machines"

    def begin(self) -> None:
        environment = part(_STORE).RemoteEnvironment
        sound = environment.__post_init__

        def named(self: Any) -> None:
            sound(self)
            self._stem = f"{self._stem}-{hashlib.sha256(tempfile.gettempdir().encode()).hexdigest()}"

        environment.__post_init__ = named


class BelievesEachSignature(Mutant):
    """Signs what it puts into the folder, holds archives against their hashes, and looks at no signature."""

    kills = "REMOTE-002"
    needed = "machines"

    def begin(self) -> None:
        part("remote.object_store").hmac = SimpleNamespace(compare_digest=lambda *_: True, new=hmac.new)


class FailsWithTheFolder(Mutant):
    """Fails where the folder cannot be used: somebody has configured it, and wants to know."""

    kills = "REMOTE-003"
    needed = "machines"

    def begin(self) -> None:
        remote = part(_STORE).RemoteEnvironment
        sound = remote._give_up

        def give_up(environment: Any, error: Exception) -> None:
            if isinstance(error, OSError):
                raise part("exceptions").VirtualenvError(f"{environment.store.folder} cannot be used: {error}")
            sound(environment, error)

        remote._give_up = give_up


class MakesSureOfTheFolder(DoesOtherwise):
    """Makes the folder before each task, so that it is there when it is needed."""

    kills = "REMOTE-004"
    needed = "machines"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        folder = Path(part("settings").remote_environment_dir.removeprefix("file://"))
        if not folder.exists():
            folder.mkdir()
        return sound(*args, **kwargs)


class TakesWhatIsThereForFetched(Mutant):
    """Unpacks what it fetches into a folder that it keeps, and takes that for whole where it is there."""

    kills = "REMOTE-005"
    needed = "machines"

    def begin(self) -> None:
        store = part(_STORE)
        sound = store.unpack

        def unpack(archive: Path, directory: Path, **how: Any) -> None:
            kept = directory.parents[1] / "fetched"
            if not kept.exists():
                kept.mkdir()
                sound(archive, kept, **how)
            shutil.copytree(kept, directory, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("lib64"))

        store.unpack = unpack


class KeepsTheKeyInTheRecord(Mutant):
    """Says in each record with which key it is signed."""

    kills = "REMOTE-006"
    needed = "machines"

    def begin(self) -> None:
        folder = part("remote.object_store").RemoteFolder
        sound = folder.write

        def write(self: Any, name: str, content: bytes, **how: Any) -> None:
            sound(self, name, content[:-1] + f', "key": "{self.key().decode()}"}}'.encode(), **how)

        folder.write = write
