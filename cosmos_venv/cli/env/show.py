"""The commands ``cosmos-venv env list``, ``env show`` and ``env verify``: what stands in a ``virtualenv_dir``.

They write nothing, so a read-only mount and another user's directory can be looked at too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import msgspec
import yaml
from rich.filesize import decimal

from cosmos_venv.cli.output import Result, steps, table_of
from cosmos_venv.dbt.installation import DBT_CHECK, DBT_DISTRIBUTIONS, PARTS_OF_DBT
from cosmos_venv.environments.lock import VirtualenvLock
from cosmos_venv.environments.maintenance.pruner import StoredBuild, read_inventory, select, users_of
from cosmos_venv.environments.maintenance.verification import Verified, verify
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError

SHORT = 12  # characters of a digest that people see: enough to tell environments apart

_WIDE = 10_000  # columns of YAML: no text is wrapped
_IN_USE = {True: "in use", False: "", None: "use unknown"}
_HEADINGS = ("environment", "state", "use", "last used", "on disk", "dbt", "requirements")


def env_list(options: argparse.Namespace) -> Result:
    """List every build of a virtualenv_dir: ready, old, building or leftover. Nothing is written.

    :param options: the command line.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when it is no directory.
    """
    with steps("adding up what is on disk"):
        builds = read_inventory(EnvironmentStore(options.directory))
        total = sum(each.bytes_on_disk for each in builds)
    table = table_of(_HEADINGS, [_row(each) for each in builds])
    return Result(
        data={"virtualenv_dir": str(options.directory), "bytes": total, "builds": [_listed(each) for each in builds]},
        shown=[table, f"{decimal(total)} on disk together"]
        if builds
        else [f"{options.directory} holds no managed environment."],
    )


def env_show(options: argparse.Namespace) -> Result:
    """Show everything that is known of an environment.

    That is the installed packages, the spec from which it was made, who made it and when, the processes that use it
    now, and its warm servers. Nothing is written.

    :param options: the command line.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when the name fits nothing.
    """
    builds = [_all_of(each) for each in select(read_inventory(EnvironmentStore(options.directory)), options.name)]
    return Result(
        data={"virtualenv_dir": str(options.directory), "builds": builds},
        shown=[yaml.safe_dump(builds, sort_keys=False, allow_unicode=True, width=_WIDE).rstrip()],
    )


def env_verify(options: argparse.Namespace) -> Result:
    """Compare ready environments with their records.

    Every file must exist with its size and be readable, commands must be executable, no link may be broken, and the
    same versions must be installed. Each environment also imports dbt and its adapters, unless another user could have
    changed it. The process that holds the lock of the directory is shown, too. Nothing is written. Exit code 1:
    something differs, or cannot be imported.

    :param options: the command line.
    :raises VirtualenvError: when the directory cannot be read.
    :raises CosmosValueError: when it is no directory, or the name fits no build that is ready.
    """
    from cosmos_venv.managed.resolve import environment_store

    store, name, content = environment_store(options.directory), options.name, options.content
    builds = read_inventory(store)
    wanted = [each for each in (select(builds, name) if name else builds) if each.state == "ready"]
    if name and not wanted:
        raise CosmosValueError(f"NAME {name!r}: no build of it is ready, so there is nothing to verify.")
    found = []
    with steps("verifying") as step:
        for each in wanted:
            step.begin(f"verifying {name_of(each)}")
            check = DBT_CHECK if _has_dbt(each) and not options.no_import else None
            found.append((each, verify(each, check=check, content=content)))
    lock, detail = _state_of_lock(store)
    verified = [_verified(each, result, was_read=content) for each, result in found]
    lines = [
        f"{title(each)}: {'; '.join(result.faults) or _whole(each, result, was_read=content)}" for each, result in found
    ]
    return Result(
        data={
            "virtualenv_dir": str(options.directory),
            "lock": {"state": lock, "detail": detail or None},
            "builds": verified,
        },
        shown=[*lines, f"lock: {lock}" + (f" ({detail})" if detail else "")],
        is_wrong=any(result.faults for _, result in found),
    )


def _listed(stored: StoredBuild) -> dict[str, Any]:
    """A build as JSON shows it, without what is installed. No credential is in it."""
    shown = _described(stored)
    if shown["record"]:
        del shown["record"]["pins"]
    return shown


def _described(stored: StoredBuild) -> dict[str, Any]:
    return {
        **identity(stored),
        "in_use": stored.is_in_use,
        "last_used": _instant(stored.last_used),
        "bytes": stored.bytes_on_disk,
        "dbt": _dbt_of(stored.record.pins) if stored.record else {},
        "record": msgspec.to_builtins(stored.record),
    }


def identity(stored: StoredBuild) -> dict[str, Any]:
    """Return the fields of a build's JSON that identify the build.

    :param stored: the build.
    """
    return {
        "name": name_of(stored),
        "digest": stored.digest,
        "suffix": stored.suffix,
        "state": stored.state,
        "path": str(stored.path),
    }


def name_of(stored: StoredBuild) -> str:
    """Return the name of an environment on the command line.

    :param stored: a build of it.
    """
    return f"{stored.digest[:SHORT]}-{stored.suffix}"


def title(stored: StoredBuild) -> str:
    """Return the name by which people know an environment.

    :param stored: a build of it.
    """
    return f"{name_of(stored)}  {_requirements(stored)}".rstrip()


def _dbt_of(pins: Mapping[str, str]) -> dict[str, str]:
    """The versions of dbt and its adapters: distribution -> version."""
    return {
        name: version
        for name, version in pins.items()
        if name in DBT_DISTRIBUTIONS or (name.startswith("dbt-") and name not in PARTS_OF_DBT)
    }


def _requirements(stored: StoredBuild) -> str:
    return ", ".join(stored.record.spec.requirements) or "no requirements" if stored.record else ""


def _row(stored: StoredBuild) -> tuple[str, ...]:
    return (
        name_of(stored),
        stored.state,
        _IN_USE[stored.is_in_use],
        _instant(stored.last_used) or "never",
        decimal(stored.bytes_on_disk),
        _versions(stored),
        _requirements(stored),
    )


def _versions(stored: StoredBuild) -> str:
    if stored.record is None:
        return ""
    found, provides = _dbt_of(stored.record.pins), stored.record.provides
    versions = [f"{name.removeprefix('dbt-')} {version}" for name, version in found.items()]
    if provides and found.keys().isdisjoint(DBT_DISTRIBUTIONS):  # a private build has a name of its own
        versions.insert(0, provides.get("version") or "dbt of unknown version")
    return ", ".join(versions) + (" (native)" if stored.engine == "native" else "")


def _all_of(stored: StoredBuild) -> dict[str, Any]:
    from cosmos_venv.dbt.warm.status import running_servers

    servers = [asdict(each) for each in running_servers(below=stored.path)]
    return {**_described(stored), "used_by": _users(stored), "servers": servers}


def _users(stored: StoredBuild) -> list[dict[str, Any]]:
    """The processes that use the build now. Their command lines are left out: a secret may stand there."""
    import psutil

    found = []
    for pid in users_of(stored.path):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                since = _instant(process.create_time())
                found.append({"pid": pid, "name": process.name(), "user": process.username(), "since": since})
        except psutil.Error:
            continue  # it has just ended
    return found


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")


def _has_dbt(stored: StoredBuild) -> bool:
    """Whether the environment was built with a dbt of its own, so that it must be able to import dbt."""
    record = stored.record
    return record is not None and bool(record.provides or not record.pins.keys().isdisjoint(DBT_DISTRIBUTIONS))


def _whole(stored: StoredBuild, verified: Verified, *, was_read: bool) -> str:
    whole = f"links, commands and the {'content' if was_read else 'sizes'} of all files are as installed"
    if not verified.has_run or stored.record is None:
        return whole
    can = "run" if stored.engine == "native" else "imported"
    return f"{whole}, dbt can be {can}: version {stored.record.provides.get('version', 'unknown')}"


def _verified(stored: StoredBuild, verified: Verified, *, was_read: bool) -> dict[str, Any]:
    return {
        **identity(stored),
        "provides": dict(stored.record.provides) if stored.record else {},
        "was_run": verified.has_run,
        "was_read": was_read,
        "faults": verified.faults,
    }


def _state_of_lock(store: EnvironmentStore) -> tuple[str, str]:
    """The state of the lock, ``free``, ``held`` or ``unknown``; and a text about its owner."""
    lines: list[str] = []
    try:
        is_free = VirtualenvLock(store.directory).is_available(report=lines.append)
    except (VirtualenvError, OSError) as error:
        return "unknown", str(error)
    return "free" if is_free else "held", " ".join(lines)
