"""The command ``cosmos-venv env verify``: whether environments are whole, and which process has their lock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cosmos_venv.cli.env.show import dbt_of, name_of, title
from cosmos_venv.cli.output import OK, WRONG, print_json, print_lines, steps
from cosmos_venv.dbt.installation import DBT_CHECK
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance.inventory import StoredBuild, Verified, read_inventory, select, verify
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

_Found = Sequence[tuple[StoredBuild, Verified]]


def env_verify(directory: Path, name: str | None, *, imports: bool, content: bool, as_json: bool) -> int:
    """Verify finished builds.

    :param directory: a ``virtualenv_dir``.
    :param name: only these, as for ``env_show``; None: all.
    :param imports: whether each is to import dbt and its adapters.
    :param content: whether every file is read and compared with the hash that its installer has noted.
    :param as_json: whether stdout gets JSON in place of lines to read.
    :returns: the exit code, 1 when something is wrong with a build.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when it is none, or the name fits nothing that was finished.
    """
    store = EnvironmentStore(directory)
    builds = read_inventory(store)
    wanted = [each for each in (select(builds, name) if name else builds) if each.is_whole]
    if name and not wanted:
        raise CosmosValueError(f"NAME {name!r}: no build of it was finished, so there is nothing to verify.")
    found = []
    with steps("verifying", len(wanted), as_json=as_json) as step:
        for each in wanted:
            step.begin(f"verifying {name_of(each)}")
            check = DBT_CHECK if imports and _has_dbt(each) else None
            found.append((each, verify(each, check=check, content=content)))
            step.end()
    lock = _state_of_lock(store)
    if as_json:
        print_json({"virtualenv_dir": str(directory), "lock": lock, "builds": _as_data(found, was_read=content)})
    else:
        lines = [
            f"{title(each)}: {'; '.join(verified.faults) or _whole(verified, was_read=content)}"
            for each, verified in found
        ]
        print_lines([*lines, f"lock: {lock['state']}" + (f" ({lock['detail']})" if lock["detail"] else "")])
    return WRONG if any(verified.faults for _, verified in found) else OK


def _has_dbt(stored: StoredBuild) -> bool:
    """Whether it was built to have one of its own: then it must import it."""
    return stored.record is not None and "dbt-core" in dbt_of(stored.record.pins)


def _whole(verified: Verified, *, was_read: bool) -> str:
    looked_at = (
        "links, commands and the content of all files" if was_read else "links, commands and the sizes of all files"
    )
    return f"{looked_at} are as installed" + (", dbt can be imported" if verified.has_run else "")


def _as_data(found: _Found, *, was_read: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": name_of(each),
            "digest": each.digest,
            "generation": each.generation,
            "path": str(each.path),
            "was_run": verified.has_run,
            "was_read": was_read,
            "faults": verified.faults,
        }
        for each, verified in found
    ]


def _state_of_lock(store: EnvironmentStore) -> dict[str, str | None]:
    """``free``, ``held``, or ``unknown``; and what is to be said of its owner."""
    lines: list[str] = []
    try:
        is_free = VirtualenvLock(store.directory).is_available(report=lines.append)
    except (VirtualenvError, OSError) as error:
        return {"state": "unknown", "detail": str(error)}
    return {"state": "free" if is_free else "held", "detail": " ".join(lines) or None}
