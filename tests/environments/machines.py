"""Machines that share one remote store. Each machine has its own disk; the path of ``virtualenv_dir`` is the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.remote_store import Folder, RemoteStore
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import Environment, EnvironmentStore
from cosmos_venv.files.read_limits import Limit
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.remote.object_store import RemoteFolder

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.installer import InstallerPreference

KEY = b"a key of all machines"
A_BUILD_ALONE = ["", ".json", ".lease"]
Happens = Callable[[str, str], object]


def signed_folder(folder: Path, key: bytes = KEY) -> RemoteFolder:
    """The folder of a remote store, as a machine with a key sees it."""
    return RemoteFolder(url=f"file://{folder}", key=lambda: key)


def boot(name: str, place: Path) -> None:
    """Let a machine's own disk stand at the place, and take away that of the machine which was there.

    :param name: of the machine.
    :param place: the ``virtualenv_dir`` of all machines.
    """
    disks = place.with_name(f"{place.name}-disks")
    disks.mkdir(exist_ok=True)
    present = disks / "present"
    if present.is_symlink() and os.path.lexists(place):
        place.rename(disks / present.readlink().name)
    present.unlink(missing_ok=True)
    present.symlink_to(name)
    if (disks / name).exists():
        (disks / name).rename(place)


@dataclass(kw_only=True)
class Machine:
    """One machine, as its tasks see it.

    :param name: of its disk.
    :param place: its ``virtualenv_dir``, and that of other machines.
    :param remote: the folder that all machines share.
    :param folder: in place of that one.
    """

    name: str
    place: Path
    remote: Path
    folder: Folder | None = None
    key: bytes = KEY
    may_push: bool = True
    preference: str = "uv"
    seconds: float = 60.0
    cancellation: Cancellation = field(default_factory=Cancellation)
    lines: list[str] = field(default_factory=list)

    def use(
        self,
        spec: EnvironmentSpec,
        *,
        upgrade_after: float | None = None,
    ) -> Environment:
        """The environment that a task gets; its lease is given up. It stands there until another machine is used."""
        boot(self.name, self.place)
        store = RemoteStore(
            folder=self.folder or signed_folder(self.remote, self.key), seconds=self.seconds, may_push=self.may_push
        )
        with open_environment(
            BuildRequest(
                store=EnvironmentStore(self.place),
                spec=spec,
                preference=cast("InstallerPreference", self.preference),
                max_tries=5,
            ),
            upgrade_after=upgrade_after,
            cancellation=self.cancellation,
            report=self.lines.append,
            remote=lambda: store,
        ) as environment:
            return environment

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def has_fetched(self) -> bool:
        return "Fetched " in self.log and "Creating " not in self.log

    @property
    def has_built(self) -> bool:
        return "Creating " in self.log and "Fetched " not in self.log

    @property
    def builds(self) -> list[str]:
        """What stands in the folder of builds, by the endings of the names."""
        return sorted(path.suffix for path in (self.place / "envs-v2").iterdir())


@dataclass
class TroubledFolder:
    """The folder of a store, and what happens before each request to it and after.

    :param folder: where the files stand.
    :param before: called with the request (``read``, ``write``, …) and the ending of the file's name.
    :param after: likewise.
    """

    folder: Path
    before: Happens = lambda _, __: None
    after: Happens = lambda _, __: None
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return "the store"

    def __getattr__(self, request: str) -> Callable[..., Any]:
        real = getattr(signed_folder(self.folder), request)

        def asked(*arguments: Any, **more: Any) -> Any:
            name = next(each for each in arguments if isinstance(each, str))
            ending = PurePosixPath(name).suffix[1:]
            self.requests.append((request, ending))
            self.before(request, ending)
            answer = real(*arguments, **more)
            self.after(request, ending)
            return answer

        return asked


def once(request: str, ending: str, act: Callable[[], object]) -> Happens:
    """What happens at the first such request alone."""
    left = [act]

    def happens(asked: str, of: str) -> None:
        if (asked, of) == (request, ending) and left:
            left.pop()()

    return happens


def record_file(remote: Path) -> Path:
    """The one record of a store."""
    (found,) = remote.rglob("*.json")
    return found


def archive_file(remote: Path) -> Path:
    """The one archive of a store."""
    (found,) = remote.rglob("*.tar.zst")
    return found


def record_in(remote: Path) -> dict[str, Any]:
    """What the one record of a store says."""
    name = record_file(remote).relative_to(remote).as_posix()
    content = signed_folder(remote).read(name, seconds=10, limit=Limit(most=1_000_000))
    assert content is not None
    found: dict[str, Any] = json.loads(content)
    return found


def sign(remote: Path, record: object, key: bytes = KEY) -> None:
    """Put a record in the place of the one in a store, signed with a key."""
    name = record_file(remote).relative_to(remote).as_posix()
    signed_folder(remote, key).write(name, json.dumps(record).encode(), seconds=10)
