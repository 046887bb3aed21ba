"""Machines that share one remote store: each has a ``virtualenv_dir`` of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cosmos_venv.environments.archive.remote_store import Folder, RemoteStore
from cosmos_venv.environments.archive.signed_record import Signer
from cosmos_venv.environments.environment import Damaged, Environment
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.remote.object_store import RemoteFolder

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference

KEY = b"a key of all machines"


@dataclass
class Clock:
    """A clock that goes on only while somebody waits."""

    seconds: float = 1_000.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class RealClock(Clock):
    """The clock of everybody."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: TID251 - the clock that is tested


@dataclass(kw_only=True)
class Machine:
    """One machine, as its tasks see it.

    :param directory: its ``virtualenv_dir``.
    :param remote: the folder that all machines share.
    :param folder: in place of that one.
    """

    directory: Path
    remote: Path
    folder: Folder | None = None
    signer: Signer = field(default_factory=lambda: Signer(key=KEY))
    may_push: bool = True
    preference: str = "uv"
    seconds: float = 60.0
    clock: Clock = field(default_factory=Clock)
    cancellation: Cancellation = field(default_factory=Cancellation)
    lines: list[str] = field(default_factory=list)

    @property
    def store(self) -> RemoteStore:
        return RemoteStore(
            folder=self.folder or RemoteFolder(url=f"file://{self.remote}"),
            signer=self.signer,
            seconds=self.seconds,
            may_push=self.may_push,
            now=self.clock.now,
            sleep=self.clock.sleep,
        )

    def use(
        self,
        spec: EnvironmentSpec,
        *,
        upgrade_after: float | None = None,
        instead_of: Damaged | None = None,
        meanwhile: Callable[[Environment], None] = lambda _: None,
    ) -> Environment:
        """The environment that a task gets; its lease is given up.

        :param meanwhile: what the task does with it.
        """
        with open_environment(
            EnvironmentStore(self.directory),
            spec,
            preference=cast("InstallerPreference", self.preference),
            max_tries=5,
            upgrade_after=upgrade_after,
            instead_of=instead_of,
            cancellation=self.cancellation,
            report=self.lines.append,
            remote=lambda: self.store,
        ) as environment:
            meanwhile(environment)
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
        """What stands in its folder of builds, without the digest of the environment."""
        return sorted(path.name[64:] for path in (self.directory / "envs-v1" / "builds").iterdir())


A_BUILD_ALONE = ["-1", "-1.json", "-1.lease"]
