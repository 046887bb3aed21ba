"""The command ``cosmos-venv env push``: it puts ready environments of a ``virtualenv_dir`` into the remote store."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from cosmos_venv.cli.env.show import name_of, title
from cosmos_venv.cli.output import Result, Steps, steps
from cosmos_venv.environments.maintenance.pruner import StoredBuild, read_inventory, select
from cosmos_venv.environments.maintenance.verification import kept, verify
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.remote_store import RemoteStore

_SHOWN_FAULTS = 3


@dataclass(frozen=True, kw_only=True)
class PushedEnvironment:
    """The result of pushing one environment. No credential is in it.

    :param name: its name on the command line.
    :param path: its directory, the one place where it can be fetched.
    :param platform: key of the machines that can use it; None: it is not in the store.
    :param bytes: of its archive.
    :param seconds: that the pushing took.
    :param error: why it is not in the store, in words; None: it is.
    """

    name: str
    path: str
    platform: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    error: str | None = None


def env_push(options: argparse.Namespace) -> Result:
    """Put the ready environments of a virtualenv_dir, or the named one, into [cosmos_venv] remote_environment_dir.

    They are signed with the key of remote_key_conn_id or remote_key_file. Exit code 1: an environment is damaged or
    works only where it was built, or the remote does not take it.

    :param options: the command line.
    :raises VirtualenvError: when the directory cannot be read, or the key cannot be had.
    :raises CosmosValueError: when it is no directory, nothing there is ready, or a setting is wrong or missing.
    """
    from cosmos_venv.managed import remote_environments

    remote = remote_environments.store_of_command(only_fetches=False)
    builds = _ready_builds(options.directory, options.name)
    with steps("pushing") as step:
        pushed = [_push(each, remote, step) for each in builds]
    named = [(title(stored), each) for stored, each in zip(builds, pushed, strict=True)]
    failures = [f"{name}: {each.error}" for name, each in named if each.error]
    data = {"virtualenv_dir": str(options.directory), "remote": str(remote.folder)}
    return Result(
        data={**data, "environments": [asdict(each) for each in pushed], "failures": failures},
        shown=[f"{name}: {_became(each, remote)}" for name, each in named],
        failures=failures,
    )


def _ready_builds(directory: Path, name: str | None) -> list[StoredBuild]:
    from cosmos_venv.managed.resolve import environment_store

    builds = read_inventory(environment_store(directory))
    ready = [each for each in (select(builds, name) if name else builds) if each.state == "ready"]
    if not ready:
        which = f" {name}" if name else ""
        raise CosmosValueError(f"{directory} holds no ready environment{which}: see cosmos-venv env list.")
    return ready


def _push(stored: StoredBuild, remote: RemoteStore, step: Steps) -> PushedEnvironment:
    result = PushedEnvironment(name=name_of(stored), path=str(stored.path))
    step.begin(f"pushing {title(stored)}")
    try:
        with kept(stored.path) as is_kept:
            if not is_kept:
                raise VirtualenvError("it has been removed")
            if faults := verify(stored).faults:
                raise VirtualenvError(f"it is damaged: {'; '.join(faults[:_SHOWN_FAULTS])}")
            return _put(stored, remote, result)
    except (VirtualenvError, OSError, ValueError) as error:  # ValueError: a path that is not UTF-8, among others
        return replace(result, error=str(error))


def _put(stored: StoredBuild, remote: RemoteStore, result: PushedEnvironment) -> PushedEnvironment:
    from cosmos_venv.environments.archive import NotPortable
    from cosmos_venv.environments.remote_store import RemoteEnvironment
    from cosmos_venv.remote.download_cache import RemoteError

    record = stored.record
    assert record is not None  # noqa: S101 - a build without a record has faults
    if record.spec.system_site_packages:
        raise VirtualenvError("it works only where it was built: it sees packages of its worker")
    began = time.monotonic()
    environment = RemoteEnvironment(
        store=remote,
        digest=record.digest,
        interpreter=record.spec.interpreter,
        root=stored.path.parent,
        cancellation=Cancellation(),
    )
    try:
        size = environment.put(stored.path, record)
    except NotPortable as error:
        raise VirtualenvError(f"it works only where it was built: {error}") from error
    except RemoteError as error:
        raise VirtualenvError(f"{remote.folder} does not take it: {error}") from error
    seconds = round(time.monotonic() - began, 3)
    return replace(result, platform=environment.platform, bytes=size, seconds=seconds)


def _became(pushed: PushedEnvironment, remote: RemoteStore) -> str:
    if pushed.error:
        return "failed"
    return f"{decimal(pushed.bytes)} put into {remote.folder} in {pushed.seconds:.1f} s"
