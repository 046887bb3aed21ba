"""What does ``cosmos-venv env prune`` do? Remove what a directory holds beyond its limits, or what is named."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cosmos_venv.cli.env_store import OK, WRONG, print_lines, title
from cosmos_venv.cli.output import only_the_result_on_stdout
from cosmos_venv.environments.pruner import Removal, named, prune, remove, surplus
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import Cancellation


def env_prune(directory: Path, *, digest: str | None = None, dry_run: bool, as_json: bool, **limits: int | None) -> int:
    """Remove what is beyond the limits. Returns the exit code, 1 when something may not be removed.

    :param digest: remove this environment instead, whatever the limits say; 1 is returned too when it is in use.
    :param dry_run: only say what would be removed.
    :param limits: fields of ``PruneLimits``; None: as configured for Airflow.
    """
    talk = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with only_the_result_on_stdout():
            store = EnvironmentStore(directory)
            removals = (
                _surplus(store, limits, dry_run, talk) if digest is None else _named(store, digest, dry_run, talk)
            )
    except (VirtualenvError, CosmosValueError) as error:
        talk.print(str(error), style="red", markup=False)
        return WRONG
    if as_json:
        print(json.dumps(_as_data(removals, directory, dry_run), indent=2))
    else:
        print_lines([_line(each, dry_run) for each in removals] or ["Nothing is beyond the limits."])
    return WRONG if any(each.is_forbidden or (digest and each.obstacle) for each in removals) else OK


def _named(store: EnvironmentStore, digest: str, dry_run: bool, talk: Console) -> list[Removal]:
    return named(store, digest) if dry_run else remove(store, digest, **_waiting(talk))


def _surplus(store: EnvironmentStore, given: dict[str, int | None], dry_run: bool, talk: Console) -> list[Removal]:
    from cosmos_venv import managed

    limits = replace(managed.prune_limits(), **{name: value for name, value in given.items() if value is not None})
    if dry_run:
        return surplus(store, limits, now=time.time())
    return prune(store, limits, now=time.time(), **_waiting(talk))


def _waiting(talk: Console) -> dict[str, Any]:
    from cosmos_venv import settings

    return {
        "max_tries": settings.virtualenv_max_retries_lock,
        "cancellation": Cancellation(),
        "report": lambda line: talk.print(line, style="dim", markup=False),
    }


def _as_data(removals: Sequence[Removal], directory: Path, dry_run: bool) -> dict[str, Any]:
    listed = [
        {
            "digest": each.stored.digest,
            "generation": each.stored.generation,
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
