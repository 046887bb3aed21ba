"""The command ``cosmos-venv env prune``: it removes what a directory holds beyond its limits, or what is named."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from typing import Any

from cosmos_venv.cli.env.show import identity, title
from cosmos_venv.cli.output import Result, steps
from cosmos_venv.environments.maintenance.pruner import DAY, Removal, named, prune, surplus
from cosmos_venv.processes.cancellation import Cancellation


def env_prune(options: argparse.Namespace) -> Result:
    """Remove builds that no task can find any more, then the environments that were used longest ago.

    This goes on until the store is within its limits. An environment in use is never removed. A limit that is not given
    is read from Airflow's configuration ([cosmos_venv] virtualenv_prune_...); 0 is no limit. With --digest it removes
    only that environment. Exit code 1: this user has no permission to remove something that has to be removed, or the
    named environment is in use.

    :param options: the command line.
    :raises VirtualenvError: when the directory cannot be read, or another process keeps its lock.
    :raises CosmosValueError: when it is no directory, or the digest fits nothing.
    """
    given = _limits(options)
    if options.digest is not None and given:
        options.parser.error("--digest removes one environment whatever the limits say: leave them out")
    with steps(f"pruning {options.directory}") as step:
        from cosmos_venv import settings
        from cosmos_venv.managed import resolve

        store = resolve.environment_store(options.directory)
        limits = replace(resolve.prune_limits(), **given)
        look = partial(surplus, store, limits, now=time.time())
        if options.digest is not None:
            look = partial(named, store, options.digest)
        if options.dry_run:
            removals = look()
        else:
            max_tries = settings.virtualenv_max_retries_lock
            removals = prune(store, look, max_tries=max_tries, cancellation=Cancellation(), report=step.say)
        young = [] if removals else surplus(store, replace(limits, min_age=0), now=time.time())
    return Result(
        data={
            "virtualenv_dir": str(options.directory),
            "dry_run": options.dry_run,
            "removed": [_as_data(each) for each in removals if not each.obstacle],
            "kept": [_as_data(each) for each in removals if each.obstacle],
        },
        shown=[_line(each, options.dry_run) for each in removals]
        or [_line_of_young(each, limits.min_age) for each in young]
        or ["Nothing is beyond the limits."],
        is_wrong=any(each.is_forbidden or (options.digest and each.obstacle) for each in removals),
    )


def _limits(options: argparse.Namespace) -> dict[str, int]:
    """The fields of ``PruneLimits`` that the command line gives."""
    days = options.max_age_days
    limits = {
        "max_age": None if days is None else days * DAY,
        "max_count": options.max_count,
        "max_bytes": options.max_bytes,
        "min_age": options.min_age,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _as_data(removal: Removal) -> dict[str, Any]:
    return {**identity(removal.stored), "reason": removal.reason, "obstacle": removal.obstacle or None}


def _line_of_young(removal: Removal, min_age: float) -> str:
    return (
        f"{title(removal.stored)}: kept, it was used less than {min_age:.0f} seconds ago ({removal.reason}); "
        "--min-age 0 removes it"
    )


def _line(removal: Removal, dry_run: bool) -> str:
    if removal.obstacle:
        return f"{title(removal.stored)}: may not go ({removal.reason}): {removal.obstacle}"
    return f"{title(removal.stored)}: {'would be removed' if dry_run else 'removed'}, {removal.reason}"
