"""The opening of a task's environment: a kept one, found or built, or a temporary one.

Most tasks find their environment. The imports that only a builder needs stand inside the functions that build.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from cosmos_venv.environments.environment import BuildRecord, Environment, is_within
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.environments.store import BuildRequest
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.files import os_errors
from cosmos_venv.files.permissions import is_trusted_way
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.scratch import descriptors_of, scratch_folder

if TYPE_CHECKING:
    from cosmos_venv.environments.installers.choice import InstallerPreference
    from cosmos_venv.environments.remote_store import RemoteStore

WAY_OUT_OF_AN_OPEN_TMPDIR = "Set TMPDIR to a folder where they cannot, or give this one the sticky bit (chmod +t)."
LONGEST_UPGRADE_PAUSE = 3600.0
"""Seconds until a failed upgrade is tried again; less where upgrades are wanted more often."""


@contextmanager
def open_environment(
    request: BuildRequest,
    *,
    upgrade_after: float | None = None,
    cancellation: Cancellation,
    report: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    remote: Callable[[], RemoteStore | None] = lambda: None,
) -> Iterator[Environment]:
    """Open the environment, built first when it is not there yet, and keep it for as long as the block runs.

    :param request: the environment.
    :param upgrade_after: age in seconds at which a spec that asks for ``--upgrade`` is resolved anew, by one task at a
        time; the others use what is ready. None: never. When that fails, what is ready is used, and the next attempt
        waits for as long, at most an hour.
    :param cancellation: ends waiting and building.
    :param report: gets lines for the task's log.
    :param warn: gets lines that somebody should act on; None: ``report`` does.
    :param remote: called where it is missing here; gives the environments of other machines, or None.
    :raises CosmosValueError: when ``virtualenv_dir`` is a file.
    :raises VirtualenvBuildError: when it cannot be built.
    :raises VirtualenvLockTimeout: when another builder holds the lock for too long.
    :raises VirtualenvError: when the directory cannot be read or written, or somebody else can have written there.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    environment = request.store.find(request.spec, cancellation=cancellation)
    pause = LONGEST_UPGRADE_PAUSE if upgrade_after is None else min(upgrade_after, LONGEST_UPGRADE_PAUSE)
    wants_upgrade = upgrade_after is not None and request.spec.asks_for_upgrade
    if environment is None or (wants_upgrade and _is_outdated(environment.record, upgrade_after or 0.0, pause)):
        from cosmos_venv.environments.publisher import Publisher

        publisher = Publisher(
            request=request, cancellation=cancellation, report=report, warn=warn or report, remote=remote()
        )
        environment = publisher.make_ready() if environment is None else publisher.upgrade(environment, pause=pause)
    with closing(environment):
        yield environment


def _is_outdated(record: BuildRecord, upgrade_after: float, pause: float) -> bool:
    return not (is_within(record.built_at, upgrade_after) or is_within(record.upgrade_failed_at, pause))


@contextmanager
def temporary_environment(
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    cancellation: Cancellation,
    report: Callable[[str], None],
) -> Iterator[Environment]:
    """Make a new environment in a temporary directory, which is gone after the block. Nobody shares it, so there is no
    lock.

    The name of the directory begins with ``cosmos-venv``. It goes on every way out; what a SIGKILL leaves is removed by
    the next process that makes one.

    :param spec: what it must hold.
    :param preference: which installer builds it.
    :param cancellation: ends the building.
    :param report: gets lines for the task's log.
    :raises VirtualenvBuildError: when it cannot be built.
    :raises VirtualenvError: when temporary files cannot be made, or no program among them can be started.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    from cosmos_venv.environments.builder import build_environment
    from cosmos_venv.environments.installers.choice import choose_installer
    from cosmos_venv.files.filesystem_check import refuse_unfit

    installer = choose_installer(preference, spec, os.environ)
    with ExitStack() as opened:
        try:
            with os_errors.naming(os_errors.temporary_folder()):
                path = opened.enter_context(scratch_folder())
                # A noexec /tmp takes the whole installation and fails each dbt afterwards, with a message that names
                # no mount.
                refuse_unfit(path, parameter="TMPDIR")
        except OSError as error:
            place = error.filename or os_errors.temporary_folder()
            way_out = f"Let user id {os.geteuid()} write to {place}, or set TMPDIR to another folder."
            raise VirtualenvError(
                f"There can be no temporary environment. {os_errors.reason_of(error, way_out)} "
                "Environments that are kept stand in a virtualenv_dir."
            ) from error
        # The guard holds the folder's lease too: after a SIGKILL of the worker nobody sweeps the folder below a dbt
        # that still runs.
        keep_open = descriptors_of(path)
        report(f"Creating a temporary virtualenv {path} with {installer.name} ({installer.reason}).")
        if not is_trusted_way(path):
            report(f"Other users can replace what stands in {path.parent}. {WAY_OUT_OF_AN_OPEN_TMPDIR}")
        record = build_environment(spec, path, installer, cancellation=cancellation, report=report, keep_open=keep_open)
        # In place of a lease: with these open no sweep of the temporary folder takes it for abandoned.
        yield Environment(path=path, record=record, was_built=True, is_temporary=True, held_by=keep_open)
