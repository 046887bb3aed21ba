"""A build that outlives the process that asked for it: Airflow cuts the import of a DAG file after 30 s.

``build_detached`` runs in the process that asks. ``build`` runs in the builder process, which holds the lock of the
directory: the PID file of the lock names the builder. The request may hold credentials: it travels by a pipe and is
never written down.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from cosmos_venv import credentials
from cosmos_venv.environments.publisher import BuildRequest, open_environment
from cosmos_venv.environments.store import DETACHED
from cosmos_venv.exceptions import (
    CommandKilled,
    CosmosValueError,
    VirtualenvBeingBuilt,
    VirtualenvBuildError,
    VirtualenvError,
)
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.detached_process import DetachedFailure, DetachedStillRunning, DetachedWork

if TYPE_CHECKING:
    from cosmos_venv.environments.remote_store import RemoteStore


def build_detached(
    request: BuildRequest,
    *,
    wait: float | None,
    report: Callable[[str], None],
    remote: RemoteStore | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Wait until the environment is ready. A separate builder process is started unless one is at work already.

    :param request: the environment.
    :param wait: seconds to wait at most; None: until the builder has ended.
    :param report: gets lines for the log.
    :param remote: the store with environments of other machines; None: there is no store.
    :param variables: environment variables for the builder, which may hold credentials. Its installer does not get
        them. None: there are none.
    :raises VirtualenvBeingBuilt: when the time is over. The builder goes on.
    :raises VirtualenvBuildError: with the builder's message, when it failed now or less than a minute ago.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    :raises VirtualenvError: when it cannot be written.
    """
    store, spec = request.store, request.spec
    if store.holds(spec):
        return
    _ = spec.digest  # sent with the request: if a file of the spec changes, builder and parse keep the same digest
    with store.errors_name_the_directory():
        store.make(store.root / DETACHED)
        builder = DetachedWork(folder=store.root / DETACHED, key=spec.digest)
        log = f"log file {builder.log}"
        try:
            builder.ensure_done(
                f"{__name__}:{build.__name__}",
                pickle.dumps((request, remote, variables or {})),
                is_done=lambda: store.holds(spec),
                wait=wait,
                on_start=lambda: report(f"The virtualenv for {spec} is being built by a process of its own; {log}."),
                on_wait=lambda progress: report(f"The virtualenv for {spec} is being built {progress}"),
            )
        except DetachedStillRunning as at_work:
            raise VirtualenvBeingBuilt(
                f"The virtualenv for {spec} is being built {at_work}, {log}; the next parse will find it."
            ) from None
        except DetachedFailure as failure:
            raise VirtualenvBuildError(f"{failure}") from None


def build(order: bytes, cancellation: Cancellation) -> str:
    """Build what was asked for, in the builder process.

    :param order: as it came by the pipe of the process that has started this one.
    :param cancellation: ends waiting and building.
    :returns: what went wrong; empty when nothing did.
    """
    try:
        request, remote, variables = pickle.loads(order)  # noqa: S301 - nobody else can write to that pipe
        os.environ.update(variables)
        with open_environment(
            request, cancellation=cancellation, report=partial(print, flush=True), remote=lambda: remote
        ):
            return ""
    except (VirtualenvError, CosmosValueError) as error:
        # It is kept in a file until the next parse, and shown among Airflow's import errors.
        return credentials.mask(str(error))
    except CommandKilled:
        return ""  # whoever has cancelled this builder may start another one at once
    except Exception as error:  # noqa: BLE001 - the process that asked must learn of any error
        return credentials.mask(f"{type(error).__name__}: {error}")
