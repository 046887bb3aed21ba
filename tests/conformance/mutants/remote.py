"""Faults of machines that share environments: how they name them, whom they signer, what they do to the folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from .doing import DoesOtherwise
from .inside import part
from .mutant import Mutant, Original

_STORE = "environments.archive.remote_store"
_TRUST = "environments.archive.signed_record"


class NamesEnvironmentsByTheirPlace(Mutant):
    """Names an environment in the folder by all that it is made of, its place among it, which no other machine has."""

    kills = "REMOTE-001"
    needed = "remote_environments"

    def begin(self) -> None:
        publisher = part("environments.publisher").Publisher
        sound = publisher._fetched

        def fetched(self: Any, build: Path, *args: Any) -> Any:
            spec = self._spec
            name = hashlib.sha256(f"{build.parent}{spec.portable_digest}".encode()).hexdigest()
            vars(spec)["portable_digest"] = name  # a cached property
            return sound(self, build, *args)

        publisher._fetched = fetched


class BelievesEachSignature(Mutant):
    """Signs what it puts into the folder, holds archives against their hashes, and looks at no signature."""

    kills = "REMOTE-002"
    needed = "remote_environments"

    def begin(self) -> None:
        part(_TRUST).Signer._judge = lambda *_, **__: None


class FailsWithTheFolder(Mutant):
    """Fails where the folder cannot be used: somebody has configured it, and wants to know."""

    kills = "REMOTE-003"
    needed = "remote_environments"

    def begin(self) -> None:
        part(_STORE).Visit._give_up = self._fail

    @staticmethod
    def _fail(visit: Any, error: Exception) -> None:
        raise part("exceptions").VirtualenvError(f"{visit.store.folder} cannot be used: {error}")


class MakesSureOfTheFolder(DoesOtherwise):
    """Makes the folder before each task, so that it is there when it is needed."""

    kills = "REMOTE-004"
    needed = "remote_environments"

    def do(self, operator: Any, sound: Original, *args: Any, **kwargs: Any) -> Any:
        folder = Path(part("settings").remote_environment_dir.removeprefix("file://"))
        if not folder.exists():
            folder.mkdir()
        return sound(*args, **kwargs)


class TakesWhatIsThereForFetched(Mutant):
    """Unpacks what it fetches into a folder that it keeps, and takes that for whole where it is there."""

    kills = "REMOTE-005"
    needed = "remote_environments"

    def begin(self) -> None:
        visit = part(_STORE).Visit
        sound = visit._fetch

        def fetch(self: Any, record: Any, directory: Path, writers: Any, **how: Any) -> None:
            kept = directory.parents[1] / "fetched"
            if not kept.exists():
                sound(self, record, kept, writers, **how)
            shutil.copytree(kept, directory, symlinks=True, dirs_exist_ok=True)

        visit._fetch = fetch


class KeepsTheKeyInTheRecord(Mutant):
    """Says in each record with which key it is signed."""

    kills = "REMOTE-006"
    needed = "remote_environments"

    def begin(self) -> None:
        signer = part(_TRUST).Signer
        sound = signer.sign

        def sign(self: Any, record: Any) -> bytes:
            return json.dumps({**json.loads(sound(self, record)), "key": self.key.decode()}).encode()

        signer.sign = sign
