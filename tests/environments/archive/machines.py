"""Machines that share one remote store: each has a ``virtualenv_dir`` of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.environments.archive.remote_store import RemoteStore
from cosmos_venv.environments.archive.signed_record import Trust
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.remote.object_store import RemoteFolder

KEY = b"a key of all machines"


@dataclass(kw_only=True)
class Machine:
    """One machine, as its tasks see it.

    :param directory: its ``virtualenv_dir``.
    :param remote: the folder that all machines share.
    """

    directory: Path
    remote: Path
    trust: Trust = field(default_factory=lambda: Trust(key=KEY))
    may_push: bool = True
    seconds: float = 60.0
    lines: list[str] = field(default_factory=list)

    @property
    def store(self) -> RemoteStore:
        return RemoteStore(
            folder=RemoteFolder(url=f"file://{self.remote}"),
            trust=self.trust,
            seconds=self.seconds,
            may_push=self.may_push,
        )

    def use(self, spec: EnvironmentSpec, *, upgrade_after: float | None = None) -> Environment:
        """The environment that a task gets; its lease is given up."""
        with open_environment(
            EnvironmentStore(self.directory),
            spec,
            preference="uv",
            max_tries=5,
            upgrade_after=upgrade_after,
            cancellation=Cancellation(),
            report=self.lines.append,
            remote=lambda: self.store,
        ) as environment:
            return environment

    @property
    def log(self) -> str:
        return "\n".join(self.lines)
