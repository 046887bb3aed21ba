"""The command ``cosmos-venv env prune``: it removes what a directory holds beyond its limits, or what is named."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_venv.cli.env.show import title
from cosmos_venv.cli.output import OK, WRONG, Steps, only_the_result_on_stdout, print_json, print_lines, steps
from cosmos_venv.environments.maintenance.pruner import Removal, named, prune, surplus
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.processes.cancellation import Cancellation


def env_prune(directory: Path, limits: Mapping[str, int], *, digest: str | None, dry_run: bool, as_json: bool) -> int:
    """Remove environments that are beyond the limits.

    :param directory: a ``virtualenv_dir``.
    :param limits: fields of ``PruneLimits``; a limit that is not given is as configured for Airflow.
    :param digest: remove this environment instead, whatever the limits say; 1 is returned too when it is in use.
    :param dry_run: only say what would be removed.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code, 1 when something may not be removed.
    :raises VirtualenvError: when the directory cannot be read, or its lock is not to be had.
    :raises CosmosValueError: when it is none, or the digest fits nothing.
    """
    from cosmos_venv.managed.from_settings import environment_store

    with steps(f"pruning {directory}", as_json=as_json) as step, only_the_result_on_stdout():
        store = environment_store(directory)
        look = partial(_surplus, store, limits) if digest is None else partial(named, store, digest)
        removals = look() if dry_run else prune(store, look, **_waiting(step))
    if as_json:
        print_json(_as_data(removals, directory, dry_run))
    else:
        print_lines([_line(each, dry_run) for each in removals] or ["Nothing is beyond the limits."])
    return WRONG if any(each.is_forbidden or (digest and each.obstacle) for each in removals) else OK


def _surplus(store: EnvironmentStore, given: Mapping[str, int]) -> list[Removal]:
    from cosmos_venv.managed.from_settings import prune_limits

    return surplus(store, replace(prune_limits(), **given), now=time.time())


def _waiting(step: Steps) -> dict[str, Any]:
    from cosmos_venv import settings

    return {
        "max_tries": settings.virtualenv_max_retries_lock,
        "cancellation": Cancellation(),
        "report": step.say,
    }


def _as_data(removals: Sequence[Removal], directory: Path, dry_run: bool) -> dict[str, Any]:
    listed = [
        {
            "digest": each.stored.digest,
            "suffix": each.stored.suffix,
            "state": each.stored.state,
            "path": str(each.stored.path),
            "reason": each.reason,
            "obstacle": each.obstacle or None,
        }
        for each in removals
    ]
    return {
        "virtualenv_dir": str(directory),
        "dry_run": dry_run,
        "removed": [each for each in listed if not each["obstacle"]],
        "kept": [each for each in listed if each["obstacle"]],
    }


def _line(going: Removal, dry_run: bool) -> str:
    if going.obstacle:
        return f"{title(going.stored)}: may not go ({going.reason}): {going.obstacle}"
    return f"{title(going.stored)}: {'would be removed' if dry_run else 'removed'}, {going.reason}"
