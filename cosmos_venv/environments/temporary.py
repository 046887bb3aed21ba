"""An environment for one task alone: made in a fresh temporary directory and gone afterwards."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import os_errors
from cosmos_venv.environments.environment import Environment
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import VirtualenvError
from cosmos_venv.guarded import Cancellation
from cosmos_venv.scratch import descriptors_of, scratch_folder
from cosmos_venv.trust import is_trusted_way

if TYPE_CHECKING:
    from cosmos_venv.environments.installer import InstallerPreference

WAY_OUT_OF_AN_OPEN_TMPDIR = "Set TMPDIR to a folder where they cannot, or give this one the sticky bit (chmod +t)."
_RECORD_NAME = "cosmos-venv.json"


@contextmanager
def temporary_environment(
    spec: EnvironmentSpec,
    *,
    preference: InstallerPreference = "auto",
    cancellation: Cancellation,
    report: Callable[[str], None],
) -> Iterator[Environment]:
    """A new environment in a temporary directory whose name begins with ``cosmos-venv``. Nobody shares it: no lock.

    :raises VirtualenvBuildError: when it cannot be built.
    :raises VirtualenvError: when temporary files cannot be made, or no program among them can be started.
    :raises CommandKilled: when ``cancellation`` was requested. The directory is gone then, as on every way out; what a
        SIGKILL leaves is removed by the next who makes one.
    """
    # For the one task that builds: who imports this module may only want a ready environment.
    from cosmos_venv.environments.builder import build_environment
    from cosmos_venv.environments.fitness import refuse_unfit
    from cosmos_venv.environments.installer import choose_installer
    from cosmos_venv.environments.record import write_record

    installer = choose_installer(
        preference,
        spec.pip_install_options,
        os.environ,
        requirements=spec.requirements,
        system_site_packages=spec.system_site_packages,
    )
    try:
        with os_errors.naming(os_errors.temporary_folder()), scratch_folder("cosmos-venv-trial-") as trial:
            refuse_unfit(Path(tempfile.gettempdir()), parameter="TMPDIR", trial=trial)
    except OSError as error:
        place = error.filename or os_errors.temporary_folder()
        way_out = f"Let user id {os.geteuid()} write to {place}, or set TMPDIR to another folder."
        raise VirtualenvError(
            f"There can be no temporary environment. {os_errors.told(error, way_out)} "
            "Environments that are kept stand in a virtualenv_dir."
        ) from error
    with scratch_folder() as path:
        keep_open = descriptors_of(path)
        report(f"Creating a temporary virtualenv {path} with {installer.name} ({installer.reason}).")
        if not is_trusted_way(path):
            report(f"Other users can replace what stands in {path.parent}. {WAY_OUT_OF_AN_OPEN_TMPDIR}")
        began = time.monotonic()
        installed = build_environment(
            spec, path, installer, cancellation=cancellation, report=report, keep_open=keep_open
        )
        record_file = path / _RECORD_NAME
        with os_errors.naming(record_file):
            write_record(
                record_file, spec, installed.pins, installer=installed.installer, seconds=time.monotonic() - began
            )
        yield Environment(
            path=path,
            digest=spec.digest,
            record_file=record_file,
            was_built=True,
            is_temporary=True,
            held_by=keep_open,
        )
