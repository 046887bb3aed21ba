"""The command ``cosmos-venv env push``: it puts ready environments of a ``virtualenv_dir`` into the remote store."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from cosmos_venv.cli.env.show import name_of, title, why_not_portable
from cosmos_venv.cli.output import OK, WRONG, Steps, only_the_result_on_stdout, print_json, print_lines, steps, tell
from cosmos_venv.environments.maintenance.inventory import StoredBuild, kept, read_inventory, select, verify
from cosmos_venv.environments.post_install import installed
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.processes.cancellation import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.environments.archive.remote_store import RemoteStore

_SHOWN_FAULTS = 3


@dataclass(frozen=True, kw_only=True)
class PushedEnvironment:
    """The result of pushing one environment. No credential is in it.

    :param name: its name on the command line.
    :param path: its directory.
    :param portable_digest: what the remote store names it by; empty where it has none.
    :param platform: key of the machines that can use it; None: it is not there.
    :param record_sha256: what a lock file names it by; None: it is not there.
    :param bytes: of its archive.
    :param seconds: that the pushing took.
    :param is_unchanged: whether the remote store had just this one already, so that its record stays.
    :param error: why it is not there, in words; None: it is.
    """

    name: str
    path: str
    portable_digest: str
    platform: str | None = None
    record_sha256: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    is_unchanged: bool = False
    error: str | None = None


def env_push(directory: Path, name: str | None, *, lock: Path | None, as_json: bool) -> int:
    """Put environments into the remote store.

    :param directory: a ``virtualenv_dir``.
    :param name: only these, as for ``env_show``; None: all that are ready.
    :param lock: the lock file that will name them; it need not exist. None: none.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code, 1 when an environment is not there afterwards.
    :raises VirtualenvError: when the directory cannot be read, others can have written there, or the key cannot be had.
    :raises CosmosValueError: when it is none, nothing there is ready, or a setting is wrong or missing.
    :raises OSError: when the lock file cannot be written.
    """
    from cosmos_venv.managed import remote_environments

    with only_the_result_on_stdout():
        remote = remote_environments.store_to_push_to(lock)
    builds = ready_builds(directory, name)
    with steps("pushing", len(builds), as_json=as_json) as step, only_the_result_on_stdout():
        pushed = [_push(each, remote, step) for each in builds]
    if lock is not None:
        there = {(each.portable_digest, each.platform): each.record_sha256 for each in pushed}
        remote_environments.write_lock(
            lock, {(digest, key): sha256 for (digest, key), sha256 in there.items() if key and sha256}
        )
    failures = [f"{title(stored)}: {each.error}" for stored, each in zip(builds, pushed, strict=True) if each.error]
    for failure in failures:
        tell(failure)
    if as_json:
        data = {"virtualenv_dir": str(directory), "remote": str(remote.folder), "lock": lock and str(lock)}
        print_json({**data, "environments": [asdict(each) for each in pushed], "failures": failures})
    else:
        print_lines([_line(*each, remote) for each in zip(builds, pushed, strict=True)])
    return WRONG if failures else OK


def ready_builds(directory: Path, name: str | None) -> list[StoredBuild]:
    """Return the ready environments of a directory that are to leave it: others will run them.

    :param directory: a ``virtualenv_dir``.
    :param name: only these, as for ``env_show``; None: all.
    :raises VirtualenvError: when the directory cannot be read, or others can have written there.
    :raises CosmosValueError: when it is none, or nothing there is ready.
    """
    store = EnvironmentStore(directory)
    builds = read_inventory(store)
    ready = [each for each in (select(builds, name) if name else builds) if each.state == "ready"]
    if not ready:
        which = f" {name}" if name else ""
        raise CosmosValueError(f"{directory} holds no ready environment{which}: see cosmos-venv env list.")
    with store.naming_the_directory():
        store.judge()
    return ready


def refuse_unfit(stored: StoredBuild) -> None:
    """Raise where an environment is not fit to be run elsewhere.

    :param stored: the build, which nobody removes meanwhile.
    :raises VirtualenvError: when it is damaged, or others can have written to it.
    """
    if faults := verify(stored).faults:
        raise VirtualenvError(f"it is damaged: {'; '.join(faults[:_SHOWN_FAULTS])}")


def _push(stored: StoredBuild, remote: RemoteStore, step: Steps) -> PushedEnvironment:
    from cosmos_venv.environments.archive.packing import NotPortable

    record = stored.record
    result = PushedEnvironment(
        name=name_of(stored), path=str(stored.path), portable_digest=record.portable_digest if record else ""
    )
    step.begin(f"pushing {title(stored)}")
    try:
        with kept(stored.path) as is_kept:
            if not is_kept:
                raise VirtualenvError("it has been removed")
            refuse_unfit(stored)
            return _put(stored, remote, result)
    except NotPortable as error:
        return replace(result, error=f"it works only where it was built: {error}")
    except (VirtualenvError, OSError, ValueError) as error:  # a path of no encoding cannot be written down
        return replace(result, error=str(error))
    finally:
        step.end()


def _put(stored: StoredBuild, remote: RemoteStore, result: PushedEnvironment) -> PushedEnvironment:
    from cosmos_venv.environments.archive.remote_store import Visit
    from cosmos_venv.remote.download_cache import RemoteError

    record = stored.record
    assert record is not None  # noqa: S101 - without one it has faults
    if not record.portable_digest:
        raise VirtualenvError(f"it has no name that is the same on all machines: {why_not_portable(record)}")
    began = time.monotonic()
    visit = Visit(
        store=remote,
        name=record.portable_digest,
        interpreter=record.spec.interpreter,
        cancellation=Cancellation(),
        report=lambda _: None,
        warn=lambda _: None,
    )
    try:
        pushed = visit.put(stored.path, record, installed(stored.path).commands)
    except RemoteError as error:
        raise VirtualenvError(f"{remote.folder} does not take it: {error}") from error
    return replace(
        result,
        platform=visit.platform,
        record_sha256=pushed.record_sha256,
        bytes=pushed.size,
        is_unchanged=pushed.is_unchanged,
        seconds=round(time.monotonic() - began, 3),
    )


def _line(stored: StoredBuild, pushed: PushedEnvironment, remote: RemoteStore) -> str:
    if pushed.error:
        return f"{title(stored)}: failed"
    unchanged = ", unchanged" if pushed.is_unchanged else ""
    return f"{title(stored)}: {decimal(pushed.bytes)} put into {remote.folder} in {pushed.seconds:.1f} s{unchanged}"
