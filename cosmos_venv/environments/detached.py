"""A build that outlives the process that asked for it: Airflow cuts the import of a DAG file after 30 s.

``build_detached`` is the asking side. ``build`` runs in the builder, which holds the lock and its record in its own
name. The request may hold credentials: it travels by a pipe and is never written down.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cosmos_venv import credentials
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import DETACHED, EnvironmentStore, PruneLimits
from cosmos_venv.exceptions import (
    CommandKilled,
    CosmosValueError,
    VirtualenvBeingBuilt,
    VirtualenvBuildError,
    VirtualenvError,
)
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.detached_process import DetachedAtWork, DetachedFailure, DetachedWork

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference
    from cosmos_venv.environments.remote_store import RemoteStore


def build_detached(
    store: EnvironmentStore,
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    max_tries: int,
    wait: float | None,
    report: Callable[[str], None],
    limits: PruneLimits | None = None,
    entry: str = "cosmos_venv.environments.detached:build",
    variables: Mapping[str, str] | None = None,
) -> None:
    """Return once the environment is ready, and see to it that a builder process of its own is at work until then.

    :param store: where it is to stand.
    :param spec: what the environment must hold.
    :param preference: which installer builds it.
    :param max_tries: seconds that the builder waits for another one that makes no progress.
    :param wait: seconds to wait at most; None: until the builder has ended.
    :param report: gets lines for the log.
    :param limits: by which the builder prunes the directory's other environments afterwards; None: nothing is pruned.
    :param entry: the function of the builder process, as ``module:name``; it calls ``build`` of this module.
    :param variables: environment variables for that function; they may hold credentials. None: none.
    :raises VirtualenvBeingBuilt: when the time is over. The builder goes on.
    :raises VirtualenvBuildError: with the builder's message, when it failed now or less than a minute ago.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    :raises VirtualenvError: when it cannot be written.
    """
    if _is_ready(store, spec):
        return
    _ = spec.digest  # it goes along: should a file that the spec names change, the parse would wait for another one
    request = BuildRequest(
        store=store,
        spec=spec,
        preference=preference,
        max_tries=max_tries,
        limits=limits,
        variables=variables or {},
    )
    with store.naming_the_directory():
        store.make(store.root / DETACHED)
        builder = DetachedWork(folder=store.root / DETACHED, key=spec.digest)
        log = f"log file {builder.log}"
        try:
            builder.ensure_done(
                entry,
                pickle.dumps(request),
                is_done=lambda: _is_ready(store, spec),
                wait=wait,
                on_start=lambda: report(f"The virtualenv for {spec} is being built by a process of its own; {log}."),
                on_wait=lambda progress: report(f"The virtualenv for {spec} is being built {progress}"),
            )
        except DetachedAtWork as at_work:
            raise VirtualenvBeingBuilt(
                f"The virtualenv for {spec} is being built {at_work}, {log}; the next parse will find it."
            ) from None
        except DetachedFailure as failure:
            raise VirtualenvBuildError(f"{failure}") from None


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """The order to a builder.

    :param store: as for ``build_detached``, like all that follows.
    :param spec: as there.
    :param preference: as there.
    :param max_tries: as there.
    :param limits: as there.
    :param variables: as there.
    """

    store: EnvironmentStore
    spec: EnvironmentSpec
    preference: InstallerPreference
    max_tries: int
    limits: PruneLimits | None
    variables: Mapping[str, str]


def order_of(request: bytes) -> BuildRequest:
    """Return the order to this builder.

    :param request: as it came by the pipe of the process that has started this one.
    """
    order: BuildRequest = pickle.loads(request)  # noqa: S301 - nobody else can write to that pipe
    return order


def _is_ready(store: EnvironmentStore, spec: EnvironmentSpec) -> bool:
    environment = store.find(spec)
    if environment is not None:
        environment.close()
    return environment is not None


def build(
    request: bytes, cancellation: Cancellation, *, remote: Callable[[], RemoteStore | None] = lambda: None
) -> str:
    """Build what was asked for, in the builder process.

    :param request: as for ``order_of``.
    :param cancellation: ends waiting and building.
    :param remote: as in ``open_environment``.
    :returns: what went wrong; empty when nothing did.
    """
    try:
        wanted = order_of(request)
        with open_environment(
            wanted.store,
            wanted.spec,
            preference=wanted.preference,
            max_tries=wanted.max_tries,
            cancellation=cancellation,
            report=partial(print, flush=True),
            limits=wanted.limits,
            remote=remote,
        ):
            return ""
    except (VirtualenvError, CosmosValueError) as error:
        # It is kept in a file until the next parse, and shown among Airflow's import errors.
        return credentials.mask(str(error))
    except CommandKilled:
        return ""  # the process that ended it may start another at once
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must learn of it
        return credentials.mask(f"{type(error).__name__}: {error}")
