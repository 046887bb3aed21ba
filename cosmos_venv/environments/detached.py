"""A build that outlives the process that asked for it: Airflow cuts the import of a DAG file after 30 s.

``build_detached`` is the asking side. ``build`` runs in the builder, which holds the lock and its record in its own
name. The request may hold credentials: it travels by a pipe and is never written down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
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
    directory: Path,
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    max_tries: int,
    directory_mode: int | None = None,
    wait: float | None,
    report: Callable[[str], None],
    limits: PruneLimits | None = None,
    entry: str = "cosmos_venv.environments.detached:build",
    variables: Mapping[str, str] | None = None,
) -> None:
    """Return once the environment is ready, and see to it that a builder process of its own is at work until then.

    :param directory: the user's ``virtualenv_dir``.
    :param spec: what the environment must hold.
    :param preference: which installer builds it.
    :param max_tries: seconds that the builder waits for another one that makes no progress.
    :param directory_mode: permissions of directories that are made; None: as for ``StoreLayout``.
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
    store = EnvironmentStore(directory, directory_mode=directory_mode)
    if _is_ready(store, spec):
        return
    request = _BuildRequest(
        directory=str(store.directory),
        directory_mode=directory_mode,
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
                request.to_json().encode(),
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
class _BuildRequest:
    """The order to a builder."""

    directory: str
    directory_mode: int | None
    spec: EnvironmentSpec
    preference: InstallerPreference
    max_tries: int
    limits: PruneLimits | None
    variables: Mapping[str, str]

    @property
    def store(self) -> EnvironmentStore:
        return EnvironmentStore(Path(self.directory), directory_mode=self.directory_mode)

    def to_json(self) -> str:
        # The digest goes along: should a file that the spec names change meanwhile, the parse would wait for another
        # environment than the one that is built.
        return json.dumps({**asdict(self), "spec": self.spec.as_dict()}, default=str)  # a path

    @classmethod
    def from_json(cls, text: str) -> _BuildRequest:
        data = json.loads(text)
        data["spec"] = EnvironmentSpec.from_dict(data["spec"])
        data["limits"] = data["limits"] and PruneLimits(**data["limits"])
        if isinstance(handed_down := data["preference"], dict):
            from cosmos_venv.environments.installers.choice import OtherInstaller

            data["preference"] = OtherInstaller(name=handed_down["name"], command=tuple(handed_down["command"]))
        return cls(**data)


def _is_ready(store: EnvironmentStore, spec: EnvironmentSpec) -> bool:
    environment = store.find(spec)
    if environment is not None:
        environment.close()
    return environment is not None


def build(
    request: bytes, cancellation: Cancellation, *, remote: Callable[[], RemoteStore | None] = lambda: None
) -> str:
    """Build what was asked for, in the builder process.

    :param request: a ``_BuildRequest`` as JSON.
    :param cancellation: ends waiting and building.
    :param remote: as in ``open_environment``.
    :returns: what went wrong; empty when nothing did.
    """
    try:
        wanted = _BuildRequest.from_json(request.decode())
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
